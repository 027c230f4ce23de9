package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Subjects of the system account.
const (
	lookupSubject = "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP"
	updateSubject = "$SYS.REQ.CLAIMS.UPDATE"
)

// A resolver is the registry of servers elsewhere: their own, of type full. It
// connects for each change, for changes are rare.
type resolver struct {
	opt      AuthorityOptions
	vouching nkeys.KeyPair // nil: not known here
}

func (r *resolver) change(ctx context.Context, f func(*jwt.AccountClaims) bool) error {
	if r.vouching == nil || r.opt.SystemCredentials == "" {
		return fmt.Errorf("%w: set nats.system_credentials and nats.operator_key; until then its credentials count until they expire", ErrCannotRevoke)
	}
	b, err := Connect(ctx, Options{URL: r.opt.URL, Name: "coordinator", Credentials: r.opt.SystemCredentials, TLS: r.opt.TLS, Log: r.opt.Log})
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	claims, err := r.lookup(ctx, b.nc)
	if err != nil {
		return fmt.Errorf("read account %s: %w", r.opt.Account, err)
	}
	if !f(claims) {
		return nil
	}
	if err := r.update(ctx, b.nc, claims); err != nil {
		return fmt.Errorf("change account %s: %w", r.opt.Account, err)
	}
	return nil
}

func (r *resolver) lookup(ctx context.Context, nc *nats.Conn) (*jwt.AccountClaims, error) {
	m, err := nc.RequestWithContext(ctx, fmt.Sprintf(lookupSubject, r.opt.Account), nil)
	if err != nil {
		return nil, resolving(err)
	}
	if len(m.Data) == 0 {
		return nil, errors.New("the servers do not know it; is nats.account right?")
	}
	return jwt.DecodeAccountClaims(string(m.Data))
}

func (r *resolver) update(ctx context.Context, nc *nats.Conn, claims *jwt.AccountClaims) error {
	token, err := claims.Encode(r.vouching)
	if err != nil {
		return err
	}
	m, err := nc.RequestWithContext(ctx, updateSubject, []byte(token))
	if err != nil {
		return resolving(err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("the servers' answer: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("the servers refuse: %s; is nats.operator_key that of a signing key of their operator?", answer.Error.Description)
	}
	return nil
}

// resolving says what may be wrong if nobody answers.
func resolving(err error) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: are nats.system_credentials those of the system account, and is the servers' resolver of type full?", err)
	}
	return err
}
