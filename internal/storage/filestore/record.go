package filestore

import (
	"encoding/hex"
	"errors"
	"mime"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// attribute is the extended attribute that holds a record. The names are kept
// short: an ext4 file has some 60 bytes for it beside its inode, and beyond
// that every file would take another block of the disk.
const attribute = "user.tranship"

// A record is what a file's attribute says of it.
type record struct {
	Sums storage.Sums
	Meta storage.Meta
}

// The fields of a record's query string.
const (
	fieldBound    = "v" // the size and time of the file it speaks of
	fieldMark     = "dir"
	fieldModified = "mt" // of a marker, for a folder's own time is not the marker's
	fieldUser     = "u." // before the name of user metadata
	fieldTag      = "g." // before the name of a tag
)

// sumFields and headerFields tie the fields to the record, in both directions.
func sumFields(s *storage.Sums) map[string]*[]byte {
	return map[string]*[]byte{"c": &s.CRC32C, "n": &s.CRC64NVME, "i": &s.CRC32, "m": &s.MD5, "h": &s.SHA256}
}

func headerFields(m *storage.Meta) map[string]*string {
	return map[string]*string{
		"t": &m.ContentType, "e": &m.ContentEncoding, "l": &m.ContentLanguage,
		"d": &m.ContentDisposition, "k": &m.CacheControl,
	}
}

// encode returns the record's query string, empty if there is nothing to say.
func (r record) encode(key string) url.Values {
	q := url.Values{}
	for name, sum := range sumFields(&r.Sums) {
		if *sum != nil {
			q.Set(name, hex.EncodeToString(*sum))
		}
	}
	if r.Meta.ContentType == guess(key) {
		r.Meta.ContentType = ""
	}
	for name, header := range headerFields(&r.Meta) {
		if *header != "" {
			q.Set(name, *header)
		}
	}
	for name, value := range r.Meta.User {
		q.Set(fieldUser+name, value)
	}
	for name, value := range r.Meta.Tags {
		q.Set(fieldTag+name, value)
	}
	return q
}

func decode(q url.Values) record {
	var r record
	for name, sum := range sumFields(&r.Sums) {
		if b, err := hex.DecodeString(q.Get(name)); err == nil && len(b) > 0 {
			*sum = b
		}
	}
	for name, header := range headerFields(&r.Meta) {
		*header = q.Get(name)
	}
	r.Meta.User, r.Meta.Tags = pairs(q, fieldUser), pairs(q, fieldTag)
	return r
}

// pairs returns the fields that begin with a prefix, nil if there are none.
func pairs(q url.Values, prefix string) map[string]string {
	var found map[string]string
	for name, values := range q {
		if name, ok := strings.CutPrefix(name, prefix); ok {
			if found == nil {
				found = map[string]string{}
			}
			found[name] = values[0]
		}
	}
	return found
}

// guess returns the content type of a file that says none.
func guess(key string) string {
	if strings.HasSuffix(key, "/") {
		return "application/x-directory"
	}
	if t := mime.TypeByExtension(path.Ext(key)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// bound names the content that a record speaks of.
func bound(st *unix.Stat_t) string {
	sec, nsec := st.Mtim.Unix()
	return strconv.FormatInt(st.Size, 16) + "." + strconv.FormatInt(sec, 16) + "." + strconv.FormatInt(nsec, 16)
}

// version is the ETag of a file.
func (s *Store) version(st *unix.Stat_t) string {
	sec, nsec := st.Mtim.Unix()
	b := make([]byte, 0, 64)
	b = append(strconv.AppendInt(b, st.Size, 10), '-')
	b = append(strconv.AppendInt(b, sec, 10), '.')
	b = append(strconv.AppendInt(b, nsec, 10), '-')
	if s.inodes {
		b = strconv.AppendUint(b, uint64(st.Ino), 10)
	}
	return string(b)
}

func modTime(st *unix.Stat_t) time.Time {
	return time.Unix(st.Mtim.Unix())
}

// info says what is known of an open file, its tags included.
func (s *Store) info(key string, f *os.File, st *unix.Stat_t) (storage.Info, error) {
	in := storage.Info{Key: key, Size: st.Size, ETag: s.version(st), ModTime: modTime(st)}
	q, err := s.attributes(f)
	if err != nil {
		return storage.Info{}, err
	}
	if q.Get(fieldBound) == bound(st) {
		r := decode(q)
		in.Sums, in.Meta = r.Sums, r.Meta
	}
	return complete(in), nil
}

// complete fills in what follows from the rest.
func complete(in storage.Info) storage.Info {
	if in.Meta.ContentType == "" {
		in.Meta.ContentType = guess(in.Key)
	}
	in.Meta.ModTime = in.ModTime
	in.TagCount = len(in.Meta.Tags)
	return in
}

// outer leaves out what takes another request.
func outer(in storage.Info) storage.Info {
	in.Meta.Tags = nil
	return in
}

// attributes reads the attribute of an open file; none is no error.
func (s *Store) attributes(f *os.File) (url.Values, error) {
	if !s.xattrs {
		return nil, nil
	}
	buf := make([]byte, 512)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.Fgetxattr(int(f.Fd()), attribute, buf); return err })
		switch {
		case errors.Is(err, unix.ERANGE):
			buf = make([]byte, 64<<10)
			continue
		case errors.Is(err, noAttribute), errors.Is(err, unix.ENOTSUP):
			return nil, nil
		case err != nil:
			return nil, err
		}
		q, err := url.ParseQuery(string(buf[:n]))
		if err != nil {
			return nil, nil // not ours, or damaged: the file speaks for itself
		}
		return q, nil
	}
}

// setAttributes writes the attribute of an open file. Metadata that cannot be
// kept is an error; checksums are kept where they can be.
func (s *Store) setAttributes(f *os.File, q url.Values, must bool) error {
	if !s.xattrs {
		return nil
	}
	text := q.Encode()
	err := retry(func() error { return unix.Fsetxattr(int(f.Fd()), attribute, []byte(text), 0) })
	if err == nil || !must {
		return nil
	}
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ERANGE) || errors.Is(err, unix.ENOTSUP) ||
		errors.Is(err, unix.ENOSPC) && len(text) > 1<<10 {
		return &problem{fault: work.Unsupported, field: work.FieldMetadata, cause: err,
			text: "the file system cannot keep " + strconv.Itoa(len(text)) + " bytes of metadata with the file"}
	}
	return err
}
