package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	gcs "cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// known are the query parameters that a store's URL may have: those of the Go
// CDK's gcsblob, and the prefix. Left out is private_key_path: nothing is signed
// here, and nobody's URL has an agent read a file.
var known = []string{"access_id", "anonymous", "grpc", "prefix", "universe_domain", "zonal"}

// options are what a store's URL and environment say about the service and the
// identity. They are comparable: stores with equal options share connections.
type options struct {
	emulator  string // scheme://host:port; empty: Google's service
	anonymous bool
	universe  string // the service's domain; empty: that of the credentials, or googleapis.com

	credentials storage.Credentials
}

// Open opens the store that u names: gs://bucket/prefix with the query
// parameters of the Go CDK's gcsblob. STORAGE_EMULATOR_HOST names an emulator
// to use instead of Google's service. The credentials are credentials_json, the
// content of a key file of Google's, or anonymous; without them, what is found
// in the environment. It sends nothing to the service.
func Open(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
	s, err := openAt(ctx, u, c, os.Getenv("STORAGE_EMULATOR_HOST"))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openAt is Open with the emulator's host, empty for none.
func openAt(ctx context.Context, u *url.URL, creds storage.Credentials, emulator string) (*Store, error) {
	fail := func(fault work.Fault, hint string, err error) (*Store, error) {
		if ctx.Err() != nil {
			fault = work.Transient
		}
		return nil, &storage.Error{Op: "open", Store: u.Redacted(), Fault: fault, Hint: hint, Err: err}
	}
	prefix, o, bare, err := parseURL(u)
	if err == nil {
		o, err = o.with(creds)
	}
	if err != nil {
		return fail(work.Invalid, "", err)
	}
	if o.emulator = emulator; emulator != "" && !strings.Contains(emulator, "://") {
		o.emulator = "http://" + emulator
	}
	c, err := acquire(ctx, o)
	if err != nil {
		return fail(work.Denied, hintCredentials, err)
	}
	s := &Store{client: c, bucket: u.Host, prefix: prefix, name: "gs://" + u.Host + "/" + prefix}
	if o.emulator != "" {
		s.name += " at " + o.emulator
	}
	opener := gcsblob.URLOpener{
		Client:  &gcp.HTTPClient{Client: *c.http},
		Options: gcsblob.Options{ClientOptions: c.native()},
	}
	if s.blob, err = opener.OpenBucketURL(ctx, bare); err != nil {
		c.release()
		return fail(work.Invalid, "", err)
	}
	if !s.blob.As(&s.gcs) {
		c.release()
		return fail(work.Internal, "", errors.New("the bucket has no native client"))
	}
	// A request is repeated by again, which knows what may be.
	s.gcs.SetRetry(gcs.WithPolicy(gcs.RetryNever))
	return s, nil
}

// with returns the options with the identity of credentials; the anonymity of a
// URL gives way to it.
func (o options) with(c storage.Credentials) (options, error) {
	if c.IsZero() {
		return o, nil
	}
	if err := c.Check("credentials_json", "anonymous"); err != nil {
		return o, err
	}
	o.credentials, o.anonymous = c, false
	if text := c.Get("anonymous"); text != "" {
		var err error
		if o.anonymous, err = strconv.ParseBool(text); err != nil {
			return o, fmt.Errorf("credential anonymous is %q, want true or false", text)
		}
	}
	return o, nil
}

// parseURL splits a store's URL into prefix, options, and the URL to open the
// bucket with.
func parseURL(u *url.URL) (prefix string, o options, bare *url.URL, err error) {
	if u.Host == "" {
		return "", o, nil, errors.New("no bucket: write gs://bucket or gs://bucket/prefix")
	}
	if err := storage.CheckQuery(u, known...); err != nil {
		return "", o, nil, err
	}
	if prefix, err = storage.Prefix(u); err != nil {
		return "", o, nil, err
	}
	if prefix != "" {
		if err := checkName(prefix + "x"); err != nil {
			return "", o, nil, fmt.Errorf("prefix %s: %w", work.Quote(prefix), err)
		}
	}
	q := u.Query()
	for _, name := range []string{"anonymous", "grpc", "zonal"} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		on, err := strconv.ParseBool(text)
		switch {
		case err != nil:
			return "", o, nil, fmt.Errorf("parameter %s is %q, want true or false", name, text)
		case on && name != "anonymous":
			return "", o, nil, fmt.Errorf("%s=true asks for the gRPC interface, which is not used here: leave it out; zonal buckets cannot be used", name)
		case on:
			o.anonymous = true
		}
	}
	switch id := q.Get("access_id"); id {
	case "":
	case "-":
		o.anonymous = true
	default:
		return "", o, nil, errors.New("access_id names who signs URLs, and none are signed here: leave it out, or write anonymous=true for nobody")
	}
	o.universe = q.Get("universe_domain")
	for _, name := range []string{"prefix", "access_id", "anonymous", "grpc", "zonal"} {
		q.Del(name)
	}
	copied := *u
	copied.Path, copied.RawPath, copied.RawQuery = "", "", q.Encode()
	return prefix, o, &copied, nil
}

var (
	_ storage.Store     = (*Store)(nil)
	_ storage.Copier    = (*Store)(nil)
	_ storage.Multipart = (*Store)(nil)
	_ storage.Keeper    = (*Store)(nil)
	_ storage.Fitter    = (*Store)(nil)
	_ storage.Prober    = (*Store)(nil)
)

// A Store is a prefix of a bucket.
type Store struct {
	client *client
	blob   *blob.Bucket
	gcs    *gcs.Client
	bucket string
	prefix string
	name   string // as errors call it

	// parts is how uploads in parts are done, once that was found out; see way.
	parts partsWay
}

// Traits says what a GCS store can do.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{
		Name:   "gs",
		Meta:   storage.MetaTraits{Headers: true, User: true, Class: true, ModTime: true},
		MaxPut: maxObject,
		Fences: s.client.options.emulator == "",
	}
}

// Close gives the store's share of its connections back.
func (s *Store) Close() error {
	err := s.blob.Close()
	s.client.release()
	return s.fail("close", "", err)
}
