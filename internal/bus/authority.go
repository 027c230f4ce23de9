package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/tranship/tranship/internal/work"
)

// ErrCannotRevoke means that this coordinator was not given what it needs to
// shut an agent out at the servers.
var ErrCannotRevoke = errors.New("cannot shut an agent out at the servers")

// An Authority signs the credentials by which the servers know agents, and
// takes them back. It is safe for use by any number of goroutines.
type Authority struct {
	account string        // public key
	signer  nkeys.KeyPair // bound to the template of agents

	mu       sync.Mutex // held during a change of the account
	registry registry
}

// A registry keeps the claims of the fleet's account for the servers.
type registry interface {
	// change lets f change the claims and, if it says that it did, hands them
	// to the servers. Calls must not overlap.
	change(ctx context.Context, f func(*jwt.AccountClaims) bool) error
}

// AuthorityOptions say whose agents an Authority speaks for, where the servers
// are not embedded.
type AuthorityOptions struct {
	Account    string // the public key of the fleet's account
	SigningKey string // the seed of the key that agents' credentials are signed with

	// What Revoke needs besides; without these it returns ErrCannotRevoke.
	URL               string // of the servers, comma separated
	SystemCredentials string // path of a .creds file of the system account
	OperatorKey       string // the seed of a signing key of the operator, who vouches for the account
	TLS               TLS    // whom to trust
	Log               *slog.Logger
}

// OpenAuthority returns the Authority of a fleet whose servers are not
// embedded. It does not connect yet.
func OpenAuthority(o AuthorityOptions) (*Authority, error) {
	if !nkeys.IsValidPublicAccountKey(o.Account) {
		return nil, fmt.Errorf("account %q is not the public key of an account, which begins with A", o.Account)
	}
	signer, err := pairOf(nkeys.PrefixByteAccount, o.SigningKey)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &resolver{opt: o}
	if o.OperatorKey != "" {
		if r.vouching, err = pairOf(nkeys.PrefixByteOperator, o.OperatorKey); err != nil {
			return nil, fmt.Errorf("operator's key: %w", err)
		}
	}
	return &Authority{account: o.Account, signer: signer, registry: r}, nil
}

// Issue returns the JWT by which the servers let the holder of a key in as
// this agent of this site, until it expires; the zero time: for ever. PublicKey
// is that of NewKey.
func (a *Authority) Issue(agent, site, publicKey string, expires time.Time) (token string, err error) {
	if err := errors.Join(work.CheckAgent(agent), work.CheckSite(site)); err != nil {
		return "", err
	}
	if !nkeys.IsValidPublicUserKey(publicKey) {
		return "", fmt.Errorf("%q is not the public key of a user, which begins with U", publicKey)
	}
	token, err = agentJWT(a.account, a.signer, agent, site, publicKey, expires)
	if err != nil {
		return "", fmt.Errorf("sign the credentials of agent %s: %w", agent, err)
	}
	return token, nil
}

// Revoke shuts the holder of a key out, at once and for good: the servers close
// its connection, and no JWT for the key counts any more, those that are
// issued later included. It may be repeated.
func (a *Authority) Revoke(ctx context.Context, publicKey string) error {
	return a.Restore(ctx, []string{publicKey})
}

// Restore shuts out the holders of all these keys. It must be called at the
// coordinator's start with every key that the ledger calls revoked, for the
// servers may not have been told. It may be repeated at any time, and should be
// now and then where there are several coordinators: two that change the
// account at the same moment may undo what the other did. An embedded server
// forgets them when it ends and is started with them: ServerOptions.Revoked.
func (a *Authority) Restore(ctx context.Context, revoked []string) error {
	if err := checkUserKeys(revoked); err != nil {
		return err
	}
	if len(revoked) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.registry.change(ctx, func(c *jwt.AccountClaims) bool { return revoke(c, revoked) })
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

func checkUserKeys(revoked []string) error {
	for _, key := range revoked {
		if !nkeys.IsValidPublicUserKey(key) {
			return fmt.Errorf("revoke: %q is not the public key of a user, which begins with U", key)
		}
	}
	return nil
}
