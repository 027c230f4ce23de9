package storagetest

import (
	"context"
	"io"
	"strconv"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Traits implements storage.Store.
func (f *faulty) Traits() storage.Traits { return f.inner.Traits() }

// Close implements storage.Store.
func (f *faulty) Close() error { return f.inner.Close() }

// List implements storage.Store. When it breaks, it does so after a page, if
// there is one.
func (f *faulty) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	c := Call{Op: "list"}
	k, err := f.look(ctx, c, Broken)
	if err != nil {
		return err
	}
	if k != Broken {
		return f.inner.List(ctx, r, fn)
	}
	broken := failed(c, k)
	err = f.inner.List(ctx, r, func(page []storage.Info) error {
		if err := fn(page); err != nil {
			return err
		}
		return broken
	})
	if err == nil {
		return broken
	}
	return err
}

// Stat implements storage.Store.
func (f *faulty) Stat(ctx context.Context, key string) (storage.Info, error) {
	if _, err := f.look(ctx, Call{Op: "stat", Key: key}); err != nil {
		return storage.Info{}, err
	}
	return f.inner.Stat(ctx, key)
}

// Get implements storage.Store.
func (f *faulty) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	c := Call{Op: "get", Key: key}
	k, err := f.look(ctx, c, Broken, Short, Flipped)
	if err != nil {
		return nil, storage.Info{}, err
	}
	body, in, err := f.inner.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, in, err
	}
	if n < 0 {
		n = in.Size - off
	}
	if n == 0 {
		return body, in, nil
	}
	var spoil func([]byte) (int, error)
	switch k {
	case Slow:
		spoil = func([]byte) (int, error) { wait(ctx, f.Delay); return -1, ctx.Err() }
	case Broken:
		spoil = func([]byte) (int, error) { return 0, failed(c, k) }
	case Short:
		spoil = func([]byte) (int, error) { return 0, io.EOF }
	case Flipped:
		spoil = flip
	default:
		return body, in, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{&ended{spoiled{Reader: body, at: f.rng(c).Int64N(n), spoil: spoil}, nil}, body}, in, nil
}

// ended is a spoiled reader that stays at its end.
type ended struct {
	spoiled
	err error
}

// Read implements io.Reader.
func (e *ended) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.spoiled.Read(p)
	e.err = err
	return n, err
}

// Put implements storage.Store.
func (f *faulty) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (in storage.Info, err error) {
	err = f.change(ctx, Call{Op: "put", Key: key}, body, size, func(body io.Reader) (err error) {
		in, err = f.inner.Put(ctx, key, body, size, opts)
		return err
	})
	return unless(err, in)
}

// Delete implements storage.Store.
func (f *faulty) Delete(ctx context.Context, key string) error {
	return f.change(ctx, Call{Op: "delete", Key: key}, nil, 0, func(io.Reader) error { return f.inner.Delete(ctx, key) })
}

// unless returns the zero value beside an error: whoever was told of a
// failure knows nothing more.
func unless[T any](err error, v T) (T, error) {
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

type faultyCopier struct {
	f     *faulty
	inner storage.Copier
}

// CopyFrom implements storage.Copier.
func (c faultyCopier) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (out storage.Info, err error) {
	if f, ok := src.(interface{ behind() storage.Store }); ok {
		src = f.behind()
	}
	err = c.f.change(ctx, Call{Op: "copy", Key: key}, nil, 0, func(io.Reader) (err error) {
		out, err = c.inner.CopyFrom(ctx, key, src, in, opts)
		return err
	})
	return unless(err, out)
}

func (f *faulty) behind() storage.Store { return f.inner }

type faultyParts struct {
	f     *faulty
	inner storage.Multipart
}

// Limits implements storage.Multipart.
func (p faultyParts) Limits() storage.Limits { return p.inner.Limits() }

// Begin implements storage.Multipart.
func (p faultyParts) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (u storage.Upload, err error) {
	err = p.f.change(ctx, Call{Op: "begin", Key: key}, nil, 0, func(io.Reader) (err error) {
		u, err = p.inner.Begin(ctx, key, size, part, opts)
		return err
	})
	return unless(err, u)
}

// PutPart implements storage.Multipart.
func (p faultyParts) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (out storage.Part, err error) {
	c := Call{Op: "part", Key: u.Key + "#" + strconv.Itoa(n)}
	err = p.f.change(ctx, c, body, size, func(body io.Reader) (err error) {
		out, err = p.inner.PutPart(ctx, u, n, body, size, sums)
		return err
	})
	return unless(err, out)
}

// Commit implements storage.Multipart.
func (p faultyParts) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (in storage.Info, err error) {
	err = p.f.change(ctx, Call{Op: "commit", Key: u.Key}, nil, 0, func(io.Reader) (err error) {
		in, err = p.inner.Commit(ctx, u, parts, opts)
		return err
	})
	return unless(err, in)
}

// Abort implements storage.Multipart.
func (p faultyParts) Abort(ctx context.Context, u storage.Upload) error {
	return p.f.change(ctx, Call{Op: "abort", Key: u.Key}, nil, 0, func(io.Reader) error { return p.inner.Abort(ctx, u) })
}

// Pending implements storage.Multipart.
func (p faultyParts) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	if _, err := p.f.look(ctx, Call{Op: "pending", Key: key}); err != nil {
		return nil, err
	}
	return p.inner.Pending(ctx, key)
}
