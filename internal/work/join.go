package work

import (
	"errors"
	"fmt"
	"time"
)

// SecretInvite is the kind of an Invite's secret.
const SecretInvite = "tsj_"

// How long an invitation counts.
const (
	InviteLife     = time.Hour // unless it is said otherwise
	LeastInvite    = time.Minute
	MostInvite     = 7 * 24 * time.Hour
	CredentialLife = 24 * time.Hour // how long a JWT counts that an agent gets
)

// Errors of agents that join and renew; ask with errors.Is.
var (
	// ErrKeyTaken means that an agent of another name has, or had, the key.
	ErrKeyTaken = errors.New("the key has joined before, as another agent")
	// ErrNoIdentity means that no agent of the fleet has the key: it was
	// revoked, or never joined.
	ErrNoIdentity = errors.New("no agent of the fleet has this key")
	// ErrSignature means that who asks has not the key that they say.
	ErrSignature = errors.New("the signature is not that of the key")
	// ErrClock means that a request was signed too long ago, or in the future.
	ErrClock = errors.New("the clocks differ by too much")
)

// NewInvite is an invitation that is asked for.
type NewInvite struct {
	Site string
	Life time.Duration
	Who  string
}

// A Renewal is what an agent says that asks for a new credential.
type Renewal struct {
	Key       string    `json:"key"`
	At        time.Time `json:"at"`        // when it asks, by its own clock
	Signature []byte    `json:"signature"` // by the key, of Text
}

// RenewalSkew is how far the clocks of an agent and a coordinator may differ.
const RenewalSkew = 5 * time.Minute

// Text returns what is signed. A key belongs to one fleet and has no other use
// but to sign what the queue asks of it, which never begins like this. Whoever
// repeats a request that they overheard gets what only the key's owner can use.
func (r Renewal) Text() []byte {
	return fmt.Appendf(nil, "tranship: renew the credential of %s at %d", r.Key, r.At.UnixMilli())
}
