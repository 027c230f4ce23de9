package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// An Authority signs the credentials by which the servers know agents, and
// takes them back. It is safe for use by any number of goroutines.
type Authority struct{}

// AuthorityOptions say whose agents an Authority speaks for, where the servers
// are not embedded.
type AuthorityOptions struct {
	Account    string // the public key of the fleet's account
	SigningKey string // the seed of the key that agents' credentials are signed with

	// What Revoke needs besides; without these it says so.
	URL               string // of the servers, comma separated
	SystemCredentials string // path of a .creds file of the system account
	OperatorKey       string // the seed of a signing key of the operator, who vouches for the account
	TLS               TLS    // whom to trust
	Log               *slog.Logger
}

// TLS names files in PEM, which are read again when they change.
type TLS struct {
	Certificate string // of a server, with those between it and the root
	Key         string // of a server
	CA          string // whom clients trust; empty: the system's
}

// OpenAuthority returns the Authority of a fleet whose servers are not
// embedded. It does not connect yet.
func OpenAuthority(o AuthorityOptions) (*Authority, error) {
	return nil, errors.ErrUnsupported
}

// Issue returns the JWT by which the servers let the holder of a key in as
// this agent of this site, until it expires; the zero time: for ever. PublicKey
// is that of NewKey.
func (a *Authority) Issue(agent, site, publicKey string, expires time.Time) (jwt string, err error) {
	return "", errors.ErrUnsupported
}

// Revoke shuts the holder of a key out, at once and for good: its connection is
// closed when Revoke returns, and no JWT for the key counts any more, those
// that are issued later included. It may be repeated.
func (a *Authority) Revoke(ctx context.Context, publicKey string) error {
	return errors.ErrUnsupported
}

// Restore shuts out the holders of all these keys. It must be called at the
// coordinator's start with every key that the ledger calls revoked, for an
// embedded server forgets them, and may be repeated at any time: two
// coordinators that revoke at once may undo what the other did.
func (a *Authority) Restore(ctx context.Context, revoked []string) error {
	return errors.ErrUnsupported
}

// NewKey returns a key for an agent: the seed is its secret, the public key is
// what it shows.
func NewKey() (seed, publicKey string, err error) {
	return "", "", errors.ErrUnsupported
}
