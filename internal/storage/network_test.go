package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// TestNoAnswer asks services that are not there in various ways, and some
// that are.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connections are made, and never served
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	stranger := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is its own
	t.Cleanup(stranger.Close)
	rude := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(rude.Close)

	for _, tt := range []struct {
		name, url string
		proxy     string
		want      bool
	}{
		{"nobody listens", gone.URL, "", true},
		{"no such name", "http://no-such-name.invalid/", "", true},
		{"no handshake", "https://" + silent.Addr().String(), "", true},
		{"another's certificate", stranger.URL, "", true},
		{"the proxy is gone", "http://somewhere.invalid/", gone.URL, true},
		{"broken off", rude.URL, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			transport := &http.Transport{TLSHandshakeTimeout: 100 * time.Millisecond}
			if tt.proxy != "" {
				transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(tt.proxy) }
			}
			t.Cleanup(transport.CloseIdleConnections)
			resp, err := (&http.Client{Transport: transport}).Get(tt.url)
			if err == nil {
				resp.Body.Close()
				t.Fatal("somebody answered")
			}
			if got := NoAnswer(fmt.Errorf("ask: %w", err)); got != tt.want {
				t.Errorf("NoAnswer(%v) = %v, want %v", err, got, tt.want)
			}
		})
	}
	t.Run("the caller has gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := (&net.Dialer{}).DialContext(ctx, "tcp", silent.Addr().String())
		if err == nil || NoAnswer(err) {
			t.Errorf("NoAnswer(%v) = true, want false", err)
		}
	})
	if NoAnswer(nil) || NoAnswer(errors.New("no answer")) {
		t.Error("NoAnswer of what is no network's error = true, want false")
	}
}
