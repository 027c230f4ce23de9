package s3store

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
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

// What the endpoint may not be, the AWS configuration still asks for the
// machine's credentials.
func TestMachineCredentialsPassTheGuard(t *testing.T) {
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "3600")
			fmt.Fprint(w, "token")
		case "/latest/meta-data/iam/security-credentials/":
			fmt.Fprint(w, "role")
		default:
			fmt.Fprint(w, `{"Code":"Success","AccessKeyId":"MACHINE","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`)
		}
	}))
	t.Cleanup(machine.Close)
	_, port, err := net.SplitHostPort(machine.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://0.0.0.0:"+port)
	s := openURL(t, "s3://bkt?region=machine-1&endpoint=http://127.0.0.1:1")
	p, err := s.client.provider(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := p.Retrieve(t.Context()); err != nil || c.AccessKeyID != "MACHINE" {
		t.Errorf("the credentials are %q, %v, want those of the machine", c.AccessKeyID, err)
	}
}
