package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// List implements storage.Store.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	opts := &blob.ListOptions{Prefix: s.prefix}
	token := blob.FirstPageToken
	switch {
	case r.After == "":
	case s.driver.KeyTokens:
		token = []byte(s.prefix + r.After)
	case s.driver.From != nil:
		opts.BeforeList = func(as func(any) bool) error { return s.driver.From(as, s.prefix+r.After) }
	}
	for order := (&order{}); len(token) > 0; {
		if err := ctx.Err(); err != nil {
			return s.fail("list", "", work.Transient, err)
		}
		objects, next, err := s.bucket.ListPage(ctx, token, pageSize, opts)
		if err != nil {
			return s.blame("list", "", err)
		}
		page, past, err := s.page(objects, r, order)
		if err != nil {
			return s.fail("list", "", work.Unsupported, err)
		}
		if len(page) > 0 {
			if err := fn(page); err != nil {
				return err
			}
		}
		if past {
			return nil
		}
		token = next
	}
	return nil
}

// An order is the last key of a listing so far.
type order struct {
	last  string
	begun bool
}

// page picks the objects of the range, and reports whether the listing is past
// its end. An error says that the listing cannot be known to be complete.
func (s *Store) page(objects []*blob.ListObject, r work.Range, o *order) (page []storage.Info, past bool, err error) {
	for _, object := range objects {
		in := storage.Info{Key: object.Key, Size: object.Size, ModTime: object.ModTime}
		if err := s.describe(&in, object.As, object.MD5); err != nil {
			return nil, false, err
		}
		key, ok := strings.CutPrefix(in.Key, s.prefix)
		if !ok || o.begun && key <= o.last {
			return nil, false, fmt.Errorf("the bucket lists %s after %s, so the listing may be incomplete", work.Quote(in.Key), work.Quote(s.prefix+o.last))
		}
		o.last, o.begun = key, true
		if r.Upto != "" && key > r.Upto {
			return page, true, nil
		}
		if in.Key = key; key != "" && r.Contains(key) {
			page = append(page, in)
		}
	}
	return page, false, nil
}

// describe fills in what the driver knows natively of an object, or else names
// its version by all that listings and attributes both know.
func (s *Store) describe(in *storage.Info, as func(any) bool, md5 []byte) error {
	if s.driver.MD5 && len(md5) > 0 {
		in.Sums.MD5 = md5
	}
	if s.driver.Native == nil {
		in.ETag = fmt.Sprintf("%d-%d.%d-%x", in.Size, in.ModTime.Unix(), in.ModTime.Nanosecond(), md5)
		return nil
	}
	n, err := s.driver.Native(as)
	if err != nil {
		return fmt.Errorf("object %s: %w", work.Quote(in.Key), err)
	}
	if n.Name != "" {
		in.Key = n.Name
	}
	in.ETag, in.Sums.CRC32C = n.Version, n.Sums.CRC32C
	return nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	return s.stat(ctx, "stat", key)
}

func (s *Store) stat(ctx context.Context, op, key string) (storage.Info, error) {
	full, err := s.check(ctx, op, key)
	if err != nil {
		return storage.Info{}, err
	}
	a, err := s.bucket.Attributes(ctx, full)
	if err != nil {
		return storage.Info{}, s.blame(op, key, err)
	}
	in := storage.Info{
		Key: key, Size: a.Size, ModTime: a.ModTime,
		Meta: storage.Meta{
			ContentType:        a.ContentType,
			ContentEncoding:    a.ContentEncoding,
			ContentLanguage:    a.ContentLanguage,
			ContentDisposition: a.ContentDisposition,
			CacheControl:       a.CacheControl,
			ModTime:            a.ModTime,
		},
	}
	if s.driver.Meta.User {
		in.Meta.User = a.Metadata
	}
	if err := s.describe(&in, a.As, a.MD5); err != nil {
		return storage.Info{}, s.fail(op, key, work.Internal, err)
	}
	in.Key = key
	return in, nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	fail := func(fault work.Fault, format string, args ...any) (io.ReadCloser, storage.Info, error) {
		return nil, storage.Info{}, s.fail("get", key, fault, fmt.Errorf(format, args...))
	}
	in, err := s.stat(ctx, "get", key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	if n < 0 {
		n = in.Size - off
	}
	switch {
	case etag != "" && etag != in.ETag:
		return fail(work.SrcChanged, "version is %s, not %s", in.ETag, etag)
	case off < 0 || n < 0 || off > in.Size-n:
		return fail(work.Invalid, "range of %d bytes from %d in an object of %d", n, off, in.Size)
	}
	var opts *blob.ReaderOptions
	if s.driver.Read != nil {
		opts = &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error { return s.driver.Read(as, in.ETag) }}
	}
	reading := ctx
	if s.driver.Reading != nil {
		reading = s.driver.Reading(ctx)
	}
	r, err := s.bucket.NewRangeReader(reading, s.prefix+key, off, n, opts)
	if err != nil {
		err = s.blame("get", key, err)
		if storage.Is(err, work.NotFound) {
			return fail(work.SrcChanged, "version %s is gone: %w", in.ETag, err)
		}
		return nil, storage.Info{}, err
	}
	if r.Size() != in.Size {
		size := r.Size()
		r.Close()
		if now, err := s.stat(ctx, "get", key); err != nil {
			return nil, storage.Info{}, err
		} else if now.ETag != in.ETag {
			return fail(work.SrcChanged, "version is %s, not %s", now.ETag, in.ETag)
		}
		return fail(work.Unsupported, "the driver would give %d bytes for the %d that are stored (content encoding %q)", size, in.Size, in.Meta.ContentEncoding)
	}
	return &body{ctx: ctx, store: s, key: key, r: r, version: in.ETag, left: n}, in, nil
}

// A body reads a range of one version of an object.
type body struct {
	ctx     context.Context
	store   *Store
	key     string
	r       *blob.Reader
	version string
	left    int64
}

// Read implements io.Reader. The last bytes are given out only once the object
// was found unchanged.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left > 0 && err == nil:
		return n, nil
	case b.left > 0 && err != io.EOF:
		return n, b.store.blame("read", b.key, err)
	}
	if b.left == 0 && b.store.driver.Read != nil {
		return n, nil // the service itself keeps to the version
	}
	now, statErr := b.store.stat(b.ctx, "read", b.key)
	switch {
	case storage.Is(statErr, work.NotFound):
		return 0, b.store.fail("read", b.key, work.SrcChanged, errors.New("the object was deleted meanwhile"))
	case statErr != nil:
		return 0, statErr
	case now.ETag != b.version:
		return 0, b.store.fail("read", b.key, work.SrcChanged, fmt.Errorf("version is %s, not %s", now.ETag, b.version))
	case b.left > 0:
		return n, b.store.fail("read", b.key, work.Corrupt, fmt.Errorf("body ended %d bytes early: %w", b.left, io.ErrUnexpectedEOF))
	}
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error { return b.r.Close() }

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	full, err := s.check(ctx, "delete", key)
	if err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, full); err != nil && fault(err) != work.NotFound {
		return s.blame("delete", key, err)
	}
	return nil
}
