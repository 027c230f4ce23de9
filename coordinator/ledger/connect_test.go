package ledger_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// A hole is a proxy to a Postgres that can stop passing on what the server
// says, while connections stay open and are made.
type hole struct {
	url    string
	silent atomic.Bool
}

// dig puts a hole before the server that url names.
func dig(t *testing.T, address string) *hole {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	server := filepath.Join(q.Get("host"), ".s.PGSQL.5432")
	dir, err := os.MkdirTemp("", "hole") // a test's own folder may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{}
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("unix", server)
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, client, upstream)
			mu.Unlock()
			open.Go(func() { io.Copy(upstream, client); upstream.Close() })
			open.Go(func() {
				h.pass(client, upstream)
				if !h.silent.Load() { // else the end is one more thing that does not get through
					client.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
		os.RemoveAll(dir)
	})
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	h.url = u.String()
	return h
}

// pass copies until one side closes, and swallows everything while silent.
func (h *hole) pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if h.silent.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestSilentServer: a Postgres that falls silent without closing anything
// makes no call wait for ever (lib/pq issue 620), and the ledger goes on when
// it speaks again.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(3)
	h := dig(t, b.url)
	l, err := ledger.Open(t.Context(), h.url, ledger.Options{Connections: 3, Timeout: time.Second})
	b.must(err)
	defer l.Close()
	b.must(l.Ping(t.Context()))

	h.silent.Store(true)
	calls := map[string]func() error{
		"Ping":  func() error { return l.Ping(t.Context()) },
		"Claim": func() error { _, err := l.Claim(t.Context(), work.DefaultSite, 1); return err },
		"Record": func() error {
			_, err := l.Record(t.Context(), []work.Result{{Job: 1, Item: 1}}, decide)
			return err
		},
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			failed := make(chan error, 1)
			go func() { failed <- call() }()
			select {
			case err := <-failed:
				if err == nil {
					t.Errorf("%s succeeded on a silent server", name)
				}
				if why, _ := ledger.Away(err); why != "does not answer in time" {
					t.Errorf("Away of %s on a silent server: %q, of %v", name, why, err)
				}
			case <-time.After(time.Minute): // several times what it may take
				t.Errorf("%s still waits for a silent server", name)
			}
		})
	}
	wg.Wait()

	h.silent.Store(false)
	b.must(l.Ping(t.Context()))
	// The claim was lost on the way to us or was never made; nothing else was.
	items, err := l.Claim(t.Context(), work.DefaultSite, 3)
	b.must(err)
	if len(items) < 2 {
		t.Errorf("claimed %d items after the silence, want 2 or 3", len(items))
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"nobody there": "postgres:///x?host=" + url.QueryEscape(t.TempDir()) + "&user=tranship&sslmode=disable",
		"no address":   "postgres://%zz",
	} {
		if _, err := ledger.Open(t.Context(), address, ledger.Options{}); err == nil {
			t.Errorf("%s: Open succeeded", name)
		}
		if _, err := ledger.Migrate(t.Context(), address); err == nil {
			t.Errorf("%s: Migrate succeeded", name)
		}
		if _, _, err := ledger.MigrateStatus(t.Context(), address); err == nil {
			t.Errorf("%s: MigrateStatus succeeded", name)
		}
	}
}

// TestClosed: a ledger that is closed says so.
func TestClosed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // it is still to answer
	b.must(b.Close())
	if err := b.Ping(t.Context()); err == nil || errors.Is(err, work.ErrNoJob) {
		t.Errorf("Ping of a closed ledger = %v", err)
	}
}
