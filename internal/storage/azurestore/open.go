package azurestore

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// known are the query parameters that a store's URL may have: those of the Go
// CDK's azureblob.
var known = []string{"cdn", "domain", "localemu", "prefix", "protocol", "storage_account"}

// Open opens the store that u names: azblob://container/prefix with the query
// parameters of the Go CDK's azureblob. The credentials are those of identity;
// without them, the environment variables of the Go CDK's azureblob. It sends
// nothing.
func Open(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
	s, err := openStore(ctx, u, c)
	if err != nil {
		return nil, &storage.Error{Op: "open", Store: u.Redacted(), Fault: work.Invalid, Err: err}
	}
	return s, nil
}

func openStore(ctx context.Context, u *url.URL, creds storage.Credentials) (*Store, error) {
	if u.Host == "" {
		return nil, errors.New("no container: write azblob://container or azblob://container/prefix")
	}
	if err := storage.CheckQuery(u, known...); err != nil {
		return nil, err
	}
	prefix, err := storage.Prefix(u)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, err
	}
	q := u.Query()
	q.Del("prefix")
	if err := checkAccount(q.Get("storage_account")); err != nil {
		return nil, err
	}
	who, err := identify(creds, q)
	if err != nil {
		return nil, err
	}
	s := &Store{prefix: prefix}
	opener := azureblob.URLOpener{ServiceURLOptions: service(q)}
	account, domain := domainOf(opener.ServiceURLOptions, q)
	opener.MakeClient = func(service azureblob.ServiceURL, name azureblob.ContainerName) (*container.Client, error) {
		if err := checkService(string(service), account, domain); err != nil {
			return nil, err
		}
		return s.connect(string(service), string(name), who, q)
	}
	s.bucket, err = opener.OpenBucketURL(ctx, &url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()})
	if err == nil && !s.bucket.As(&s.container) {
		err = errors.New("the bucket has no native client")
	}
	if err != nil {
		if s.pool != nil {
			s.pool.release()
		}
		return nil, err
	}
	s.name = "azblob://" + u.Host + "/" + prefix + " at " + s.pool.origin
	return s, nil
}

// service returns what the environment says of the service. The SAS token is
// left out: connect decides whether it may be sent.
func service(q url.Values) azureblob.ServiceURLOptions {
	o := *azureblob.NewDefaultServiceURLOptions()
	o.SASToken = ""
	if o.AccountName == "" {
		o.AccountName = q.Get("storage_account")
	}
	return o
}

// connect makes the client of a container, with the first that there is of a
// key, a SAS token and a connection string, and otherwise with a login.
func (s *Store) connect(service, name string, who identity, q url.Values) (*container.Client, error) {
	moved := q.Has("domain") || q.Has("protocol") || q.Has("cdn")
	if who.key == "" && who.token == "" && who.text != "" {
		return s.connectBy(who.text, name, moved)
	}
	place, err := url.JoinPath(service, name)
	if err != nil {
		return nil, err
	}
	if err := s.dial(place); err != nil {
		return nil, err
	}
	if moved {
		// Who writes a job's URL must not learn the agent's secrets.
		if err := mayMove(who, place); err != nil {
			return nil, err
		}
	}
	switch {
	case who.key != "":
		shared, err := container.NewSharedKeyCredential(who.account, who.key)
		if err != nil {
			return nil, errors.New("the account's key is not base64")
		}
		return container.NewClientWithSharedKeyCredential(place, shared, s.pool.options())
	case who.token != "":
		return container.NewClientWithNoCredential(place+"?"+who.token, s.pool.options())
	}
	if s.token, err = who.login(s.pool); err != nil {
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	return container.NewClient(place, s.token, s.pool.options())
}

// connectBy makes the client of a container from a connection string, which
// names the endpoint, too.
func (s *Store) connectBy(text, name string, moved bool) (*container.Client, error) {
	if moved {
		return nil, errors.New("the agent's connection string names the endpoint already: leave domain, protocol and cdn out")
	}
	c, err := container.NewClientFromConnectionString(text, name, nil)
	if err != nil {
		return nil, errors.New("the agent's connection string cannot be read")
	}
	if err := s.dial(c.URL()); err != nil {
		return nil, err
	}
	return container.NewClientFromConnectionString(text, name, s.pool.options())
}

// dial takes the pool of the endpoint of a container's URL.
func (s *Store) dial(place string) error {
	u, err := url.Parse(place)
	if err != nil || u.Host == "" {
		return errors.New("the endpoint is not a URL")
	}
	s.pool = acquire(u.Scheme + "://" + u.Host)
	return nil
}

// A Store is a prefix of a container.
type Store struct {
	bucket    *blob.Bucket // as the Go CDK opened it; what container belongs to
	container *container.Client
	pool      *pool
	token     azcore.TokenCredential // nil unless requests are made with one
	prefix    string
	name      string // as errors call it

	learnt learnt
	gone   gone
}

// Traits says what an Azure store can do.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{
		Name:   "azblob",
		Meta:   storage.MetaTraits{Headers: true, User: true, Tags: true, Class: true, ModTime: true},
		MaxPut: maxBlocks * maxBlock,
		Fences: true,
	}
}

// Close gives the store's share of its connections back.
func (s *Store) Close() error {
	err := s.bucket.Close()
	s.pool.release()
	return s.fail("close", "", err)
}

// Delete removes an object. One that has snapshots stays, with an error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.keeps(key); err != nil {
		return s.fail("delete", key, err)
	}
	_, err := s.blob(key).Delete(ctx, nil)
	if faultOf(err) == work.NotFound && !noContainer(err) {
		return nil
	}
	return s.fail("delete", key, err)
}
