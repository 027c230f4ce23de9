package gcsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"

	"github.com/tranship/tranship/internal/netguard"
	"github.com/tranship/tranship/internal/work"
)

// A client is the service under one identity. Stores with equal options share
// it, and with it its connections and its token.
type client struct {
	options   options
	http      *http.Client // adds the token to what it sends
	transport *http.Transport
	base      string // scheme://host of the service

	users int // stores; guarded by open.mu
}

// open are the clients in use.
var open = struct {
	mu      sync.Mutex
	clients map[options]*client
}{clients: make(map[options]*client)}

// acquire returns the client for o; every call needs one of release.
func acquire(ctx context.Context, o options) (*client, error) {
	open.mu.Lock()
	defer open.mu.Unlock()
	c, ok := open.clients[o]
	if !ok {
		var err error
		if c, err = newClient(ctx, o); err != nil {
			return nil, err
		}
		open.clients[o] = c
	}
	c.users++
	return c, nil
}

func (c *client) release() {
	open.mu.Lock()
	defer open.mu.Unlock()
	if c.users--; c.users == 0 {
		delete(open.clients, c.options)
		c.transport.CloseIdleConnections()
	}
}

// newClient finds the credentials, where it is given none, as every tool for the
// service does: GOOGLE_APPLICATION_CREDENTIALS, gcloud's own, the machine's
// service account.
func newClient(ctx context.Context, o options) (*client, error) {
	c := &client{options: o, transport: newTransport(), base: o.emulator}
	var sender http.RoundTripper = &steady{base: c.transport, limit: stall}
	universe := o.universe
	if o.emulator == "" && !o.anonymous {
		creds, err := findCredentials(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("find credentials: %w", err)
		}
		if universe, err = universeOf(creds, o.universe); err != nil {
			return nil, err
		}
		sender = &oauth2.Transport{Base: sender, Source: creds.TokenSource}
	}
	if universe == "" {
		universe = "googleapis.com"
	}
	if c.base == "" {
		c.base = "https://storage." + universe
	}
	c.http = &http.Client{
		Transport: sender,
		// The service redirects nobody; a proxy that does gets no token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func findCredentials(ctx context.Context, o options) (*google.Credentials, error) {
	// The context is kept for renewing the token later on.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Timeout: time.Minute})
	if text := []byte(o.credentials.Get("credentials_json")); len(text) > 0 {
		return readCredentials(ctx, text)
	}
	return gcp.DefaultCredentials(ctx)
}

// universeOf returns the domain of the service that credentials are for. A URL
// may name it, but no other: its tokens would go to a stranger.
func universeOf(creds *google.Credentials, named string) (string, error) {
	own, err := creds.GetUniverseDomain()
	switch {
	case err != nil:
		return "", fmt.Errorf("find the domain of the credentials: %w", err)
	case named != "" && named != own:
		return "", fmt.Errorf("universe_domain is %s, but the agent's credentials are for %s and are sent nowhere else: leave it out, or use credentials that name it", work.Quote(named), own)
	}
	return own, nil
}

// readCredentials reads the content of a key file, which is the operator's own.
// Its errors say nothing of what stands in it.
func readCredentials(ctx context.Context, text []byte) (*google.Credentials, error) {
	var file struct {
		Type google.CredentialsType `json:"type"`
	}
	if json.Unmarshal(text, &file) != nil || file.Type == "" {
		return nil, errors.New("credentials_json is not the content of a key file of Google's")
	}
	params := google.CredentialsParams{Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"}}
	creds, err := google.CredentialsFromJSONWithTypeAndParams(ctx, text, file.Type, params)
	if err != nil {
		return nil, errors.New("credentials_json cannot be used: it is of no known type, or something is missing in it")
	}
	return creds, nil
}

// native are the options that make Google's client use our connections, which
// bring the token with them.
func (c *client) native() []option.ClientOption {
	return []option.ClientOption{
		option.WithHTTPClient(c.http), option.WithEndpoint(c.base + "/storage/v1/"), option.WithoutAuthentication(),
	}
}

// newTransport makes a transport fit for many streams at once. Every stream
// has a connection of its own (no HTTP/2): one connection's flow control would
// cap them all. Bodies arrive as they are stored (no transparent gunzip). There
// is no limit on the time a request may take; steady sees to it that it makes
// progress. It connects only where netguard lets it, other than what fetches
// tokens: that asks the metadata service.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: netguard.Control}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     60 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second,
		DisableCompression:  true,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		Protocols:           new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}
