package azurestore

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tranship/tranship/internal/netguard"
)

// stall is how long the network may keep a request waiting.
const stall = 2 * time.Minute

// A pool holds the connections to one endpoint. Stores of the endpoint share it.
type pool struct {
	origin    string // its name among the open pools
	transport *http.Transport
	token     func() (azcore.TokenCredential, error) // made once
	users     int                                    // stores; guarded by open.mu
}

// open are the pools in use.
var open = struct {
	mu    sync.Mutex
	pools map[string]*pool
}{pools: make(map[string]*pool)}

// acquire returns the pool of an endpoint; every call needs one of release.
func acquire(origin string) *pool {
	open.mu.Lock()
	defer open.mu.Unlock()
	p, ok := open.pools[origin]
	if !ok {
		p = &pool{origin: origin, transport: newTransport()}
		p.token = sync.OnceValues(func() (azcore.TokenCredential, error) {
			c, err := azidentity.NewDefaultAzureCredential(nil)
			return c, err
		})
		open.pools[origin] = p
	}
	p.users++
	return p
}

func (p *pool) release() {
	open.mu.Lock()
	defer open.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(open.pools, p.origin)
		p.transport.CloseIdleConnections()
	}
}

// newTransport makes a transport fit for many streams at once, each on a
// connection of its own. Bodies arrive as they are stored (no transparent
// gunzip). There is no limit on the time a request may take, but on the time
// in which nothing moves. It connects only where netguard lets it, other than what
// fetches tokens: that asks the metadata service.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: netguard.Control}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           watched(dialer.DialContext),
		MaxIdleConnsPerHost:   1024,
		IdleConnTimeout:       60 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		Protocols:             protocols,
	}
}

// options are those of a client that uses the pool. Its own retries are few:
// longer patience is the engine's.
func (p *pool) options() *container.ClientOptions {
	return &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: &http.Client{
			Transport:     p.transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Retry:           policy.RetryOptions{MaxRetries: 2, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second},
		Telemetry:       policy.TelemetryOptions{ApplicationID: "tranship"},
		PerCallPolicies: []policy.Policy{asStored{}},
	}}
}

// asStored asks for bodies as they are stored, and for a listing's start where
// the context names one, which the SDK's flat listing would leave out.
type asStored struct{}

// Do implements policy.Policy.
func (asStored) Do(r *policy.Request) (*http.Response, error) {
	raw := r.Raw()
	raw.Header.Set("Accept-Encoding", "identity")
	if from, ok := raw.Context().Value(startKey{}).(string); ok {
		if q := raw.URL.Query(); q.Get("comp") == "list" && q.Get("marker") == "" {
			q.Set("startFrom", from)
			raw.URL.RawQuery = q.Encode()
		}
	}
	return r.Next()
}

// startKey finds, in a context, where a listing is to start.
type startKey struct{}
