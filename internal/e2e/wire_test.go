package e2e

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A wire passes connections on to a server. It counts what clients send, can
// let no more than so many bytes a second of it through, and can be cut.
type wire struct {
	address  string // host:port
	endpoint string // the same as a URL
	sent     atomic.Int64

	mu      sync.Mutex
	perByte time.Duration
	free    time.Time // when the next bytes may pass

	whole sync.RWMutex // held for writing while the wire is cut
	cuts  atomic.Bool
}

// newWire lays a wire to a server, given as host:port or as a URL. It passes
// any number of bytes if bytesPerSecond is 0.
func newWire(t testing.TB, server string, bytesPerSecond int) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: l.Addr().String(), endpoint: "http://" + l.Addr().String()}
	if bytesPerSecond > 0 {
		w.perByte = time.Second / time.Duration(bytesPerSecond)
	}
	t.Cleanup(func() {
		l.Close()
		w.mend()
	})
	if _, rest, ok := strings.Cut(server, "://"); ok {
		server = rest
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.pass(conn, server)
		}
	}()
	return w
}

// cut makes the wire a black hole: connections stay, new ones are taken, and
// nothing passes in either direction. What was on its way arrives after mend.
func (w *wire) cut() {
	if !w.cuts.Swap(true) {
		w.whole.Lock()
	}
}

func (w *wire) mend() {
	if w.cuts.Swap(false) {
		w.whole.Unlock()
	}
}

func (w *wire) pass(client net.Conn, address string) {
	defer client.Close()
	w.whole.RLock()
	server, err := net.Dial("tcp", address)
	w.whole.RUnlock()
	if err != nil {
		return // the client sees a closed connection
	}
	defer server.Close()
	go func() {
		w.relay(client, server, func(int) {}) // whichever end closes first ends both
		client.Close()
	}()
	w.relay(server, client, func(n int) {
		w.wait(n)
		w.sent.Add(int64(n))
	})
}

// relay carries bytes until either end closes, calling before each time.
func (w *wire) relay(to, from net.Conn, before func(n int)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			before(n)
			w.whole.RLock()
			_, werr := to.Write(buf[:n])
			w.whole.RUnlock()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// unlimited lets everything through at once from now on.
func (w *wire) unlimited() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.perByte = 0
}

// wait lets n bytes have their turn.
func (w *wire) wait(n int) {
	w.mu.Lock()
	if now := time.Now(); w.free.Before(now) {
		w.free = now
	}
	turn := w.free
	w.free = w.free.Add(time.Duration(n) * w.perByte)
	w.mu.Unlock()
	time.Sleep(time.Until(turn))
}
