package storagetest

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/tranship/tranship/internal/storage"
)

type faultyCopier struct {
	f     *faulty
	inner storage.Copier
}

// CopyFrom implements storage.Copier.
func (c faultyCopier) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (out storage.Info, err error) {
	if f, ok := src.(interface{ behind() storage.Store }); ok {
		src = f.behind()
	}
	k, err := c.f.change(ctx, change{
		Call: Call{Op: "copy", Key: key}, lies: answers,
		do: func(io.Reader) error {
			return c.f.replacing(ctx, key, in.Size, func() (err error) {
				out, err = c.inner.CopyFrom(ctx, key, src, in, opts)
				return err
			})
		},
	})
	return unless(err, told(k, out))
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
	_, err = p.f.change(ctx, change{
		Call: Call{Op: "begin", Key: key},
		do: func(io.Reader) (err error) {
			u, err = p.inner.Begin(ctx, key, size, part, opts)
			return err
		},
	})
	return unless(err, u)
}

// PutPart implements storage.Multipart.
func (p faultyParts) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (out storage.Part, err error) {
	k, err := p.f.change(ctx, change{
		Call: Call{Op: "part", Key: u.Key + "#" + strconv.Itoa(n)}, body: body, size: size, lies: []Kind{Lied},
		do: func(body io.Reader) (err error) {
			out, err = p.inner.PutPart(ctx, u, n, body, size, sums)
			return err
		},
	})
	if k == Lied {
		out.Tag, out.Sums = falseTag(out.Tag), falseSums(out.Sums)
	}
	return unless(err, out)
}

// Commit implements storage.Multipart.
func (p faultyParts) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (in storage.Info, err error) {
	c := Call{Op: "commit", Key: u.Key}
	k, err := p.f.change(ctx, change{
		Call: c, lies: slices.Concat(damages(u), answers),
		do: func(io.Reader) error {
			return p.f.replacing(ctx, u.Key, u.Size, func() (err error) {
				in, err = p.inner.Commit(ctx, u, parts, opts)
				return err
			})
		},
	})
	if err != nil {
		return storage.Info{}, err
	}
	switch k {
	case Swapped, Doubled, Truncated, Perjured:
		return p.f.damage(ctx, c, k, u, in)
	}
	return told(k, in), nil
}

// Abort implements storage.Multipart.
func (p faultyParts) Abort(ctx context.Context, u storage.Upload) error {
	_, err := p.f.change(ctx, change{
		Call: Call{Op: "abort", Key: u.Key},
		do:   func(io.Reader) error { return p.inner.Abort(ctx, u) },
	})
	return err
}

// Pending implements storage.Multipart.
func (p faultyParts) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	if _, err := p.f.look(ctx, Call{Op: "pending", Key: key}); err != nil {
		return nil, err
	}
	return p.inner.Pending(ctx, key)
}
