package cli

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// TestPin: the first contact is safe without a file: by the pin that the
// invitation has of the server's key, and by nothing else.
func TestPin(t *testing.T) {
	t.Parallel()
	real, other := httptest.NewUnstartedServer(versionHandler), httptest.NewUnstartedServer(versionHandler)
	real.StartTLS()
	other.StartTLS()
	defer real.Close()
	defer other.Close()
	pin := pinOf(real.Certificate())
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: real.Certificate().Raw}))
	wrong := pinPrefix + strings.Repeat("0", 64)
	tests := []struct {
		name, server, pin, ca string
		want                  bool
	}{
		{"the pin", real.URL, pin, "", true},
		{"another server's pin", real.URL, wrong, "", false},
		{"nothing", real.URL, "", "", false},
		{"the authority", real.URL, "", ca, true},
		{"the authority, after the key was changed", real.URL, wrong, ca, true},
		{"the authority, under a name that it does not vouch for", strings.Replace(real.URL, "127.0.0.1", "localhost", 1), "", ca, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := trusting(tt.server, tt.pin, tt.ca)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Version(t.Context())
			if (err == nil) != tt.want {
				t.Errorf("trusting: %v", err)
			}
			if tt.pin == wrong && tt.ca == "" && !errors.Is(err, errPin) {
				t.Errorf("a wrong pin is told as %v", err)
			}
		})
	}
	if _, err := trusting("http://hub.example.org", pin, ""); status(err) != ExitUsage {
		t.Errorf("a server that others can listen to: %v", err)
	}
}

var versionHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{}`))
})

// TestWrongPinSendsNothing: to a server that is not the one which was meant, the
// token is never shown.
func TestWrongPinSendsNothing(t *testing.T) {
	t.Parallel()
	asked := false
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	srv.StartTLS()
	defer srv.Close()
	w := newWorld(t)
	w.wantStatus(t, ExitDenied, "fleet", "join", "--server", srv.URL, "--token", work.NewSecret(work.SecretInvite),
		"--pin", pinPrefix+strings.Repeat("0", 64), "--data", t.TempDir())
	if got := w.stderr.String(); !strings.Contains(got, "another server answers there") || asked {
		t.Errorf("asked %v, and the error is %s", asked, got)
	}
}

// TestJoinWords: what is wrong is said before anything is written.
func TestJoinWords(t *testing.T) {
	t.Parallel()
	token := work.NewSecret(work.SecretInvite)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no token", []string{"--server", "https://hub"}, "--server and --token are needed"},
		{"token cut", []string{"--server", "https://hub", "--token", token[:40]}, "the token is not whole"},
		{"pin cut", []string{"--server", "https://hub", "--token", token, "--pin", "sha256:00"}, "64 hex digits"},
		{"bad name", []string{"--server", "https://hub", "--token", token, "--name", "a b"}, "a name is 1 to 40"},
		{"own name", []string{"--server", "https://hub", "--token", token, "--name", "coordinator"}, "another part of the fleet"},
		{"clear", []string{"--server", "http://hub", "--token", token}, "not encrypted"},
		{"no URL", []string{"--server", "hub", "--token", token}, "is not the URL of a coordinator"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, dir := newWorld(t), t.TempDir()
			w.wantStatus(t, ExitUsage, append([]string{"fleet", "join", "--data", dir}, tt.args...)...)
			if got := w.stderr.String(); !strings.Contains(got, tt.want) || strings.Contains(got, token) {
				t.Errorf("the error is %s", got)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
				t.Errorf("it left %v, %v", files, err)
			}
		})
	}
}

// TestIdentityAndConfig: a configuration that says something else than the
// identity is a mistake of one of them, and not taken for either.
func TestIdentityAndConfig(t *testing.T) {
	t.Parallel()
	id := identity{Agent: "west-1", Welcome: work.Welcome{Agent: "west-1", Site: "west", JWT: "j"}}
	tests := []struct {
		name, site string
		want       bool
	}{
		{"", work.DefaultSite, true}, {"west-1", "west", true}, {"west-2", "west", false}, {"west-1", "east", false},
	}
	for _, tt := range tests {
		got, err := id.named(config.Agent{Name: tt.name, Site: tt.site}, "f")
		if (err == nil) != tt.want || tt.want && (got.Name != "west-1" || got.Site != "west") {
			t.Errorf("named %q at %q = %+v, %v", tt.name, tt.site, got, err)
		}
	}
}

// TestIdentityFile: nobody else may read it, and half of one is none.
func TestIdentityFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if _, found, err := readIdentity(dir); found || err != nil {
		t.Errorf("readIdentity without one: %v, %v", found, err)
	}
	want := identity{Agent: "a", Key: "U", Seed: "S", Server: "https://hub"}.with(work.Welcome{Agent: "a", Site: "s", CA: "PEM", JWT: "j", Expires: time.Now().Add(time.Hour).UTC()}, time.Now())
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	got, found, err := readIdentity(dir)
	if err != nil || !found || got != want {
		t.Errorf("readIdentity = %+v, %v, %v, want %+v", got, found, err, want)
	}
	for _, name := range []string{identityFile, natsCAFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"agent": "a`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readIdentity(dir); status(err) != ExitFailed {
		t.Errorf("readIdentity of half a file: %v", err)
	}
}

