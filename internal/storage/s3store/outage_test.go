package s3store

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// TestNobodyAnswers asks a service that is gone.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := openURL(t, "s3://bucket?use_path_style=true&anonymous=true&region=r&endpoint="+url.QueryEscape(gone.URL))
	_, stat := s.Stat(t.Context(), "key")
	_, _, get := s.Get(t.Context(), "key", "", 0, -1)
	_, probe := s.Probe(t.Context(), false)
	for what, err := range map[string]error{"Stat": stat, "Get": get, "Probe": probe, "List": s.List(t.Context(), work.Range{}, nil)} {
		wantFault(t, what, err, work.Transient)
		var e *storage.Error
		if !errors.As(err, &e) || !e.Unreachable || e.Hint == "" {
			t.Errorf("%s = %+v, want that nobody answers, and a hint", what, e)
		}
	}
	// That a body's source is away says nothing of this store.
	s = liar(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	away := &storage.Error{Op: "get", Fault: work.Transient, Unreachable: true, Err: errors.New("gone")}
	_, err := s.Put(t.Context(), "key", iotest.ErrReader(away), 5, storage.PutOptions{})
	wantFault(t, "Put", err, work.Transient)
	var e *storage.Error
	if errors.As(err, &e) && e.Unreachable {
		t.Errorf("Put = %+v, want no word of this store", e)
	}
}

// TestStalledIsNotRepeated asks a server that does not answer: it has had its
// time.
func TestStalledIsNotRepeated(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	var calls atomic.Int32
	s := liar(t, func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		select {
		case <-block:
		case <-r.Context().Done():
		}
	})
	s.client.stall = 50 * time.Millisecond
	wantFault(t, "List", s.List(t.Context(), work.Range{}, nil), work.Transient)
	if n := calls.Load(); n != 1 {
		t.Errorf("the server was asked %d times, want once", n)
	}
}

// TestThrottledListing asks a server to list that will not: once more is worth
// it, and then it is left alone.
func TestThrottledListing(t *testing.T) {
	t.Parallel()
	for after, want := range map[string]int32{"": knocks, "1": knocks, "30": 1} {
		var calls atomic.Int32
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			w.Header().Set("Retry-After", after)
			refuseWith(w, http.StatusServiceUnavailable, "SlowDown")
		})
		err := s.List(t.Context(), work.Range{}, nil)
		wantFault(t, "List", err, work.Throttled)
		if n := calls.Load(); n != want {
			t.Errorf("Retry-After %q: the server was asked %d times, want %d", after, n, want)
		}
	}
}
