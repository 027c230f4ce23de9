package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/pgserver"
	"github.com/tranship/tranship/internal/work"
)

// closedWorld is a world in which tokens are asked for.
func closedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t).withDatabase(t)
	delete(w.env, "TRANSHIP_HTTP_OPEN")
	w.env["TRANSHIP_HTTP_LISTEN"] = freeAddress(t)
	w.env["TRANSHIP_NATS_LISTEN"] = "127.0.0.1:0"
	return w
}

// running runs up until the test ends and returns what it printed, by its first
// words, once it is there.
func (w *world) running(t *testing.T) map[string]string {
	t.Helper()
	up := &world{env: w.env}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- up.run(ctx, "up") }()
	t.Cleanup(func() {
		stop()
		if got := <-done; got != ExitOK {
			t.Errorf("up ended with %d\n%s", got, up.stderr.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); !strings.Contains(up.stdout.String(), "\ndata"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("up does not come up\n%s", up.stderr.String())
		}
	}
	lines := map[string]string{}
	for line := range strings.Lines(up.stdout.String()) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		lines[word] = strings.TrimSpace(rest)
	}
	return lines
}

// From the first start on nobody gets in without a token; the first one is in
// the data folder, a link signs a browser in, and tokens come and go.
func TestTokensOnTheCommandLine(t *testing.T) {
	t.Parallel()
	w := closedWorld(t)
	said := w.running(t)
	file := filepath.Join(said["data"], tokenFile)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the first token: %v, %v", info, err)
	}
	base := "http://" + w.env["TRANSHIP_HTTP_LISTEN"]
	if want := "tranship copy --server " + base; !strings.HasPrefix(said["job"], want) {
		t.Errorf("the job line is %q, want it to begin with %q", said["job"], want)
	}
	w.wantStatus(t, ExitOK, "job", "ls") // the data folder says where, and has the token
	w.env[serverVariable] = base
	w.wantStatus(t, ExitOK, "job", "ls")
	w.env["XDG_STATE_HOME"] = t.TempDir() // another user's
	w.wantStatus(t, ExitDenied, "job", "ls")
	if text := w.stderr.String(); !strings.Contains(text, "token") || !strings.Contains(text, "TRANSHIP_TOKEN") {
		t.Errorf("without a token it says\n%s", text)
	}
	w.env[tokenFileVariable] = file
	secret := w.line(t, "token", "create", "grafana")
	if !work.IsSecret(work.SecretToken, secret) {
		t.Errorf("token create prints %q", secret)
	}
	w.env[tokenVariable] = secret // before the file
	w.wantStatus(t, ExitOK, "job", "ls")
	w.wantStatus(t, ExitDenied, "token", "ls")
	if text := w.stderr.String(); !strings.Contains(text, "admin; grafana may read") {
		t.Errorf("with too small a scope it says\n%s", text)
	}
	link := w.line(t, "open")
	delete(w.env, tokenVariable)
	for _, link := range []string{said["page"], link} {
		signsIn(t, base, link)
	}
	w.wantStatus(t, ExitOK, "token", "revoke", "grafana")
	w.wantStatus(t, ExitUsage, "token", "revoke", "grafanna")
	w.wantStatus(t, ExitUsage, "token", "create", "x", "--expires", "soon")
	w.env[tokenVariable] = secret
	w.wantStatus(t, ExitDenied, "job", "ls")
	w.env[tokenVariable] = secret[:20]
	w.wantStatus(t, ExitUsage, "job", "ls")
}

// line returns the one line that a command prints.
func (w *world) line(t *testing.T, args ...string) string {
	t.Helper()
	one := &world{env: w.env}
	one.wantStatus(t, ExitOK, args...)
	return strings.TrimSuffix(one.stdout.String(), "\n")
}

