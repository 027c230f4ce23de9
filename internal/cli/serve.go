package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/tranship/tranship/coordinator/web"
)

// serve answers HTTP requests on l until ctx ends; those under way then have a
// moment to end. Without a certificate there is no TLS.
func serve(ctx context.Context, l net.Listener, h http.Handler, cert *certificate, log *slog.Logger) error {
	srv := web.Server(h)
	answer := srv.Serve
	if cert != nil {
		srv.TLSConfig = cert.config()
		answer = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	srv.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		if err := srv.Shutdown(short); err != nil {
			_ = srv.Close() // ends what did not end in time
		}
	})
	if err := answer(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}
