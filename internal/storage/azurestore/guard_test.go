package azurestore

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
// ask. The ones here are odd and lead to this machine, where a request would
// arrive; a proxy of the environment would connect in our place.
func TestEndpointThatIsNobodys(t *testing.T) {
	t.Parallel()
	if p, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "http", Host: "0.0.0.0"}}); p != nil || err != nil {
		t.Skip("a proxy is set in the environment: it is what connects")
	}
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"0.0.0.0:" + port, "[::ffff:0.0.0.0]:" + port} {
		u := &url.URL{Scheme: "azblob", Host: "box", RawQuery: "storage_account=home&protocol=http&localemu=true&domain=" + url.QueryEscape(host)}
		s, err := Open(t.Context(), u, storage.NewCredentials(map[string]string{"account_key": someKey}))
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