// signsIn presses the button of a sign-in link and looks at the page.
func signsIn(t *testing.T, base, link string) {
	t.Helper()
	code, ok := strings.CutPrefix(link, base+"/login?code=")
	if !ok || !work.IsSecret(work.SecretCode, code) {
		t.Errorf("%q is no link that signs in", link)
	}
	once := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := once.PostForm(base+"/login", url.Values{"code": {code}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Errorf("%s answered %s", link, resp.Status)
	}
}

// The first token is made once, replaced if its file is lost while the ledger is
// this process's own, and not if it was revoked: then there are others.
func TestFirstToken(t *testing.T) {
	t.Parallel()
	h := &hub{cfg: config.Default(), log: slog.New(slog.DiscardHandler), ledger: ledgertest.New(t)}
	h.cfg.Data = t.TempDir()
	start := func() (secret string, let work.Caller) {
		t.Helper()
		if err := h.ensureToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		secret, err := readSecret(h.tokenFile())
		if err != nil {
			return "", let
		}
		let, err = h.ledger.Authenticate(t.Context(), work.HashSecret(secret))
		if err != nil && !errors.Is(err, work.ErrNoToken) {
			t.Fatal(err)
		}
		return secret, let
	}
	first, c := start()
	if c.Name != "bootstrap" || c.Scope != work.ScopeAdmin {
		t.Fatalf("the first token is that of %+v", c)
	}
	if again, _ := start(); again != first {
		t.Error("a second start made another")
	}
	if err := os.Remove(h.tokenFile()); err != nil {
		t.Fatal(err)
	}
	if other, _ := start(); other != "" {
		t.Error("a coordinator beside the one that made the token made another")
	}
	h.postgres = new(pgserver.Server) // nobody else uses it
	second, c := start()
	if second == first || c.Name != "bootstrap" {
		t.Errorf("the lost token was replaced by that of %+v", c)
	}
	if _, err := h.ledger.Authenticate(t.Context(), work.HashSecret(first)); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("the lost token still lets in: %v", err)
	}
	admin := work.Token{Name: "ada", Scope: work.ScopeAdmin}
	if _, err := h.ledger.CreateToken(t.Context(), admin, work.HashSecret("ada's"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ledger.RevokeToken(t.Context(), c.Token, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.tokenFile()); err != nil {
		t.Fatal(err)
	}
	if third, _ := start(); third != "" {
		t.Error("a token that was revoked came back")
	}
}

// A secret's file is its owner's alone, and replaced whole.
func TestSecretFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, tokenFile)
	if err := writeSecret(path, "one"); err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(path, "two"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	secret, rerr := readSecret(path)
	entries, derr := os.ReadDir(dir)
	if err != nil || rerr != nil || derr != nil || info.Mode().Perm() != 0o600 || secret != "two" || len(entries) != 1 {
		t.Errorf("the file is %v, holds %q, beside %v: %v %v %v", info.Mode(), secret, entries, err, rerr, derr)
	}
}

// A token goes to a server on this machine or by TLS, nowhere else; that of the
// data folder goes only to the address that stands beside it, while somebody
// runs there.
func TestTokenGoesWhereItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := work.NewSecret(work.SecretToken)
	folder := filepath.Join(w.env["XDG_STATE_HOME"], "tranship")
	p := &program{lookup: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok }}
	token := func(base string) (string, error) {
		t.Helper()
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		return p.token(u, "")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(filepath.Join(folder, tokenFile), secret); err != nil {
		t.Fatal(err)
	}
	const there = "http://127.0.0.1:9000"
	if err := writeSecret(filepath.Join(folder, addressFile), there); err != nil {
		t.Fatal(err)
	}
	if got, err := token(there); got != "" || err != nil {
		t.Errorf("nobody runs here, and %q is shown, %v", got, err)
	}
	release, err := lockData(folder, "up")
	if err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{there: secret, there + "/": secret, defaultServer: "", "http://127.0.0.1:9001": "",
		"http://localhost:9000": "", "https://127.0.0.1:9000": "", "http://192.0.2.7:9000": ""} {
		if got, err := token(base); got != want || err != nil {
			t.Errorf("to %s goes %q, %v; want %q", base, got, err, want)
		}
	}
	release()
	w.env[tokenVariable] = secret
	for _, base := range []string{"https://tranship.example.org", "http://[::1]:8480", "http://localhost:9"} {
		if got, err := token(base); got != secret || err != nil {
			t.Errorf("to %s goes %q, %v", base, got, err)
		}
	}
	for _, base := range []string{"http://tranship.example.org", "http://192.0.2.7:8480", "http://localhost.example.org"} {
		if got, err := token(base); got != "" || status(err) != ExitUsage || !strings.Contains(err.Error(), "in the clear") || strings.Contains(err.Error(), secret) {
			t.Errorf("to %s goes %q, %v", base, got, err)
		}
	}
}

