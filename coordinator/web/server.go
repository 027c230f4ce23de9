package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of a connection. A live stream moves its own deadlines on.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
)

// stoppingKey is where a request's context holds the channel that is closed
// when its server begins to stop.
type stoppingKey struct{}

// Server returns a server for the handler with limits against slow and greedy
// clients. When it is shut down, live streams end at once; everything else may
// finish.
func Server(addr string, h http.Handler) *http.Server {
	stopping := make(chan struct{})
	srv := &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stoppingKey{}, stopping)
		},
	}
	srv.RegisterOnShutdown(sync.OnceFunc(func() { close(stopping) }))
	return srv
}

// stopping returns the channel that is closed when the request's server begins
// to stop; nil, which is never closed, for a server that Server did not make.
func stopping(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(stoppingKey{}).(chan struct{})
	return ch
}

// ErrPublic means that an address can be reached from other machines.
var ErrPublic = errors.New("the API has no TLS and no login of its own, so it listens on loopback only")

// CheckListen reports why the server must not listen on addr, or nil if it
// may. Whoever can reach the API can start and cancel jobs, so it must be
// loopback; from outside it is reached through an SSH tunnel or a proxy that
// has TLS and asks who is there.
func CheckListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen on %q: write host:port, such as 127.0.0.1:8480", addr)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen on %q: %w; use 127.0.0.1:%s and reach it by `ssh -L %s:127.0.0.1:%s HOST` or by a proxy with TLS and a login",
		addr, ErrPublic, port, port, port)
}
