package s3store

import (
	"cmp"
	"encoding/base64"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/storage"
)

// metaPrefix begins the header of a piece of user metadata.
const metaPrefix = "X-Amz-Meta-"

// The headers of what is neither content header nor user metadata.
const (
	tagging      = "X-Amz-Tagging"
	taggingCount = "X-Amz-Tagging-Count"
	storageClass = "X-Amz-Storage-Class"
)

// readMeta collects the metadata in an answer's header.
//
// An mtime that would be written back with the same text becomes ModTime and
// is not in User; any other stays where it is. So both copies between S3
// stores and copies from and to stores with modification times of their own
// keep it, and none changes it.
func (s *Store) readMeta(h http.Header) storage.Meta {
	m := storage.Meta{
		ContentType:        h.Get("Content-Type"),
		ContentEncoding:    storedEncoding(h.Get("Content-Encoding")),
		ContentLanguage:    h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"),
		CacheControl:       h.Get("Cache-Control"),
		Class:              cmp.Or(h.Get(storageClass), standard),
	}
	for name, values := range h {
		if len(name) <= len(metaPrefix) || name[:len(metaPrefix)] != metaPrefix {
			continue
		}
		name, value := strings.ToLower(name[len(metaPrefix):]), s.readValue(strings.Join(values, ","))
		if name == storage.MTime {
			if t, ok := storage.ReadMTime(value); ok {
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
// what it cannot carry.
func (s *Store) writeMeta(h http.Header, m storage.Meta) error {
	m, lost := s.Fit(m)
	if len(lost) > 0 {
		l := lost[0]
		return misfit(l.Field, "S3 cannot hold %s: %s", strings.TrimSpace(string(l.Field)+" "+l.Name), l.Why)
	}
	for _, f := range contentHeaders(&m) {
		if *f.value != "" {
			h[f.name] = []string{*f.value}
		}
	}
	for name, value := range m.User {
		h[http.CanonicalHeaderKey(metaPrefix+name)] = []string{s.writeValue(value)} // also a name without a value
	}
	if _, has := h[metaPrefix+"Mtime"]; !has && !m.ModTime.IsZero() {
		h[metaPrefix+"Mtime"] = []string{storage.FormatMTime(m.ModTime)}
	}
	if len(m.Tags) > 0 {
		h[tagging] = []string{encodeTags(m.Tags)}
	}
	if m.Class != "" {
		h[storageClass] = []string{m.Class}
	}
	s.encrypt.write(h)
	return nil
}

// A contentHeader is one that an object is served with.
type contentHeader struct {
	name  string
	value *string
}

func contentHeaders(m *storage.Meta) [5]contentHeader {
	m.ContentEncoding = storedEncoding(m.ContentEncoding)
	return [5]contentHeader{
		{"Content-Type", &m.ContentType},
		{"Content-Encoding", &m.ContentEncoding},
		{"Content-Language", &m.ContentLanguage},
		{"Content-Disposition", &m.ContentDisposition},
		{"Cache-Control", &m.CacheControl},
	}
}

// writeValue returns the header for a piece of user metadata. Amazon's takes
// the bytes of a header for Latin-1 unless it is coded for mail; other servers
// leave them alone.
func (s *Store) writeValue(v string) string {
	if !s.client.amazon || isASCII(v) && !strings.Contains(v, "=?") {
		return v
	}
	return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
}

// readValue undoes the coding in which Amazon's, and in one form MinIO, hand
// out what is not ASCII. Anything else is as it was written.
func (s *Store) readValue(v string) string {
	if !strings.HasPrefix(v, "=?") {
		return v
	}
	text, err := new(mime.WordDecoder).DecodeHeader(v)
	if err != nil || isASCII(text) || !s.client.amazon && mime.QEncoding.Encode("UTF-8", text) != v {
		return v
	}
	return text
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
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
