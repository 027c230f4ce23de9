package s3store

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// metaPrefix begins the header of a piece of user metadata.
const metaPrefix = "X-Amz-Meta-"

// mtime is the user metadata that holds the modification time of the content,
// in seconds since 1970 with a fraction: the custom of rclone and others.
const mtime = "mtime"

// readMeta collects the metadata in an answer's header.
//
// An mtime that would be written back with the same text becomes ModTime and
// is not in User; any other stays where it is. So both copies between S3
// stores and copies from and to stores with modification times of their own
// keep it, and none changes it.
func readMeta(h http.Header) storage.Meta {
	m := storage.Meta{
		ContentType:        h.Get("Content-Type"),
		ContentEncoding:    storedEncoding(h.Get("Content-Encoding")),
		ContentLanguage:    h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"),
		CacheControl:       h.Get("Cache-Control"),
	}
	for name, values := range h {
		if len(name) <= len(metaPrefix) || name[:len(metaPrefix)] != metaPrefix {
			continue
		}
		name, value := strings.ToLower(name[len(metaPrefix):]), strings.Join(values, ",")
		if name == mtime {
			if t, ok := parseTime(value); ok && formatTime(t) == value {
				m.ModTime = t
				continue
			}
		}
		if m.User == nil {
			m.User = make(map[string]string)
		}
		m.User[name] = value
	}
	return m
}

// writeMeta sets the headers that make an object carry m, or fails naming
// what headers cannot carry.
func writeMeta(h http.Header, m storage.Meta) error {
	set := func(name, value string) error {
		if value == "" {
			return nil
		}
		if err := checkValue(value); err != nil {
			return refuse(work.Unsupported, "S3 cannot hold %s %q: %v", name, value, err)
		}
		h[name] = []string{value}
		return nil
	}
	for _, f := range []struct{ name, value string }{
		{"Content-Type", m.ContentType},
		{"Content-Encoding", storedEncoding(m.ContentEncoding)},
		{"Content-Language", m.ContentLanguage},
		{"Content-Disposition", m.ContentDisposition},
		{"Cache-Control", m.CacheControl},
	} {
		if err := set(f.name, f.value); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.User)) {
		if !isToken(name) {
			return refuse(work.Unsupported, "S3 cannot hold user metadata named %q", name)
		}
		header := http.CanonicalHeaderKey(metaPrefix + name)
		if _, twice := h[header]; twice {
			return refuse(work.Unsupported, "S3 cannot hold user metadata %q twice, names are without case", name)
		}
		h[header] = []string{""} // S3 keeps a name without a value, too
		if err := set(header, m.User[name]); err != nil {
			return err
		}
	}
	if _, has := h[metaPrefix+"Mtime"]; !has && !m.ModTime.IsZero() {
		h[metaPrefix+"Mtime"] = []string{formatTime(m.ModTime)}
	}
	return nil
}

// storedEncoding is an encoding without aws-chunked, which says how a request
// was sent and not how the object is stored; some servers store it all the
// same.
func storedEncoding(s string) string {
	if !strings.Contains(s, "aws-chunked") {
		return s
	}
	kept := slices.DeleteFunc(strings.Split(s, ","), func(e string) bool {
		return strings.TrimSpace(e) == "aws-chunked"
	})
	return strings.TrimSpace(strings.Join(kept, ","))
}

func checkValue(s string) error {
	if s != strings.TrimSpace(s) {
		return fmt.Errorf("white space around it would be lost")
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("it holds a control character")
		}
	}
	return nil
}

// isToken reports whether s can be part of a header's name.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// formatTime writes a time as seconds since 1970, with as many decimals as it
// needs.
func formatTime(t time.Time) string {
	sec, nsec, sign := t.Unix(), int64(t.Nanosecond()), ""
	if sec < 0 {
		sign, sec = "-", -sec
		if nsec > 0 {
			sec, nsec = sec-1, int64(time.Second)-nsec
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", nsec), "0")
	}
	return s
}

// parseTime reads what formatTime writes.
func parseTime(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 {
		return time.Time{}, false
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || nsec < 0 {
		return time.Time{}, false
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	return time.Unix(sec, nsec).UTC(), true
}
