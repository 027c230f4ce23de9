package azurestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tranship/tranship/internal/storage"
)

// A body is what a request sends: exactly so many bytes of a source, or an
// error. It looks like the seeker that the SDK asks for, but goes back to its
// start only if its source is one. The transport may still be reading after the
// request is over; finish cuts it off from the source.
type body struct {
	ctx    context.Context
	size   int64
	digest *storage.Digest // of what was read

	mu   sync.Mutex
	src  io.Reader // nil once finished
	left int64
	err  error // why the source failed
}

func newBody(ctx context.Context, src io.Reader, size int64, algos storage.Algos) *body {
	return &body{ctx: ctx, src: src, size: size, left: size, digest: storage.NewDigest(algos)}
}

// errFinished is what the transport gets when it reads on after its time.
var errFinished = errors.New("the request is over")

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.src == nil:
		return 0, errFinished
	case b.err != nil:
		return 0, b.err
	case b.left == 0:
		return 0, io.EOF
	case b.ctx.Err() != nil:
		return 0, b.ctx.Err()
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.digest.Write(p[:n])
	switch {
	case err == io.EOF && b.left > 0:
		b.err = &sourceError{fmt.Errorf("%w: %d bytes are missing", errLength, b.left)}
	case err != nil && err != io.EOF:
		b.err = &sourceError{err}
	case b.left == 0:
		return n, io.EOF
	}
	return n, b.err
}

// Seek implements io.Seeker, for the SDK: to learn the size, and to go back.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case whence == io.SeekEnd && offset == 0:
		return b.size, nil // the next Read goes on where it was
	case whence == io.SeekCurrent && offset == 0:
		return b.size - b.left, nil
	case whence != io.SeekStart || offset != 0:
		return 0, errors.New("a body goes back to its start only")
	case b.left == b.size:
		return 0, nil
	case b.src == nil:
		return 0, errFinished
	}
	again, ok := b.src.(io.Seeker)
	if !ok || b.err != nil {
		return 0, errors.New("the body cannot be read again")
	}
	if _, err := again.Seek(b.left-b.size, io.SeekCurrent); err != nil {
		return 0, err
	}
	b.left, b.digest = b.size, storage.NewDigest(b.digest.Sums().Algos())
	return 0, nil
}

// Close is for the transport.
func (b *body) Close() error { return nil }

// finish takes the source away from the transport, waiting for a read under
// way. It returns the checksums of what was sent and how the request ended:
// why the source failed, if it did, or else err.
func (b *body) finish(err error) (storage.Sums, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.src = nil
	switch {
	case b.err != nil:
		err = b.err
	case err == nil && b.left > 0:
		err = errors.New("the service answered before the body was there")
	}
	return b.digest.Sums(), err
}

// atEnd reports whether src has nothing more to give, as an error if it has.
func atEnd(src io.Reader) error {
	var probe [1]byte
	for range 100 {
		switch n, err := src.Read(probe[:]); {
		case n > 0:
			return &sourceError{fmt.Errorf("%w: there are more bytes", errLength)}
		case err == io.EOF:
			return nil
		case err != nil:
			return &sourceError{err}
		}
	}
	return &sourceError{io.ErrNoProgress}
}
