package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestFaults sends one request by way of each fault.
func TestFaults(t *testing.T) {
	t.Parallel()
	const size = 100_000
	var stored atomic.Int64
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		stored.Store(n)
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	t.Cleanup(behind.Close)
	for _, tt := range []struct {
		name   string
		fault  Fault
		status int
		read   int  // bytes of the answer
		broken bool // it ends in an error
		stored bool
	}{
		{"none", Share(0, CutAnswer(0)), 200, size, false, true},
		{"late", Late(time.Millisecond), 200, size, false, true},
		{"refuse", Refuse(503, 7), 503, 0, false, false},
		{"cut answer", CutAnswer(1000), 200, 1000, true, true},
		{"stall answer", StallAnswer(1000), 200, 1000, true, true},
		{"drip answer", DripAnswer(1, time.Hour), 200, 1, true, true},
		{"cut body", CutBody(1000), 0, 0, true, false},
		{"stall body", StallBody(1000), 0, 0, true, false},
		{"swallow", Swallow, 0, 0, true, true},
		{"rewrite", Rewrite(func(_ *http.Request, b []byte) []byte { return b[:7] }), 200, 7, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored.Store(-1)
			p := New(t, behind.URL)
			p.Set(Rule{Fault: First(1, tt.fault)})
			client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			send := func() (status, n int, err error) {
				resp, err := client.Post(p.Endpoint+"/a", "a/b", strings.NewReader(strings.Repeat("y", size)))
				if err != nil {
					return 0, 0, err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				return resp.StatusCode, len(b), err
			}
			status, n, err := send()
			if status != tt.status || n != tt.read || (err != nil) != tt.broken || (stored.Load() == size) != tt.stored {
				t.Errorf("status %d, %d bytes, %v, stored %d; want %d, %d, broken %v, stored %v",
					status, n, err, stored.Load(), tt.status, tt.read, tt.broken, tt.stored)
			}
			client.Timeout = time.Minute
			if status, n, err = send(); status != 200 || n != size || err != nil {
				t.Errorf("the second request: status %d, %d bytes, %v", status, n, err)
			}
			if p.Requests() != 2 {
				t.Errorf("%d requests counted, want 2", p.Requests())
			}
		})
	}
}

// TestAway goes away and comes back.
func TestAway(t *testing.T) {
	t.Parallel()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	t.Cleanup(behind.Close)
	p := New(t, behind.URL)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Get(p.Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		p.Away()
		if resp, err = client.Get(p.Endpoint); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				resp.Body.Close()
			}
			t.Errorf("Get = %v while it is away, want %v", err, syscall.ECONNREFUSED)
		}
		p.Back(t)
	}
}
