package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// stall is how long the network may keep a request waiting.
const stall = time.Minute

// errStalled is why a request was cut.
var errStalled = errors.New("no byte moved for too long")

// patienceKey is the key of a context's patience: how long the service may
// think about a request beyond the usual.
type patienceKey struct{}

func withPatience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// A steady sends requests and cuts those that wait for the network for longer
// than the limit. Only waiting counts, not what a body's other end takes:
// however large a body is and however slowly it is produced or consumed, a
// request whose network side goes on is left alone.
type steady struct {
	base  http.RoundTripper
	limit time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *steady) RoundTrip(req *http.Request) (*http.Response, error) {
	limit := s.limit
	if more, ok := req.Context().Value(patienceKey{}).(time.Duration); ok {
		limit += more
	}
	ctx, w := watch(req.Context(), limit)
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{req.Body, w, false}
	}
	w.begin()
	resp, err := s.base.RoundTrip(req)
	w.end()
	if err != nil {
		err = w.verdict(err)
		w.stop()
		return nil, err
	}
	resp.Body = &watched{resp.Body, w, true}
	return resp, nil
}

// watched is a body one side of which is the network: the inner one for an
// answer's, the outer one for a request's.
type watched struct {
	io.ReadCloser
	w      *watchdog
	answer bool
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	if !b.answer {
		b.w.end()
		defer b.w.begin()
		return b.ReadCloser.Read(p)
	}
	b.w.begin()
	n, err := b.ReadCloser.Read(p)
	b.w.end()
	if err != nil && err != io.EOF {
		err = b.w.verdict(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *watched) Close() error {
	err := b.ReadCloser.Close()
	if b.answer {
		b.w.stop()
	}
	return err
}

// A watchdog cancels a request's context when it has waited for too long.
type watchdog struct {
	limit  time.Duration
	since  atomic.Int64 // when the present wait began, in nanoseconds after epoch; 0: none
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// epoch is what times are measured from, on the monotonic clock.
var epoch = time.Now()

// watch returns a context for a request and its watchdog, which must be
// stopped.
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
	left := w.limit
	if since := w.since.Load(); since != 0 {
		left -= time.Since(epoch) - time.Duration(since)
	}
	if left <= 0 {
		w.cancel(errStalled)
		return
	}
	w.timer.Reset(left)
}

func (w *watchdog) begin() { w.since.Store(int64(time.Since(epoch))) }
func (w *watchdog) end()   { w.since.Store(0) }

// stop ends the watch, and the request if it still runs.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// verdict returns err, or why the watchdog caused it.
func (w *watchdog) verdict(err error) error {
	if context.Cause(w.ctx) == errStalled {
		return fmt.Errorf("%w (%v)", errStalled, w.limit)
	}
	return err
}
