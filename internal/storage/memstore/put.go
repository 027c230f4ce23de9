package memstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// vouched are the checksums that a memory store keeps of every object.
const vouched = storage.MD5 | storage.CRC32C

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if key == "" {
		return storage.Info{}, s.fail("put", key, work.Invalid, errors.New("an object needs a key"))
	}
	data, sums, err := s.read(ctx, "put", key, body, size, opts.Sums)
	if err != nil {
		return storage.Info{}, err
	}
	return s.put("put", key, s.object(key, data, sums, opts.Meta), opts.If)
}

func (s *Store) object(key string, data []byte, sums storage.Sums, meta storage.Meta) *object {
	meta = cloneMeta(meta)
	meta.ModTime = stamp(meta)
	return &object{data: data, info: storage.Info{
		Key:      s.prefix + key,
		Size:     int64(len(data)),
		ETag:     hex.EncodeToString(sums.MD5),
		ModTime:  meta.ModTime,
		Sums:     sums,
		Meta:     meta,
		TagCount: len(meta.Tags),
		Archived: meta.Class == Archive,
	}}
}

func cloneMeta(m storage.Meta) storage.Meta {
	m.User, m.Tags = maps.Clone(m.User), maps.Clone(m.Tags)
	return m
}

// read takes exactly size bytes of body and checks them against want.
func (s *Store) read(ctx context.Context, op, key string, body io.Reader, size int64, want storage.Sums) ([]byte, storage.Sums, error) {
	fail := func(fault work.Fault, err error) ([]byte, storage.Sums, error) {
		return nil, storage.Sums{}, s.fail(op, key, fault, err)
	}
	if size < 0 {
		return fail(work.Invalid, fmt.Errorf("size %d", size))
	}
	var buf bytes.Buffer
	buf.Grow(int(min(size, 1<<20)) + bytes.MinRead) // beyond that, as bytes arrive
	n, err := io.Copy(&buf, io.LimitReader(&interrupted{ctx, body}, size+1))
	switch {
	case err != nil:
		return fail(storage.FaultOf(err), fmt.Errorf("read the body: %w", err))
	case n < size:
		return fail(work.Corrupt, fmt.Errorf("body ended after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF))
	case n > size:
		return fail(work.Corrupt, fmt.Errorf("body is longer than %d bytes", size))
	}
	d := storage.NewDigest(vouched | want.Algos())
	d.Write(buf.Bytes())
	sums := d.Sums()
	if _, differ := want.Compare(sums); differ != 0 {
		return fail(work.Corrupt, fmt.Errorf("%s of the body is not the expected one", differ))
	}
	return buf.Bytes(), sums, nil
}

// interrupted is a reader that ends with its context.
type interrupted struct {
	ctx context.Context
	r   io.Reader
}

func (r *interrupted) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// CopyFrom implements storage.Copier for sources that are memory stores. The
// bytes are shared, for no object is ever changed. The metadata is the source's
// as it stands there, but for the storage class.
func (s *Store) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	from, ok := src.(*Store)
	if !ok {
		return storage.Info{}, s.fail("copy", key, work.Unsupported, errors.New("the source is not a memory store"))
	}
	if key == "" {
		return storage.Info{}, s.fail("copy", key, work.Invalid, errors.New("an object needs a key"))
	}
	o, err := from.readable(ctx, "copy", in.Key, in.ETag)
	if err != nil {
		return storage.Info{}, err
	}
	sums := o.info.Sums
	if _, differ := opts.Sums.Compare(sums); differ != 0 {
		return storage.Info{}, s.fail("copy", key, work.Corrupt, fmt.Errorf("%s of the source is not the expected one", differ))
	}
	meta := o.info.Meta
	meta.Class = opts.Meta.Class
	return s.put("copy", key, s.object(key, o.data, sums, meta), opts.If)
}
