package work

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Scope is how much a token allows.
type Scope string

// The scopes; each allows what those before it do.
const (
	ScopeRead    Scope = "read"    // look at everything but secrets, of which there are none to see
	ScopeOperate Scope = "operate" // also: create, pause, resume, cancel and retry jobs, drain agents
	ScopeAdmin   Scope = "admin"   // also: tokens, agents that join or are revoked, limits, notifications
)

// Scopes lists all scopes, from the least.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeOperate, ScopeAdmin} }

// ParseScope returns the scope called s.
func ParseScope(s string) (Scope, error) {
	switch sc := Scope(s); sc {
	case ScopeRead, ScopeOperate, ScopeAdmin:
		return sc, nil
	}
	return "", fmt.Errorf("unknown scope %q: use read, operate or admin", s)
}

// Allows reports whether the scope is enough where need is asked for.
func (s Scope) Allows(need Scope) bool {
	rank := map[Scope]int{ScopeRead: 1, ScopeOperate: 2, ScopeAdmin: 3}
	return rank[need] > 0 && rank[s] >= rank[need]
}

// How many there may be at once of what lets somebody in; one more is
// ErrTooMany.
const (
	MaxTokens  = 1000 // that count
	MaxCodes   = 20   // to sign in by, of one token
	MaxInvites = 1000 // that may still be used
)

// Errors of what asks for access; ask with errors.Is.
var (
	// ErrNoToken means that a token, an invitation or a session is not known,
	// was used up or revoked, or has expired. Which of them is nobody's business.
	ErrNoToken = errors.New("not a valid token")
	// ErrNameTaken means that another bears the name.
	ErrNameTaken = errors.New("the name is taken")
	// ErrNotThere means that nothing has the id.
	ErrNotThere = errors.New("there is no such thing")
)

// A TokenID names a token in the ledger.
type TokenID int64

// A Token lets whoever shows it use the API. The secret itself is known only to
// whom it was shown, once.
type Token struct {
	ID        TokenID   `json:"id"`
	Name      string    `json:"name"` // who or what shows it; the audit log names it so
	Scope     Scope     `json:"scope"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: it does not
	UsedAt    time.Time `json:"used_at,omitzero"`    // to the minute; zero: never
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it counts
}

// A Caller is who asks something of the API.
type Caller struct {
	Name   string  // as the audit log shows it
	Scope  Scope   // "" allows nothing
	Token  TokenID // 0: nobody was asked for one
	Remote string  // the address that the request came from
}

type callerKey struct{}

// WithCaller returns a context of what c asks for.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who asked for what is done under ctx; the zero Caller if
// nobody did, as in a program's own loops.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// An Invite lets one agent join the fleet, once.
type Invite struct {
	ID        int64     `json:"id"`
	Site      string    `json:"site"` // where the agent is to stand
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at"`
	UsedAt    time.Time `json:"used_at,omitzero"`
	UsedBy    string    `json:"used_by,omitempty"` // the agent's name
}

// An Identity is an agent that has joined: its name, which belongs to its key.
type Identity struct {
	Agent     string    `json:"agent"`
	Site      string    `json:"site"`
	Key       string    `json:"key"` // public; the queue knows the agent by it
	Host      string    `json:"host"`
	JoinedAt  time.Time `json:"joined_at"`
	RenewedAt time.Time `json:"renewed_at,omitzero"` // when it last got a new credential
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it counts
	RevokedBy string    `json:"revoked_by,omitempty"`
}

// A Joining is what an agent says that wants to join.
type Joining struct {
	Agent string `json:"agent"`
	Host  string `json:"host"`
	Key   string `json:"key"` // public, of a pair that the agent made and keeps
}

// A Welcome is all that an agent which has joined needs to find the queue.
type Welcome struct {
	Agent  string `json:"agent"`
	Site   string `json:"site"`
	NATS   string `json:"nats"`         // URLs of the servers, comma separated
	CA     string `json:"ca,omitempty"` // PEM of whom the servers' certificates come from; empty: the system's
	Domain string `json:"domain"`       // of JetStream
	JWT    string `json:"jwt"`          // signed for the agent's key; says what it may do
	// ServerCA is PEM of whom the coordinator's own certificate comes from;
	// empty: the system's, or whom the invitation pinned.
	ServerCA string    `json:"server_ca,omitempty"`
	Expires  time.Time `json:"expires"` // when the JWT does; the agent asks for a new one long before
}
