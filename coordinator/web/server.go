package web

import (
	"context"
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
func Server(h http.Handler) *http.Server {
	stopping := make(chan struct{})
	srv := &http.Server{
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
