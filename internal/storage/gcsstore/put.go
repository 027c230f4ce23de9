package gcsstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const maxObject = 5 << 40 // bytes of one object

// Put stores an object in one request, in the memory of nobody. What the
// source vouches for goes before the content if the service can check it, so
// that it refuses other bytes; what it cannot is compared on the way, before
// the last byte is sent.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.put(ctx, key, body, size, opts)
	return in, s.fail("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	name, err := s.check(key)
	if err != nil {
		return storage.Info{}, err
	}
	if err := s.checkMeta(opts.Meta); err != nil {
		return storage.Info{}, err
	}
	out, err := s.insert(ctx, name, body, size, opts)
	if err != nil {
		return storage.Info{}, err
	}
	return out.info(key), nil
}

// A resource is an object as the JSON API takes it.
type resource struct {
	Name               string            `json:"name"`
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	StorageClass       string            `json:"storageClass,omitempty"`
	CRC32C             string            `json:"crc32c,omitempty"`
	MD5                string            `json:"md5Hash,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
}

// A stored is what the JSON API says of an object it has stored.
type stored struct {
	Size       int64     `json:"size,string"`
	Generation string    `json:"generation"`
	CRC32C     []byte    `json:"crc32c"`
	MD5        []byte    `json:"md5Hash"`
	Updated    time.Time `json:"updated"`
}

func (o *stored) info(key string) storage.Info {
	return storage.Info{
		Key: key, Size: o.Size, ETag: o.Generation, ModTime: o.Updated, Sums: storage.Sums{CRC32C: o.CRC32C, MD5: o.MD5},
	}
}

// insert stores an object.
func (s *Store) insert(ctx context.Context, name string, body io.Reader, size int64, opts storage.PutOptions) (*stored, error) {
	generation, err := over(opts.If)
	if err != nil {
		return nil, err
	}
	if size < 0 || size > maxObject {
		return nil, refuse(work.Unsupported, "%d bytes are not what one object can have", size)
	}
	m := opts.Meta
	object := resource{
		Name: name, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, ContentLanguage: m.ContentLanguage,
		ContentDisposition: m.ContentDisposition, CacheControl: m.CacheControl, StorageClass: m.Class, Metadata: user(m),
		CRC32C: base64.StdEncoding.EncodeToString(opts.Sums.CRC32C), MD5: base64.StdEncoding.EncodeToString(opts.Sums.MD5),
	}
	described, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	// A content type that is not given must not be guessed, and one that is
	// must stand in both places.
	head, typed := "", ""
	if m.ContentType != "" {
		typed = "Content-Type: " + m.ContentType + "\r\n"
	}
	boundary := rand.Text() + rand.Text()
	head = "--" + boundary + "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + string(described) +
		"\r\n--" + boundary + "\r\n" + typed + "\r\n"
	query := url.Values{"uploadType": {"multipart"}, "fields": {"size,generation,crc32c,md5Hash,updated"}, "prettyPrint": {"false"}}
	if generation != nil {
		query.Set("ifGenerationMatch", strconv.FormatInt(*generation, 10))
	}
	r := &request{
		method: http.MethodPost, path: "/upload/storage/v1/b/" + escape(s.bucket) + "/o", query: query,
		header: http.Header{"Content-Type": {"multipart/related; boundary=" + boundary}},
		head:   head, body: body, size: size, tail: "\r\n--" + boundary + "--\r\n",
	}
	if opts.Sums.CRC32C == nil && opts.Sums.MD5 == nil {
		r.sums = opts.Sums
	}
	_, text, err := s.roundTrip(ctx, r)
	if err != nil {
		return nil, clashed(err, opts.If)
	}
	var out stored
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if out.Size != size || out.Generation == "" {
		return nil, refuse(work.Corrupt, "the server stored %d bytes of %d, as version %q", out.Size, size, out.Generation)
	}
	return &out, nil
}
