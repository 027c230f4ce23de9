package bus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tranship/tranship/internal/work"
)

func TestRevoke(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0"})
	b := connect(t, Options{Server: s, Name: "coordinator"})
	setUp(t, b)
	badOptions, badKey := identify(t, s.Authority(), s.URL(), "bad", "Fra", time.Now().Add(time.Hour))
	goodOptions, _ := identify(t, s.Authority(), s.URL(), "good", "Fra", time.Now().Add(time.Hour))
	bad, good := connect(t, badOptions), connect(t, goodOptions)
	for range 2 { // it may be repeated
		if err := s.Authority().Revoke(testContext(t), badKey); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its connection is closed", func() bool { return !bad.nc.IsConnected() })
	mustNotConnect(t, badOptions)
	// Also with what is issued later, if somebody did.
	time.Sleep(1100 * time.Millisecond) // JWTs tell seconds
	token, err := s.Authority().Issue("bad", "Fra", badKey, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	again := badOptions
	again.JWT = func() (string, error) { return token, nil }
	mustNotConnect(t, again)
	if err := good.Healthy(testContext(t)); err != nil {
		t.Errorf("another agent: %v", err)
	}

	// A server that heals itself still knows.
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	mustNotConnect(t, badOptions)
	eventually(t, "the other agent comes back", func() bool { return good.Healthy(testContext(t)) == nil })

	// One of a new process is told by the ledger; its keys are the same.
	listen := strings.TrimPrefix(s.URL(), "nats://")
	s.Shutdown()
	s = startServer(t, ServerOptions{Dir: dir, Listen: listen, Revoked: []string{badKey}})
	mustNotConnect(t, badOptions)
	if err := s.Authority().Restore(testContext(t), []string{badKey}); err != nil {
		t.Fatal(err)
	}
	mustNotConnect(t, badOptions)
	eventually(t, "the other agent comes back", func() bool { return good.Healthy(testContext(t)) == nil })
	if err := s.Authority().Revoke(testContext(t), "nobody"); err == nil {
		t.Error("Revoke of what is no key = nil")
	}
}

// TestRevokedAgentSlipsInAtTheStart: an agent that was revoked knocks on and on
// with the JWT that it has, before and while the server of a new process starts.
func TestRevokedAgentSlipsInAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0"})
	url := s.URL()
	bad, badKey := identify(t, s.Authority(), url, "bad", "Fra", time.Now().Add(time.Hour))
	s.Shutdown()

	proof := func(nonce []byte) ([]byte, error) {
		pair, err := nkeys.FromSeed([]byte(bad.Seed))
		if err != nil {
			return nil, err
		}
		return pair.Sign(nonce)
	}
	const enough = 20
	refused, in := make(chan struct{}, enough), make(chan struct{}, 1)
	ctx := testContext(t)
	go func() {
		for ctx.Err() == nil {
			nc, err := nats.Connect(url, nats.UserJWT(bad.JWT, proof))
			switch {
			case err == nil:
				nc.Close()
				in <- struct{}{}
				return
			case errors.Is(err, nats.ErrAuthorization):
				refused <- struct{}{}
			}
		}
	}()
	startServer(t, ServerOptions{Dir: dir, Listen: strings.TrimPrefix(url, "nats://"), Revoked: []string{badKey}})
	for range enough {
		select {
		case <-refused:
		case <-in:
			t.Fatal("it got in")
		case <-ctx.Done():
			t.Fatal("nobody answered it")
		}
	}
}

// A key that is none would be kept out of nothing.
func TestStartServerRefusesToRevokeWhatIsNoKey(t *testing.T) {
	t.Parallel()
	s, err := StartServer(testContext(t), ServerOptions{Dir: t.TempDir(), Listen: "127.0.0.1:0", Revoked: []string{"nobody"}})
	if err == nil {
		s.Shutdown()
		t.Fatal("the server started")
	}
}

// A connection ends when its JWT does, and the next one is made with what JWT
// returns then.
func TestRenewedJWTCounts(t *testing.T) {
	t.Parallel()
	s, _ := newKeyedFleet(t)
	seed, key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	issued := make(chan time.Time, 100)
	o := Options{URL: s.URL(), Name: "agent-1", Seed: seed, JWT: func() (string, error) {
		expires := time.Now().Add(2 * time.Second)
		issued <- expires
		return s.Authority().Issue("agent-1", "Fra", key, expires)
	}}
	agent := connect(t, o)
	eventually(t, "it connects again", func() bool { return len(issued) > 1 && agent.Healthy(testContext(t)) == nil })
}

func TestKeysAreAllOrNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openKeyring(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := openKeyring(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range first.slots() {
		if public(*s.pair) != public(*again.slots()[i].pair) {
			t.Errorf("key %s is another when it is read", s.name)
		}
	}
	path := filepath.Join(dir, "keys", keysFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, half := range map[string]string{
		"cut off": string(text[:len(text)/2]),
		"empty":   "",
		"one key": `{"operator": "x"}`,
		"mixed":   strings.Replace(string(text), `"agents": "SA`, `"agents": "SU`, 1),
	} {
		if err := os.WriteFile(path, []byte(half), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openKeyring(filepath.Join(dir, "keys")); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		} else if seed, _ := first.agents.Seed(); strings.Contains(err.Error(), string(seed)) {
			t.Errorf("%s: the error tells a secret", name)
		}
	}
}

func TestOpenAuthorityRefuses(t *testing.T) {
	t.Parallel()
	k, err := newKeyring()
	if err != nil {
		t.Fatal(err)
	}
	seed := func(pair interface{ Seed() ([]byte, error) }) string {
		text, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	account := public(k.fleet)
	tests := []struct {
		name string
		o    AuthorityOptions
		want string
	}{
		{"no account", AuthorityOptions{SigningKey: seed(k.agents)}, "account"},
		{"a user's key", AuthorityOptions{Account: account, SigningKey: seed(k.viewer)}, "user"},
		{"a public key", AuthorityOptions{Account: account, SigningKey: account}, "seed"},
		{"an account's key for the operator's", AuthorityOptions{Account: account, SigningKey: seed(k.agents), OperatorKey: seed(k.agents)}, "operator"},
	}
	for _, tt := range tests {
		if _, err := OpenAuthority(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that says %q", tt.name, err, tt.want)
		}
	}
	a, err := OpenAuthority(AuthorityOptions{Account: account, SigningKey: seed(k.agents)})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(testContext(t), public(k.viewer)); !errors.Is(err, ErrCannotRevoke) {
		t.Errorf("Revoke without the operator's key = %v, want ErrCannotRevoke", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	files := TLS{Certificate: filepath.Join(t.TempDir(), "c.pem"), Key: filepath.Join(t.TempDir(), "k.pem")}
	first := writeCertificate(t, files)
	s := startServer(t, ServerOptions{Listen: ":0", TLS: files})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "tls://"))
	if err != nil {
		t.Fatal(err)
	}
	inside := connect(t, Options{Server: s, Name: "coordinator"})
	setUp(t, inside)
	// An agent that names a CA speaks to nobody without TLS, whatever the URL.
	o, _ := identify(t, s.Authority(), "nats://127.0.0.1:"+port, "agent-1", "Fra", time.Time{})
	o.TLS.CA = first
	agent := connect(t, o)
	if err := agent.Healthy(testContext(t)); err != nil || !agent.nc.TLSRequired() {
		t.Errorf("over TLS: %v, TLS %v", err, agent.nc.TLSRequired())
	}
	stranger := o
	stranger.TLS.CA = writeCertificate(t, TLS{Certificate: filepath.Join(t.TempDir(), "c.pem"), Key: filepath.Join(t.TempDir(), "k.pem")})
	refusesToTrust(t, stranger)

	second := writeCertificate(t, files)
	refusesToTrust(t, o) // the first is gone
	o.TLS.CA = second
	connect(t, o)
	if err := os.WriteFile(files.Certificate, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	connect(t, o) // the last good one goes on
}

func refusesToTrust(t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	b, err := Connect(ctx, o)
	if err == nil {
		b.Close()
		t.Fatal("it connected to a server that it has no reason to trust")
	}
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v; want the certificate as the reason", err)
	}
}

// writeCertificate writes a new certificate for 127.0.0.1 and its key, and
// returns a file by which it is trusted.
func writeCertificate(t *testing.T, to TLS) (ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "queue " + serial.String()}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	for path, text := range map[string][]byte{
		to.Certificate: text, ca: text,
		to.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca
}

// What an open server held stays on its disk, and is there again when it is
// open again; one that asks for keys begins empty beside it.
func TestFromOpenToKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0", Open: true})
	b := connect(t, Options{URL: open.URL()})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, item(work.Norm, 1, 1))
	b.Close()
	open.Shutdown()

	keyed := startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	b = connect(t, Options{Server: keyed, Name: "coordinator"})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, item(work.Norm, 1, 1)) // stored: it is not there yet
	if err := b.Healthy(testContext(t)); err != nil {
		t.Error(err)
	}
	b.Close()
	keyed.Shutdown()

	open = startServer(t, ServerOptions{Dir: dir, Listen: "127.0.0.1:0", Open: true})
	b = connect(t, Options{URL: open.URL()})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, b, workPrefix+"s"); n != 1 {
		t.Errorf("the open server holds %d items, want the one it had", n)
	}
}
