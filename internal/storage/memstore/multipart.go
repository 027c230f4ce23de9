package memstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An upload holds the parts of an object to be. It is guarded by its bucket's mu.
type upload struct {
	key   string
	meta  storage.Meta // of Begin
	parts map[int]part
}

type part struct {
	data []byte
	tag  string
}

// Limits implements storage.Multipart.
func (s *Store) Limits() storage.Limits {
	return storage.Limits{MinPart: 1, MaxPart: 1 << 30, MaxObject: 1 << 40, MaxParts: 10_000}
}

// Begin implements storage.Multipart. The object's metadata is what is given
// here, as with S3; what Commit is given is not looked at.
func (s *Store) Begin(ctx context.Context, key string, size, partSize int64, opts storage.PutOptions) (storage.Upload, error) {
	if err := ctx.Err(); err != nil {
		return storage.Upload{}, s.fail("begin", key, work.Transient, err)
	}
	if key == "" || size < 1 || partSize < 1 {
		return storage.Upload{}, s.fail("begin", key, work.Invalid, fmt.Errorf("%d bytes in parts of %d", size, partSize))
	}
	b := s.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastID++
	id := strconv.Itoa(b.lastID)
	b.uploads[id] = &upload{key: s.prefix + key, meta: cloneMeta(opts.Meta), parts: map[int]part{}}
	return storage.Upload{Key: key, ID: id, Size: size, Part: partSize}, nil
}

// upload returns the upload u. It is called with the bucket's mu held.
func (s *Store) upload(op string, u storage.Upload) (*upload, error) {
	up := s.bucket.uploads[u.ID]
	if up == nil || up.key != s.prefix+u.Key {
		return nil, s.fail(op, u.Key, work.NotFound, fmt.Errorf("no upload %s", u.ID))
	}
	return up, nil
}

// PutPart implements storage.Multipart.
func (s *Store) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, want storage.Sums) (storage.Part, error) {
	if n < 1 || n > s.Limits().MaxParts {
		return storage.Part{}, s.fail("put part", u.Key, work.Invalid, fmt.Errorf("part %d", n))
	}
	data, sums, err := s.read(ctx, "put part", u.Key, body, size, want)
	if err != nil {
		return storage.Part{}, err
	}
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	up, err := s.upload("put part", u)
	if err != nil {
		return storage.Part{}, err
	}
	p := part{data: data, tag: hex.EncodeToString(sums.MD5)}
	up.parts[n] = p
	return storage.Part{N: n, Size: size, Tag: p.tag, Sums: sums}, nil
}

// Commit implements storage.Multipart.
func (s *Store) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, s.fail("commit", u.Key, work.Transient, err)
	}
	data, meta, err := s.assemble(u, parts)
	if err != nil {
		return storage.Info{}, err
	}
	d := storage.NewDigest(vouched | opts.Sums.Algos())
	d.Write(data)
	sums := d.Sums()
	if _, differ := opts.Sums.Compare(sums); differ != 0 {
		return storage.Info{}, s.fail("commit", u.Key, work.Corrupt, fmt.Errorf("%s of the parts together is not the expected one", differ))
	}
	in, err := s.put("commit", u.Key, s.object(u.Key, data, sums, meta), opts.If)
	if err != nil {
		return storage.Info{}, err
	}
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	delete(s.bucket.uploads, u.ID)
	return in, nil
}

// assemble joins the parts and checks that they are all, in order, and the
// ones the caller knows of.
func (s *Store) assemble(u storage.Upload, parts []storage.Part) ([]byte, storage.Meta, error) {
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	fail := func(fault work.Fault, format string, args ...any) ([]byte, storage.Meta, error) {
		return nil, storage.Meta{}, s.fail("commit", u.Key, fault, fmt.Errorf(format, args...))
	}
	up, err := s.upload("commit", u)
	if err != nil {
		return nil, storage.Meta{}, err
	}
	var data []byte
	for i, p := range parts {
		have, ok := up.parts[p.N]
		switch {
		case p.N != i+1:
			return fail(work.Invalid, "part %d stands in place %d", p.N, i+1)
		case !ok || have.tag != p.Tag:
			return fail(work.Corrupt, "part %d is not the one that was stored", p.N)
		}
		data = append(data, have.data...)
	}
	if int64(len(data)) != u.Size {
		return fail(work.Corrupt, "parts are %d of %d bytes", len(data), u.Size)
	}
	return data, up.meta, nil
}

// Abort implements storage.Multipart.
func (s *Store) Abort(ctx context.Context, u storage.Upload) error {
	if err := ctx.Err(); err != nil {
		return s.fail("abort", u.Key, work.Transient, err)
	}
	s.bucket.mu.Lock()
	defer s.bucket.mu.Unlock()
	delete(s.bucket.uploads, u.ID)
	return nil
}

// Pending implements storage.Multipart. The oldest upload comes first.
func (s *Store) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.fail("list uploads", key, work.Transient, err)
	}
	b := s.bucket
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []storage.Upload
	for id, u := range b.uploads {
		if u.key == s.prefix+key && len(u.parts) == 0 {
			found = append(found, storage.Upload{Key: key, ID: id})
		}
	}
	slices.SortFunc(found, func(a, b storage.Upload) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) // they are numbers
	})
	return found, nil
}
