package s3store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/auth"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tranship/tranship/internal/netguard"
)

// A client is one S3 service under one identity. Stores with equal options
// share it, and with it its connections and its credentials.
type client struct {
	options   options // its name among the open clients
	aws       s3.Options
	transport *http.Transport
	signer    *v4.Signer
	stall     time.Duration // how long the network may keep a request waiting
	maxCopy   int64         // bytes that the server copies in one request
	copyPart  int64         // bytes of a part that the server copies, at least
	skew      atomic.Int64  // how far the server's clock is ahead, in nanoseconds
	session   atomic.Bool   // whether the credentials are those of a session
	amazon    bool          // whether the service is Amazon's own

	users int // stores; guarded by open.mu

	// renewing guards aws.Credentials, which is nil for an anonymous client.
	renewing sync.RWMutex
	lapsed   bool // they have expired: look for others
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

// outdated says that the credentials have expired.
func (c *client) outdated() {
	c.renewing.Lock()
	defer c.renewing.Unlock()
	c.lapsed = true
}

// provider returns what requests are signed with, nil for an anonymous client.
// After the credentials have expired it reads the configuration anew, where an
// operator may have put fresh ones.
func (c *client) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	c.renewing.RLock()
	p, lapsed := c.aws.Credentials, c.lapsed
	c.renewing.RUnlock()
	if !lapsed || p == nil {
		return p, nil
	}
	cfg, err := c.options.load(ctx)
	if err != nil {
		return nil, &credentialsError{err}
	}
	fresh := s3.NewFromConfig(cfg, c.options.apply).Options().Credentials
	c.renewing.Lock()
	defer c.renewing.Unlock()
	c.aws.Credentials, c.lapsed = fresh, false
	return fresh, nil
}

// load reads the configuration as every AWS tool does: environment, shared
// files, profile, instance role; of the identity only what it was not given. It
// sends nothing.
func (o options) load(ctx context.Context) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().
			WithTransportOptions(tune).
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = 10 * time.Second })),
	}
	if o.profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.profile))
	}
	if o.region != "" {
		load = append(load, config.WithRegion(o.region))
	}
	if c := o.credentials; !c.IsZero() {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			c.Get("access_key_id"), c.Get("secret_access_key"), c.Get("session_token"))))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, fmt.Errorf("load the AWS configuration: %w", err)
	}
	return cfg, nil
}

func newClient(ctx context.Context, o options) (*client, error) {
	cfg, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	buildable, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("the AWS configuration brings an HTTP client of type %T", cfg.HTTPClient)
	}
	c := &client{
		options:   o,
		stall:     stall,
		maxCopy:   maxCopy,
		copyPart:  512 << 20,
		transport: guarded(buildable),
		aws:       s3.NewFromConfig(cfg, o.apply).Options(),
		signer:    newSigner(),
	}
	c.amazon = isAmazon(c.aws.BaseEndpoint)
	if c.aws.Region == "" {
		if c.aws.BaseEndpoint == nil {
			return nil, errNoRegion
		}
		c.aws.Region = "us-east-1" // what nearly every other server than AWS goes by
	}
	return c, nil
}

// guarded returns a transport like that of c which connects only where netguard
// lets it. The client itself stays as it is: with it the configuration asks the
// metadata service for credentials.
func guarded(c *awshttp.BuildableClient) *http.Transport {
	return c.WithDialerOptions(func(d *net.Dialer) { d.Control = netguard.Control }).GetTransport()
}

// isAmazon reports whether an endpoint, if one is set at all, is Amazon's own,
// such as that of a VPC.
func isAmazon(endpoint *string) bool {
	if endpoint == nil {
		return true
	}
	u, err := url.Parse(*endpoint)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(u.Hostname(), ".cn")
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".api.aws")
}

func newSigner() *v4.Signer {
	return v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = true })
}

