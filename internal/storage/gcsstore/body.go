package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tranship/tranship/internal/storage"
)

// An upload is the content in a request's body: exactly the bytes that were
// announced, or an error before the last of them is handed out, so that the
// service never takes for complete what is not, nor for good what does not
// have the sums that it should. The transport may still be reading after it
// has returned; finish cuts it off from the source.
type upload struct {
	ctx    context.Context
	mu     sync.Mutex
	src    io.Reader // nil once finished
	left   int64     // bytes still to come
	want   storage.Sums
	digest *storage.Digest // of what the service cannot check itself; may be nil
	err    error           // why the source failed
}

// errFinished is what the transport gets when it reads on after its time.
var errFinished = errors.New("the request is over")

// A sourceError is a failure of the body's source, not of the store.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// errBytes means that a body is not what was announced.
var errBytes = errors.New("the body is not what was announced")

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.src == nil:
		return 0, errFinished
	case u.err != nil:
		return 0, u.err
	case u.left == 0:
		return 0, io.EOF
	}
	n, err := u.src.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	if u.digest != nil {
		u.digest.Write(p[:n])
	}
	if u.err = u.problem(err); u.err != nil {
		return 0, u.err
	}
	if u.left == 0 {
		err = io.EOF
	}
	return n, err
}

// problem returns what is wrong with the content once the source has answered
// a read with err.
func (u *upload) problem(err error) error {
	switch {
	case err == io.EOF && u.left > 0:
		return &sourceError{fmt.Errorf("%w: %d bytes are missing", errBytes, u.left)}
	case err != nil && err != io.EOF:
		return &sourceError{err}
	case u.ctx.Err() != nil:
		return u.ctx.Err() // not one byte more for a request that was given up
	case u.left > 0:
		return nil
	case err == nil:
		if err := atEnd(u.src); err != nil {
			return &sourceError{err}
		}
	}
	if u.digest != nil {
		if _, differ := u.want.Compare(u.digest.Sums()); differ != 0 {
			return &sourceError{fmt.Errorf("%w: its %v is another", errBytes, differ)}
		}
	}
	return nil
}

// atEnd makes sure that src has nothing more to give.
func atEnd(src io.Reader) error {
	var probe [1]byte
	for range 100 {
		switch n, err := src.Read(probe[:]); {
		case n > 0:
			return fmt.Errorf("%w: there are more bytes", errBytes)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// finish takes the source away from the transport, waiting for a read under
// way, and returns why the source failed, if it did.
func (u *upload) finish() (left int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.src = nil
	return u.left, u.err
}

// A download is the content of an object; its errors are the store's.
type download struct {
	src   io.ReadCloser
	left  int64 // bytes still to come
	err   error // the last answer of Read
	store *Store
	key   string
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.src.Read(p)
	d.left -= int64(n)
	switch {
	case err == io.EOF && d.left > 0:
		err = fmt.Errorf("%w: %d bytes are missing", io.ErrUnexpectedEOF, d.left)
		fallthrough
	case err != nil && err != io.EOF:
		err = d.store.fail("get", d.key, err)
	}
	d.err = err
	return n, err
}

// Close ends the request. The connection is used again if the body was read to
// its end.
func (d *download) Close() error { return d.src.Close() }
