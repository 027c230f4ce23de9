package gcsstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	gcs "cloud.google.com/go/storage"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// object is the native handle of an object.
func (s *Store) object(name string) *gcs.ObjectHandle { return s.gcs.Bucket(s.bucket).Object(name) }

// infoOf is what the service says of an object.
func infoOf(key string, a *gcs.ObjectAttrs) storage.Info {
	in := storage.Info{
		Key: key, Size: a.Size, ETag: strconv.FormatInt(a.Generation, 10), ModTime: a.Updated, Meta: readMeta(a),
	}
	if !in.Meta.ModTime.IsZero() {
		in.ModTime = in.Meta.ModTime
	}
	if a.CustomerKeySHA256 == "" { // else its sums are kept from us
		in.Sums.CRC32C = binary.BigEndian.AppendUint32(nil, a.CRC32C)
		if len(a.MD5) == 16 { // what was put together from parts has none
			in.Sums.MD5 = a.MD5
		}
	}
	return in
}

// Stat asks the service for what it knows of an object.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.stat(ctx, key)
	return in, s.fail("stat", key, err)
}

func (s *Store) stat(ctx context.Context, key string) (storage.Info, error) {
	name, err := s.check(key)
	if err != nil {
		return storage.Info{}, err
	}
	a, err := s.attrs(ctx, s.object(name))
	if err != nil {
		return storage.Info{}, err
	}
	return infoOf(key, a), nil
}

func (s *Store) attrs(ctx context.Context, h *gcs.ObjectHandle) (a *gcs.ObjectAttrs, err error) {
	err = s.again(ctx, nil, func() error {
		a, err = h.Attrs(ctx)
		return err
	})
	return a, err
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, key string) error {
	name, err := s.check(key)
	if err == nil {
		err = s.remove(ctx, name)
	}
	return s.fail("delete", key, err)
}

// remove removes an object; one that is not there is no error.
func (s *Store) remove(ctx context.Context, name string) error {
	err := s.again(ctx, nil, func() error { return s.object(name).Delete(ctx) })
	if gone(err) {
		return nil
	}
	return err
}

// Get opens a range of an object.
//
// The content and what is known of the object take a request each, at the same
// time: the header of an answer with content has defaults in the place of
// metadata that is not set, and loses the case of names.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := s.get(ctx, key, etag, off, n)
	if err != nil {
		return nil, storage.Info{}, s.fail("get", key, err)
	}
	return body, in, nil
}

func (s *Store) get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if off < 0 {
		return nil, storage.Info{}, refuse(work.Invalid, "negative offset %d", off)
	}
	name, err := s.check(key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	type answer struct {
		in  storage.Info
		err error
	}
	answers := make(chan answer, 1)
	ask := func() {
		in, err := s.stat(ctx, key)
		answers <- answer{in, err}
	}
	var known answer
	pinned := etag != ""
	if pinned {
		go ask()
	} else {
		ask()
		if known = <-answers; known.err != nil {
			return nil, storage.Info{}, known.err
		}
		etag = known.in.ETag
	}
	resp, err := s.read(ctx, name, etag, off, n)
	if pinned {
		known = <-answers
	}
	err = s.judge(known.in, known.err, pinned, etag, err)
	if err == nil {
		err = checkRange(resp, known.in, off, n)
	}
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, storage.Info{}, err
	}
	if resp == nil {
		return http.NoBody, known.in, nil
	}
	return &download{src: resp.Body, left: resp.ContentLength, store: s, key: key}, known.in, nil
}

// judge says what the answers to the two requests of a Get mean: what is known
// of the object, and the error of the content's.
func (s *Store) judge(in storage.Info, err error, pinned bool, etag string, content error) error {
	switch {
	case pinned && gone(err):
		return refuse(work.SrcChanged, "version %s is gone, and there is no other", etag)
	case err != nil:
		return err
	case in.ETag != etag:
		return refuse(work.SrcChanged, "its version is now %s, was %s", in.ETag, etag)
	case gone(content):
		return refuse(work.SrcChanged, "version %s is gone", etag)
	}
	if e := told(content); e != nil && e.status == http.StatusRequestedRangeNotSatisfiable {
		return nil // checkRange says it better
	}
	return content
}

// read asks for a range of one version of an object's content, as it is
// stored; for no bytes it asks nothing.
func (s *Store) read(ctx context.Context, name, etag string, off, n int64) (*http.Response, error) {
	if _, err := strconv.ParseInt(etag, 10, 64); err != nil {
		return nil, refuse(work.SrcChanged, "%q is no version of this store's", etag)
	}
	// Without gzip among what is accepted, the service unpacks.
	h := http.Header{"Accept-Encoding": {"gzip"}}
	switch {
	case n == 0:
		return nil, nil
	case n > 0:
		h["Range"] = []string{fmt.Sprintf("bytes=%d-%d", off, off+n-1)}
	case off > 0:
		h["Range"] = []string{fmt.Sprintf("bytes=%d-", off)}
	}
	return s.do(ctx, &request{
		method: http.MethodGet, path: s.objectPath(name), query: url.Values{"generation": {etag}}, header: h,
	})
}

// checkRange makes sure that an answer holds the bytes that were asked for.
func checkRange(resp *http.Response, in storage.Info, off, n int64) error {
	want := in.Size - off
	if n >= 0 {
		want = n
	}
	switch {
	case want < 0 || off+want > in.Size:
		return refuse(work.Invalid, "asked for %d bytes from %d, the object has %d", n, off, in.Size)
	case want == 0 && resp == nil:
		return nil
	case resp == nil: // 416, although the range lies within the object
		return fmt.Errorf("%w: a range of %d bytes from %d refused", errAnswer, want, off)
	}
	if at := resp.Header.Get("X-Goog-Generation"); cmp.Or(at, in.ETag) != in.ETag {
		return refuse(work.SrcChanged, "the content is that of version %s, not %s", at, in.ETag)
	}
	if resp.StatusCode != http.StatusPartialContent {
		if off != 0 || resp.ContentLength != want {
			return refuse(work.Unsupported, "the server gives %d bytes for %d of the %d that are stored (content encoding %q)",
				resp.ContentLength, want, in.Size, in.Meta.ContentEncoding)
		}
		return nil
	}
	text := resp.Header.Get("Content-Range")
	var first, last, size int64
	if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return fmt.Errorf("%w: range %q", errAnswer, text)
	}
	if first != off || last-first+1 != want || size != in.Size || resp.ContentLength != want {
		return fmt.Errorf("%w: asked for %d bytes from %d of %d, got range %q of %d bytes", errAnswer, want, off, in.Size, text, resp.ContentLength)
	}
	return nil
}