// An authority signs the certificates of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key, cert: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}}
	return a
}

// pem returns the authority's own certificate.
func (a authority) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue writes a certificate for this machine and its key.
func (a authority) issue(t *testing.T, serial int64, files config.TLS) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

// The API is served by TLS, the command line trusts whom TRANSHIP_CA names, and
// a certificate that is replaced is shown without a restart; one that is broken
// is not.
func TestTLS(t *testing.T) {
	t.Parallel()
	w := closedWorld(t)
	dir := t.TempDir()
	a := newAuthority(t)
	files := config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	a.issue(t, 7, files)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, a.pem(t), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env[config.FileVariable] = filepath.Join(tree(t, map[string]string{"tranship.yaml": "http: {tls: {certificate: " + files.Certificate +
		", key: " + files.Key + "}}\n"}), "tranship.yaml")
	said := w.running(t)
	address := w.env["TRANSHIP_HTTP_LISTEN"]
	if !strings.HasPrefix(said["page"], "https://"+address+"/login?code=") {
		t.Errorf("the page is at %q", said["page"])
	}
	w.env[serverVariable], w.env[tokenFileVariable] = "https://"+address, filepath.Join(said["data"], tokenFile)
	w.wantStatus(t, ExitUnreachable, "job", "ls")
	w.env[caVariable] = ca
	w.wantStatus(t, ExitOK, "job", "ls")
	wantSerial(t, address, 7)
	a.issue(t, 8, files)
	wantSerial(t, address, 8)
	if err := os.WriteFile(files.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantSerial(t, address, 8)
	a.issue(t, 9, files)
	wantSerial(t, address, 9)
	old, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 is spoken")
	}
	w.env[caVariable] = files.Key + "x"
	w.wantStatus(t, ExitUsage, "job", "ls")
}

// wantSerial checks which certificate a server shows.
func wantSerial(t *testing.T, address string, want int64) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != want {
		t.Errorf("the server shows certificate %d, want %d", got, want)
	}
}

// What is wrong with the files is said when it begins, once.
func TestCertificateTroubleIsSaidOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := config.TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := openCertificate(files, logger); err == nil {
		t.Error("files that are not there make a certificate")
	}
	newAuthority(t).issue(t, 1, files)
	c, err := openCertificate(files, logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		held, err := c.get(&tls.ClientHelloInfo{})
		if err != nil || held == nil {
			t.Fatalf("without its key the server shows %v, %v", held, err)
		}
	}
	if n := strings.Count(log.String(), "not renewed"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// A redirect takes no token along.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caught := make(chan string, 1)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	thief := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { caught <- r.Header.Get("Authorization") })}
	go func() { _ = thief.Serve(other) }()
	t.Cleanup(func() { thief.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://"+other.Addr().String()+"/", http.StatusTemporaryRedirect)
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	w.env[serverVariable], w.env[tokenVariable] = "http://"+l.Addr().String(), work.NewSecret(work.SecretToken)
	w.wantStatus(t, ExitFailed, "job", "ls")
	select {
	case header := <-caught:
		t.Errorf("another server was asked, with %q", header)
	default:
	}
}
