package s3store

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/netguard"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A job's URL leads an agent to no address where only the machine itself is to
// ask. The one here is odd and leads to this machine, so that a request would
// arrive.
func TestEndpointThatIsNobodys(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"0.0.0.0:" + port, "[::ffff:0.0.0.0]:" + port, "169.254.169.254", "[::ffff:a9fe:a9fe]"} {
		u := &url.URL{Scheme: "s3", Host: "bkt", RawQuery: "anonymous=true&use_path_style=true&endpoint=" + url.QueryEscape("http://"+host)}
		s, err := Open(t.Context(), u, storage.Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Stat(t.Context(), "key")
		var e *storage.Error
		if !errors.As(err, &e) || e.Fault != work.Invalid || e.Unreachable || !errors.Is(err, netguard.ErrRefused) {
			t.Errorf("%s: Stat = %v, want that nothing is connected to there", host, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests arrived", n)
	}
}
