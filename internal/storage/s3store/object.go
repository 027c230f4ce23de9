package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Stat asks the server for what it knows of an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.stat(ctx, key)
	return in, s.fail("stat", key, err)
}

func (s *Store) stat(ctx context.Context, key string) (storage.Info, error) {
	if err := s.exists(ctx, key); err != nil {
		return storage.Info{}, err
	}
	return s.head(ctx, key, http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}})
}

func (s *Store) head(ctx context.Context, key string, h http.Header) (storage.Info, error) {
	answer, _, err := s.roundTrip(ctx, &request{method: http.MethodHead, key: s.prefix + key, header: h.Clone()})
	if err != nil {
		return storage.Info{}, s.explain(ctx, key, h, err)
	}
	size, err := strconv.ParseInt(answer.Get("Content-Length"), 10, 64)
	if err != nil {
		return storage.Info{}, fmt.Errorf("%w: no length", errAnswer)
	}
	return s.info(key, size, answer), nil
}

// explain finds out why a HEAD was refused, which its answer cannot tell.
func (s *Store) explain(ctx context.Context, key string, h http.Header, err error) error {
	var bare *apiError
	if !errors.As(err, &bare) || bare.Code != "" || bare.status == http.StatusNotFound || bare.status == http.StatusPreconditionFailed {
		return err
	}
	h["Range"] = []string{"bytes=0-0"}
	_, _, again := s.roundTrip(ctx, &request{method: http.MethodGet, key: s.prefix + key, header: h})
	var told *apiError
	if errors.As(again, &told) {
		return told
	}
	return err
}

// info is what an answer's header says of a whole object.
func (s *Store) info(key string, size int64, h http.Header) storage.Info {
	in := storage.Info{Key: key, Size: size, ETag: unquote(h.Get("Etag")), Sums: readSums(h), Meta: s.readMeta(h)}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		in.ModTime = t
	}
	if n, err := strconv.Atoi(h.Get(taggingCount)); err == nil {
		in.TagCount = n
	}
	in.Archived = isArchived(h, time.Now())
	return in
}

// Get opens a range of an object. The server compares etag for us.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := s.get(ctx, key, etag, off, n)
	return body, in, s.fail("get", key, err)
}

func (s *Store) get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if off < 0 {
		return nil, storage.Info{}, refuse(work.Invalid, "negative offset %d", off)
	}
	if err := s.exists(ctx, key); err != nil {
		return nil, storage.Info{}, err
	}
	h := http.Header{"X-Amz-Checksum-Mode": {"ENABLED"}}
	if etag != "" {
		h["If-Match"] = []string{quote(etag)}
	}
	ranged := off > 0 || n >= 0
	switch {
	case n == 0:
		in, err := s.head(ctx, key, h)
		if err == nil && off > in.Size {
			err = refuse(work.Invalid, "offset %d lies beyond the object's %d bytes", off, in.Size)
		}
		return http.NoBody, in, err
	case n > 0:
		h["Range"] = []string{fmt.Sprintf("bytes=%d-%d", off, off+n-1)}
	case ranged:
		h["Range"] = []string{fmt.Sprintf("bytes=%d-", off)}
	}
	resp, err := s.do(ctx, &request{method: http.MethodGet, key: s.prefix + key, header: h})
	if err != nil {
		return nil, storage.Info{}, err
	}
	size, err := checkRange(resp, ranged, off, n)
	if err != nil {
		resp.Body.Close()
		return nil, storage.Info{}, err
	}
	in := s.info(key, size, resp.Header)
	in.Archived = false // its bytes are on their way
	if ranged && resp.ContentLength != size {
		// Checksums beside a range may be those of the part it lies in.
		in.Sums = storage.Sums{MD5: in.Sums.MD5}
	}
	return &content{Reader: resp.Body, store: s, key: key}, in, nil
}

// checkRange makes sure that an answer holds the bytes that were asked for,
// and returns the size of the whole object.
func checkRange(resp *http.Response, ranged bool, off, n int64) (size int64, err error) {
	if resp.ContentLength < 0 {
		return 0, fmt.Errorf("%w: a body without a length", errAnswer)
	}
	if resp.StatusCode != http.StatusPartialContent {
		if ranged && (off != 0 || n != resp.ContentLength) {
			return 0, refuse(work.Unsupported, "the server ignores ranges")
		}
		return resp.ContentLength, nil
	}
	text := resp.Header.Get("Content-Range")
	var first, last int64
	if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return 0, fmt.Errorf("%w: range %q", errAnswer, text)
	}
	want := size - off
	if n >= 0 {
		want = n
	}
	if first != off || last-first+1 != want || resp.ContentLength != want {
		return 0, refuse(work.Invalid, "asked for %d bytes from %d, the server has range %q", n, off, text)
	}
	return size, nil
}

// content is the body of an object; its errors are the store's.
type content struct {
	io.Reader
	store *Store
	key   string
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = c.store.fail("get", c.key, err)
	}
	return n, err
}

func (c *content) Close() error { return c.Reader.(io.Closer).Close() }

// Put stores an object in one request, with what the source vouches for as
// headers, so that the server refuses other bytes.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.put(ctx, key, body, size, opts)
	return in, s.fail("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if err := s.keeps(ctx, key); err != nil {
		return storage.Info{}, err
	}
	if size > maxPut {
		return storage.Info{}, refuse(work.Unsupported, "%d bytes are too many for one request", size)
	}
	h := make(http.Header, 16)
	if err := s.writeMeta(h, opts.Meta); err != nil {
		return storage.Info{}, err
	}
	r := &request{method: http.MethodPut, key: s.prefix + key, header: h, body: body, size: size}
	if !writeSums(h, opts.Sums) && size > 0 {
		if with, err := s.trailers(ctx); err != nil {
			return storage.Info{}, err
		} else if with {
			setTrailer(r, crc32c)
		}
	}
	answer, _, err := s.under(ctx, opts.If, &s.unconditional.put, r)
	if err != nil {
		return storage.Info{}, s.inTheWay(ctx, key, s.refused(err, opts.Meta, h))
	}
	return storage.Info{Key: key, Size: size, ETag: unquote(answer.Get("Etag")), Sums: readSums(answer)}, nil
}