var errNoRegion = errors.New("no region: add ?region=… to the URL, or set AWS_REGION or the profile's region")

// tune makes a transport fit for many streams at once. Every stream has a
// connection of its own (no HTTP/2): one connection's flow control would cap
// them all. Bodies arrive as they are stored (no transparent gunzip). There
// is no limit on the time a request may take; the watchdog of each call sees
// to it that it makes progress.
func tune(t *http.Transport) {
	t.MaxIdleConns = 0 // no limit
	t.MaxIdleConnsPerHost = 1024
	t.MaxConnsPerHost = 0
	t.IdleConnTimeout = 60 * time.Second
	t.TLSHandshakeTimeout = 15 * time.Second
	t.ExpectContinueTimeout = time.Second
	t.DisableCompression = true
	t.ReadBufferSize = 64 << 10
	t.WriteBufferSize = 64 << 10
	t.ForceAttemptHTTP2 = false
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t.Protocols = protocols
}

// apply sets what a URL may say beyond the shared configuration.
func (o options) apply(s *s3.Options) {
	if o.endpoint != "" {
		s.BaseEndpoint = aws.String(o.endpoint)
	}
	if s.BaseEndpoint != nil && !strings.Contains(*s.BaseEndpoint, "://") {
		scheme := "https://"
		if o.disableHTTPS {
			scheme = "http://"
		}
		s.BaseEndpoint = aws.String(scheme + *s.BaseEndpoint)
	}
	s.UsePathStyle = s.UsePathStyle || o.pathStyle
	s.UseAccelerate = s.UseAccelerate || o.accelerate
	if o.anonymous {
		s.Credentials = aws.AnonymousCredentials{}
	}
	if o.dualStack {
		s.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if o.fips {
		s.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	s.EndpointOptions.DisableHTTPS = s.EndpointOptions.DisableHTTPS || o.disableHTTPS
}

// A place is where a bucket answers and how requests to it are signed.
type place struct {
	scheme, host string
	path         string // of the bucket, without a slash at the end
	service      string // names used in signatures
	region       string
}

// locate finds the place of a bucket. It sends nothing.
func (c *client) locate(ctx context.Context, bucket string) (place, error) {
	e, err := c.aws.EndpointResolverV2.ResolveEndpoint(ctx, s3.EndpointParameters{
		Bucket:         &bucket,
		Region:         &c.aws.Region,
		Endpoint:       c.aws.BaseEndpoint,
		ForcePathStyle: &c.aws.UsePathStyle,
		Accelerate:     &c.aws.UseAccelerate,
		UseDualStack:   aws.Bool(c.aws.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:        aws.Bool(c.aws.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseArnRegion:   &c.aws.UseARNRegion,
	}.WithDefaults())
	if err != nil {
		return place{}, fmt.Errorf("find the endpoint of bucket %s: %w", bucket, err)
	}
	p := place{scheme: e.URI.Scheme, host: e.URI.Host, service: "s3", region: c.aws.Region}
	if c.aws.EndpointOptions.DisableHTTPS && c.aws.BaseEndpoint == nil {
		p.scheme = "http"
	}
	p.path = strings.TrimSuffix(e.URI.EscapedPath(), "/")

	schemes, _ := auth.GetAuthOptions(&e.Properties)
	if len(schemes) == 0 {
		return p, nil
	}
	i := slices.IndexFunc(schemes, func(o *auth.Option) bool { return o.SchemeID == "sigv4" })
	if i < 0 {
		return place{}, fmt.Errorf("bucket %s wants requests signed by %s: directory buckets and multi-region access points are not supported", bucket, schemes[0].SchemeID)
	}
	if name, ok := smithyhttp.GetSigV4SigningName(&schemes[i].SignerProperties); ok {
		p.service = name
	}
	if region, ok := smithyhttp.GetSigV4SigningRegion(&schemes[i].SignerProperties); ok {
		p.region = region
	}
	return p, nil
}
