package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// errStalled is why a watchdog cut a request.
var errStalled = errors.New("no byte moved for too long")

// A watchdog cuts a request that waits for the network for longer than its
// limit. Only waiting counts, not what a body's other end takes: however
// large a body is and however slowly its consumer reads it, a request whose
// network side goes on is left alone.
type watchdog struct {
	limit  time.Duration
	extra  atomic.Int64 // how much longer the present wait may take, in nanoseconds
	since  atomic.Int64 // when the present wait began, in nanoseconds after epoch; 0: none
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// epoch is what times are measured from, on the monotonic clock.
var epoch = time.Now()

// watch returns a context for a request, and the watchdog that may cancel it.
// The watchdog must be stopped.
func watch(ctx context.Context, limit time.Duration) (context.Context, *watchdog) {
	w := &watchdog{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(time.Hour, w.look) // look must find timer set
	w.timer.Reset(limit)
	return w.ctx, w
}

// look cuts the request, or looks again when the present wait may be over.
func (w *watchdog) look() {
	if w.ctx.Err() != nil {
		return
	}
	left := w.limit + time.Duration(w.extra.Load())
	if since := w.since.Load(); since != 0 {
		left -= time.Since(epoch) - time.Duration(since)
	}
	if left <= 0 {
		w.cancel(errStalled)
		return
	}
	w.timer.Reset(left)
}

// begin says that the request waits for the network from now on, for as long
// as the limit and extra allow.
func (w *watchdog) begin(extra time.Duration) {
	w.extra.Store(int64(extra))
	w.since.Store(int64(time.Since(epoch)))
}

// end says that it does not wait.
func (w *watchdog) end() { w.since.Store(0) }

// stop ends the watch, and the request if it still runs.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// verdict returns err, or why the watchdog caused it.
func (w *watchdog) verdict(err error) error {
	if err != nil && context.Cause(w.ctx) == errStalled {
		return fmt.Errorf("%w (%v)", errStalled, w.limit+time.Duration(w.extra.Load()))
	}
	return err
}

// An upload is the body of a request: exactly the bytes that were announced,
// or an error before the last of them is handed out, so that a server never
// takes a body for complete that is not. The transport may still be reading
// after it has returned; finish cuts it off from the source.
type upload struct {
	w    *watchdog
	wait time.Duration // for the server to answer beyond the usual
	hold time.Duration // before the first byte
	mu   sync.Mutex
	src  io.Reader // nil once finished
	left int64     // bytes still to come
	err  error     // why the source failed
}

// errFinished is what the transport gets when it reads on after its time.
var errFinished = errors.New("the request is over")

// A sourceError is a failure of the body's source, not of the store.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// errLength means that a body does not have the length that was announced.
var errLength = errors.New("the body's length is not what was announced")

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.src == nil {
		return 0, errFinished
	}
	u.w.end()
	defer func() { u.w.begin(u.wait) }()
	switch {
	case u.err != nil:
		return 0, u.err
	case u.left == 0:
		return 0, io.EOF
	}
	if u.hold > 0 {
		sleep(u.w.ctx, u.hold)
		u.hold = 0
	}
	n, err := u.src.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	switch {
	case err == io.EOF && u.left > 0:
		u.err = &sourceError{fmt.Errorf("%w: %d bytes are missing", errLength, u.left)}
	case err != nil && err != io.EOF:
		u.err = &sourceError{err}
	case u.w.ctx.Err() != nil:
		u.err = u.w.ctx.Err() // not one byte more for a request that was given up
	case err == nil && u.left == 0:
		if err := atEnd(u.src); err != nil {
			u.err = &sourceError{err}
		}
	}
	if u.err != nil {
		return 0, u.err
	}
	if u.left == 0 {
		err = io.EOF
	}
	return n, err
}

// atEnd reports whether src has nothing more to give, as an error if it has.
func atEnd(src io.Reader) error {
	var probe [1]byte
	for range 100 {
		switch n, err := src.Read(probe[:]); {
		case n > 0:
			return fmt.Errorf("%w: there are more bytes", errLength)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// Close is for the transport.
func (u *upload) Close() error { return nil }

// finish takes the source away from the transport, waiting for a read under
// way, and returns why the source failed, if it did.
func (u *upload) finish() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.src = nil
	return u.err
}

// A download is the body of an answer, watched, and checked for its length.
type download struct {
	src  io.ReadCloser
	w    *watchdog
	left int64 // bytes still to come; -1: not known
	err  error // the last answer of Read
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.w.begin(0)
	n, err := d.src.Read(p)
	d.w.end()
	if d.left >= 0 {
		d.left -= int64(n)
	}
	switch {
	case err == io.EOF && d.left > 0:
		d.err = fmt.Errorf("%w: %d bytes are missing", io.ErrUnexpectedEOF, d.left)
	case err != nil && err != io.EOF:
		d.err = d.w.verdict(err)
	default:
		d.err = err
	}
	return n, d.err
}

// Close ends the request. The connection is used again if the body was read
// to its end.
func (d *download) Close() error {
	err := d.src.Close()
	d.w.stop()
	return err
}
