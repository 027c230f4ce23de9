// Package proxy stands between the product and a server in tests, and does to
// their traffic what networks and overloaded servers do: it refuses requests,
// stalls or cuts bodies on their way, loses answers, changes them, and goes
// away and comes back.
//
// A Proxy passes everything on unless one of its rules says otherwise. It is
// safe for concurrent use.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Proxy passes requests on to a server.
type Proxy struct {
	Endpoint string // http://127.0.0.1:port

	address  string
	requests atomic.Int64
	ended    chan struct{} // closed when the test ends
	onward   http.Handler

	mu     sync.Mutex
	rules  []Rule
	server *http.Server // nil: nobody listens
}

// A Rule says what is done with the requests that it is for.
type Rule struct {
	For   func(*http.Request) bool // nil: all
	Fault Fault
}

// New returns a proxy of the server at an endpoint. It listens until the test
// ends.
func New(tb testing.TB, endpoint string) *Proxy {
	tb.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{ended: make(chan struct{})}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	p.onward = &httputil.ReverseProxy{
		// The host stays, for it is signed.
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host },
		Transport: transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler)
		},
	}
	reserved, err := p.reserve()
	if err != nil {
		tb.Fatalf("reserve an address: %v", err)
	}
	p.Endpoint = "http://" + p.address
	p.Back(tb)
	tb.Cleanup(func() {
		close(p.ended)
		p.Away()
		transport.CloseIdleConnections()
		_ = unix.Close(reserved)
	})
	return p
}

// reserve finds an address and keeps it from everybody else: a socket that is
// bound to it and does not listen.
func (p *Proxy) reserve() (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err2 := unix.Getsockname(fd)
	if err = errors.Join(err, err2); err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	p.address = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	return fd, nil
}

// Back lets the proxy listen again.
func (p *Proxy) Back(tb testing.TB) {
	tb.Helper()
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	l, err := share.Listen(context.Background(), "tcp", p.address)
	if err != nil {
		tb.Fatalf("listen again: %v", err)
	}
	server := &http.Server{Handler: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
	go func() { _ = server.Serve(l) }() // it ends when it is closed
}

// Away breaks all connections and refuses new ones.
func (p *Proxy) Away() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		_ = p.server.Close()
		p.server = nil
	}
}

// Set replaces the rules. The first that is for a request decides.
func (p *Proxy) Set(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
}

// Requests returns how many requests came so far.
func (p *Proxy) Requests() int64 { return p.requests.Load() }

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() { // a handler that waits would not notice the end of the test
		select {
		case <-p.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	r = r.WithContext(ctx)
	p.mu.Lock()
	rules := p.rules
	p.mu.Unlock()
	for _, rule := range rules {
		if rule.For == nil || rule.For(r) {
			rule.Fault(w, r, p.onward)
			return
		}
	}
	p.onward.ServeHTTP(w, r)
}
