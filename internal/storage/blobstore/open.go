package blobstore

import (
	"context"
	"fmt"
	"net/url"

	"gocloud.dev/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Open is the storage.Opener of gs://bucket/prefix and azblob://container/prefix.
// The program must import gocloud's driver for the scheme; query parameters
// other than prefix are the driver's.
func Open(ctx context.Context, u *url.URL) (storage.Store, error) {
	d, ok := map[string]Driver{"gs": GCS, "azblob": Azure}[u.Scheme]
	if !ok {
		return nil, &storage.Error{Op: "open", Store: u.Redacted(), Fault: work.Invalid, Err: fmt.Errorf("no rules for scheme %q", u.Scheme)}
	}
	return Opener(d, func(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
		return blob.OpenBucket(ctx, u.String())
	})(ctx, u)
}

// Opener returns the storage.Opener of buckets that open opens and that behave
// as d says. open is given the URL without its prefix; the store closes what
// it returns.
func Opener(d Driver, open func(ctx context.Context, u *url.URL) (*blob.Bucket, error)) storage.Opener {
	return func(ctx context.Context, u *url.URL) (storage.Store, error) {
		s := &Store{driver: d, url: u.Redacted()}
		var err error
		if s.prefix, err = storage.Prefix(u); err == nil && s.prefix != "" {
			err = d.Safe(s.prefix + "x")
		}
		if err != nil {
			return nil, s.fail("open", "", work.Invalid, err)
		}
		bare := *u
		q := u.Query()
		q.Del("prefix")
		bare.Path, bare.RawPath, bare.RawQuery = "", "", q.Encode()
		if s.bucket, err = open(ctx, &bare); err != nil {
			return nil, s.fail("open", "", work.Invalid, err)
		}
		return s, nil
	}
}

// A Store is a bucket seen under a prefix.
type Store struct {
	driver Driver
	bucket *blob.Bucket
	prefix string
	url    string
}

var _ storage.Store = (*Store)(nil)

// Traits implements storage.Store.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{Name: s.driver.Name, Meta: s.driver.Meta}
}

// Close implements storage.Store.
func (s *Store) Close() error {
	if err := s.bucket.Close(); err != nil {
		return s.blame("close", "", err)
	}
	return nil
}
