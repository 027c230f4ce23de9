package blobstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// List implements storage.Store.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	token := blob.FirstPageToken
	if s.driver.KeyTokens && r.After != "" {
		token = []byte(s.prefix + r.After)
	}
	last, first := "", true
	for len(token) > 0 {
		if err := ctx.Err(); err != nil {
			return s.fail("list", "", work.Transient, err)
		}
		objects, next, err := s.bucket.ListPage(ctx, token, pageSize, &blob.ListOptions{Prefix: s.prefix})
		if err != nil {
			return s.blame("list", "", err)
		}
		token = next
		var page []storage.Info
		for _, o := range objects {
			key, ok := strings.CutPrefix(o.Key, s.prefix)
			if !ok || !first && key <= last {
				return s.fail("list", key, work.Unsupported, fmt.Errorf("the bucket lists it after %s, so the listing cannot be known to be complete", work.Quote(last)))
			}
			last, first = key, false
			if r.Upto != "" && key > r.Upto {
				token = nil
				break
			}
			if key != "" && r.Contains(key) {
				page = append(page, storage.Info{Key: key, Size: o.Size, ETag: version(o.Size, o.ModTime, o.MD5), ModTime: o.ModTime})
			}
		}
		if len(page) > 0 {
			if err := fn(page); err != nil {
				return err
			}
		}
	}
	return nil
}

// version names the version of an object by all that listings and attributes
// both know of it.
func version(size int64, modified time.Time, md5 []byte) string {
	return fmt.Sprintf("%d-%d.%d-%s", size, modified.Unix(), modified.Nanosecond(), hex.EncodeToString(md5))
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
		Key: key, Size: a.Size, ETag: version(a.Size, a.ModTime, a.MD5), ModTime: a.ModTime,
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
	if s.driver.MD5 && len(a.MD5) > 0 {
		in.Sums.MD5 = a.MD5
	}
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
	r, err := s.bucket.NewRangeReader(ctx, s.prefix+key, off, n, nil)
	if err != nil {
		return nil, storage.Info{}, s.blame("get", key, err)
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
