package cli

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
)

// pinPrefix begins every pin.
const pinPrefix = "sha256:"

// pinOf returns the pin of a certificate: the hash of its public key, which
// stays the same when the certificate is renewed for the same key.
func pinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + hex.EncodeToString(sum[:])
}

// checkPin reports why a text is no pin, or nil if it is one or empty.
func checkPin(pin string) error {
	digits, ok := strings.CutPrefix(pin, pinPrefix)
	if b, err := hex.DecodeString(digits); pin != "" && (!ok || err != nil || len(b) != sha256.Size) {
		return usage("copy the command as tranship fleet invite printed it", "--pin %q is not sha256: and 64 hex digits", pin)
	}
	return nil
}

// pinIfNeeded returns the pin of the first certificate of a file, or "" if
// whoever trusts the usual authorities trusts it under the name of the host.
func pinIfNeeded(path, host string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return "", fmt.Errorf("%s holds no certificate", path)
	}
	if verifyChain(chain, host, nil) == nil {
		return "", nil
	}
	return pinOf(chain[0]), nil
}

// verifyChain returns nil if the roots, or the system's where these are nil, vouch
// for a chain under the name of a host.
func verifyChain(chain []*x509.Certificate, host string, roots *x509.CertPool) error {
	o := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

// errPin means that a server is not the one that the invitation came from.
var errPin = errors.New("the server's certificate is not the one that the invitation names: another server answers there, or its key was changed since")

// trusting returns a client of a coordinator that trusts it by the pin, or by
// an authority in ca, which is PEM; without either as the system does.
func trusting(server, pin, ca string) (*api.Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usage("write for example https://tranship.example.org", "server %q is not the URL of a coordinator", server)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, usage("use https, see http.tls in config/example.yaml", "%s is not encrypted: whoever listens could join in this agent's place", server)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if u.Scheme == "https" && (pin != "" || ca != "") {
		if t.TLSClientConfig, err = pinned(u.Hostname(), pin, ca); err != nil {
			return nil, err
		}
	}
	hc := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return api.NewClient(server, hc, ""), nil
}

func pinned(host, pin, ca string) (*tls.Config, error) {
	var roots *x509.CertPool
	if ca != "" {
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("the CA of the coordinator is not PEM")
		}
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it: by the pin as well
		VerifyConnection: func(s tls.ConnectionState) error {
			chain := s.PeerCertificates
			if pin != "" && subtle.ConstantTimeCompare([]byte(pinOf(chain[0])), []byte(pin)) == 1 {
				return nil
			}
			if pin != "" && roots == nil {
				return errPin
			}
			return verifyChain(chain, host, roots)
		},
	}, nil
}
