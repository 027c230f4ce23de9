package storagetest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

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
	broken := f.failed(c, k)
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
	k, err := f.look(ctx, Call{Op: "stat", Key: key}, answers...)
	if err != nil {
		return storage.Info{}, err
	}
	in, err := f.inner.Stat(ctx, key)
	return told(k, in), err
}

// Get implements storage.Store.
func (f *faulty) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	c := Call{Op: "get", Key: key}
	fits := slices.Concat([]Kind{Broken, Short, Long, Flipped}, answers)
	old := f.past.of(key, off, n)
	if old != nil {
		fits = append(fits, Stale)
	}
	k, err := f.look(ctx, c, fits...)
	if err != nil {
		return nil, storage.Info{}, err
	}
	body, in, err := f.inner.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, in, err
	}
	switch k {
	case Stale:
		return replaced(body, bytes.NewReader(old)), in, nil
	case Long:
		return replaced(body, io.MultiReader(body, strings.NewReader("\x00"))), in, nil
	}
	if n < 0 {
		n = in.Size - off
	}
	if n == 0 {
		return body, told(k, in), nil
	}
	var spoil func([]byte) (int, error)
	switch k {
	case Slow:
		spoil = func([]byte) (int, error) { wait(ctx, f.Delay); return -1, ctx.Err() }
	case Broken:
		spoil = func([]byte) (int, error) { return 0, f.failed(c, k) }
	case Short:
		spoil = func([]byte) (int, error) { return 0, io.EOF }
	case Flipped:
		spoil = flip
	default:
		return body, told(k, in), nil
	}
	return replaced(body, &ended{spoiled{Reader: body, at: f.rng(c).Int64N(n), spoil: spoil}, nil}), in, nil
}

// replaced gives a body other bytes.
func replaced(body io.Closer, other io.Reader) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{other, body}
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
	c := Call{Op: "put", Key: key}
	k, err := f.change(ctx, change{
		Call: c, body: body, size: size, lies: f.writes(ctx, key, size),
		keep: func(body io.Reader) error {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return err
			}
			in, err = f.inner.Stat(ctx, key)
			return err
		},
		do: func(body io.Reader) error {
			return f.replacing(ctx, key, size, func() (err error) {
				in, err = f.inner.Put(ctx, key, body, size, opts)
				return err
			})
		},
	})
	if err == nil && k == Perjured {
		return f.damage(ctx, c, k, storage.Upload{Key: key, Size: size}, in)
	}
	return unless(err, told(k, in))
}

// Delete implements storage.Store.
func (f *faulty) Delete(ctx context.Context, key string) error {
	_, err := f.change(ctx, change{
		Call: Call{Op: "delete", Key: key},
		do:   func(io.Reader) error { return f.inner.Delete(ctx, key) },
	})
	return err
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