// TestDirections: agents are told addresses that they can use, or that they
// cannot.
func TestDirections(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(versionHandler) // for its certificate
	defer srv.Close()
	cert := filepath.Join(tree(t, map[string]string{"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))}), "cert.pem")
	cfg := config.Default()
	cfg.HTTP.URL = "https://hub.example.org/"
	cfg.HTTP.TLS = config.TLS{Certificate: cert, CA: cert}
	cfg.NATS.URL = config.NewSecret("tls://ada:hunter2@n1:4222, tls://ada:hunter2@n2:4222")
	h := &hub{cfg: cfg}
	d, err := h.directions()
	if err != nil {
		t.Fatal(err)
	}
	if d.Server != "https://hub.example.org" || d.NATS != "tls://n1:4222,tls://n2:4222" || d.Domain != "hub" || len(d.Notes) > 0 {
		t.Errorf("directions = %+v", d)
	}
	if d.Pin != pinOf(srv.Certificate()) || !x509.NewCertPool().AppendCertsFromPEM([]byte(d.ServerCA)) || d.CA != "" {
		t.Errorf("directions = %+v: want the pin of a certificate that nobody knows, and its authority", d)
	}
	h.cfg.HTTP.URL, h.cfg.NATS.Advertise = "https://127.0.0.1:8480", "tls://0.0.0.0:4222"
	if d, err = h.directions(); err != nil || d.NATS != "tls://0.0.0.0:4222" || len(d.Notes) != 2 {
		t.Errorf("directions = %+v, %v, want notes on two addresses that are no use elsewhere", d, err)
	}
	i := api.Invited{Server: "https://hub", Token: "tsj_x", Pin: "sha256:00"}
	if got, want := shellQuote(i.Command()...), "tranship fleet join --server https://hub --token tsj_x --pin sha256:00"; got != want {
		t.Errorf("the command is %s, want %s", got, want)
	}
}

// TestFleetCommands: an operator's day.
func TestFleetCommands(t *testing.T) {
	t.Parallel()
	h := newHost(t, time.Hour)
	run := func(want int, args ...string) *world {
		t.Helper()
		w := newWorld(t)
		w.env[serverVariable] = h.server.URL
		w.wantStatus(t, want, append([]string{"fleet"}, args...)...)
		return w
	}
	says := func(w *world, want string) {
		t.Helper()
		if got := w.stdout.String() + w.stderr.String(); !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	dry := run(ExitOK, "invite", "--site", "west", "--dry-run")
	says(dry, "would invite an agent to west")
	if dry.stdout.String() != "" {
		t.Errorf("a dry run writes %q", dry.stdout.String())
	}
	run(ExitUsage, "invite", "--site", "any")
	run(ExitUsage, "invite", "--site", "west", "--expires", "169h")
	says(run(ExitOK, "invite", "--site", "west"), "tranship fleet join --server "+h.server.URL+" --token tsj_")
	says(run(ExitOK, "invite", "--site", "west"), "if another agent runs there, add --name and --data")
	says(run(ExitOK, "invites"), "1\twest\t")
	says(run(ExitOK, "uninvite", "1", "--dry-run"), "would take back invitation 1")
	run(ExitOK, "uninvite", "1")
	run(ExitFailed, "uninvite", "1")

	dir := h.join(t, "west-1")
	h.join(t, "west-2")
	run(ExitFailed, "join", "--server", h.server.URL, "--token", work.NewSecret(work.SecretInvite), "--data", dir) // it is one already
	says(run(ExitOK, "ls", "--site", "west"), "west-1\twest\tnever seen\t")
	if got := run(ExitOK, "ls", "--site", "east").stdout.String(); strings.Contains(got, "west") {
		t.Errorf("agents of the east: %s", got)
	}
	says(run(ExitOK, "show", "west-1", "-o", "table"), "joined  ")
	says(run(ExitFailed, "drain", "west/west-1"), "no agent west-1 answers at west")
	says(run(ExitFailed, "revoke", "west/nobody"), "no agent is called")
	says(run(ExitUsage, "revoke", "west/west-1"), "--yes")
	says(run(ExitOK, "revoke", "west/west-1", "--dry-run"), "would revoke agent west/west-1")
	says(run(ExitOK, "show", "west-1", "-o", "table"), "never seen")
	says(run(ExitOK, "revoke", "west/west-1", "--yes"), "agent west/west-1 is revoked")
	if got := run(ExitOK, "ls").stdout.String(); strings.Contains(got, "west-1") || !strings.Contains(got, "west-2") {
		t.Errorf("the fleet is %s", got)
	}
}
