package s3store

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const maxPut = 5 << 30 // bytes of one PutObject

// A Store is a prefix of a bucket.
type Store struct {
	client *client
	place  place
	bucket string
	prefix string
	name   string // as errors call it

	encrypt encryption // of what is stored

	closed sync.Once

	refusedClasses sync.Map    // storage classes that the server does not know
	plainTags      atomic.Bool // it was seen to refuse tags that were not all ASCII
	unconditional  conditionless

	probing sync.Mutex           // guards facts; held while the server is asked
	facts   map[bool][]work.Fact // what Probe found out, by whether it might write

	// asked guards what was found out about the server; it is held while the
	// server is asked.
	asked   sync.Mutex
	odd     map[string]error // by an oddity's name: nil if such keys are kept
	trailed *bool            // nil: not known yet
}

// Open opens the store that u names: s3://bucket/prefix with the query
// parameters of the Go CDK's s3blob. The credentials are access_key_id and
// secret_access_key, perhaps with a session_token, or a profile, or anonymous;
// without them, what the AWS configuration finds. It reads that and sends
// nothing.
func Open(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
	s, err := openStore(ctx, u, c)
	if err == nil {
		return s, nil
	}
	fault := work.Invalid
	if ctx.Err() != nil {
		fault = work.Transient
	}
	return nil, &storage.Error{Op: "open", Store: u.Redacted(), Fault: fault, Err: err}
}

func openStore(ctx context.Context, u *url.URL, creds storage.Credentials) (*Store, error) {
	bucket, prefix, o, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	if o, err = o.with(creds); err != nil {
		return nil, err
	}
	encrypt, err := parseEncryption(u.Query())
	if err != nil {
		return nil, err
	}
	c, err := acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	p, err := c.locate(ctx, bucket)
	if err != nil {
		c.release()
		return nil, err
	}
	name := "s3://" + bucket + "/" + prefix
	if c.aws.BaseEndpoint != nil {
		name += " at " + *c.aws.BaseEndpoint
	}
	return &Store{client: c, place: p, bucket: bucket, prefix: prefix, name: name, encrypt: encrypt}, nil
}

// Traits says what an S3 store can do.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{
		Name:      "s3",
		ETagIsMD5: !s.encrypt.kms(),
		Meta:      storage.MetaTraits{Headers: true, User: true, Tags: true, Class: true, ModTime: true},
		MaxPut:    maxPut,
		Fences:    s.client.amazon,
	}
}

// Close gives the store's share of its connections back.
func (s *Store) Close() error {
	s.closed.Do(s.client.release)
	return nil
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.exists(ctx, key)
	if err == nil {
		_, _, err = s.roundTrip(ctx, &request{method: http.MethodDelete, key: s.prefix + key})
	}
	if faultOf(err) == work.NotFound && !noBucket(err) {
		return nil
	}
	return s.fail("delete", key, err)
}

// noBucket reports whether err says that the whole bucket is not there.
func noBucket(err error) bool {
	var api *apiError
	return errors.As(err, &api) && api.Code == "NoSuchBucket"
}
