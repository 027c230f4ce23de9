package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// The variables that say what is shown to a coordinator, and whom its
// certificate must come from.
const (
	tokenVariable     = "TRANSHIP_TOKEN"
	tokenFileVariable = "TRANSHIP_TOKEN_FILE"
	caVariable        = "TRANSHIP_CA"
)

// token returns what is shown to the server: the token in its context's file,
// if it names one, the environment's, or the first one of a coordinator that
// runs here and says that this is its address. Empty: none is known.
func (p *program) token(base *url.URL, file string) (string, error) {
	whose, token := "its context", ""
	if file == "" {
		whose, token, file = tokenFileVariable, p.env(tokenVariable), p.env(tokenFileVariable)
	}
	if token == "" && file != "" {
		var err error
		if token, err = readSecret(file); err != nil {
			return "", usage("it must be a file that holds a token alone", "%s: %w", whose, err)
		}
	}
	inTheClear := base.Scheme == "http" && !isLoopback(base.Hostname())
	if token == "" && !inTheClear {
		token = p.resident().token(base.String())
	}
	switch {
	case token == "":
		return "", nil
	case strings.HasPrefix(token, work.SecretToken) && !work.IsSecret(work.SecretToken, token):
		return "", usage("copy it whole: it has 53 letters and digits", "the token is misspelt or cut")
	case inTheClear:
		return "", usage("use https://; a server without TLS is to be reached through a tunnel to localhost",
			"the token would travel in the clear to %s, so it is not sent", base.Host)
	}
	return token, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// httpClient returns a client that trusts whom the file ca, or else the
// environment, says. It follows no redirect: the API has none, and a token must
// not go elsewhere.
func (p *program) httpClient(ca string) (*http.Client, error) {
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	path := cmp.Or(ca, p.env(caVariable))
	if path == "" {
		return c, nil
	}
	pem, err := os.ReadFile(path)
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM(pem) {
		err = errors.New("it holds no certificate in PEM")
	}
	if err != nil {
		return nil, usage("it must be a file in PEM of whom the server's certificate comes from", "%s: %w", path, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	c.Transport = transport
	return c, nil
}
