package bus

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Credentials for people, in the folder of an embedded server: they are written
// at its start for the nats program of whoever can read that folder.
const (
	adminFile  = "admin.creds"  // may do everything with the fleet's streams
	viewerFile = "viewer.creds" // may look at them
)

// A trust is whom an embedded server lets in. It is the registry of the
// server's Authority.
type trust struct {
	server    *Server
	keys      *keyring
	authority *Authority
	resolver  *server.MemAccResolver // where the server reads accounts

	// claims are the fleet's account's; owned by whoever holds authority.mu.
	claims *jwt.AccountClaims
}

// newTrust has a server, which was not launched yet, let in those who have a
// JWT that was signed with the keys in its folder, but for a key that was
// revoked.
func newTrust(s *Server, revoked []string) (*trust, error) {
	if err := checkUserKeys(revoked); err != nil {
		return nil, err
	}
	keys, err := openKeyring(filepath.Join(s.dir, keysFolder))
	if err != nil {
		return nil, err
	}
	t := &trust{server: s, keys: keys, resolver: &server.MemAccResolver{}, claims: keys.fleetClaims()}
	revoke(t.claims, revoked)
	t.authority = &Authority{account: public(keys.fleet), signer: keys.agents, registry: t}
	if err := t.configure(s.opts); err != nil {
		return nil, err
	}
	if err := t.writeCredentials(); err != nil {
		return nil, fmt.Errorf("write credentials for operators: %w", err)
	}
	return t, nil
}

func (t *trust) configure(o *server.Options) error {
	system, err := t.keys.systemClaims().Encode(t.keys.operator)
	if err != nil {
		return err
	}
	if err := t.resolver.Store(public(t.keys.system), system); err != nil {
		return err
	}
	if err := t.store(); err != nil {
		return err
	}
	operator := t.keys.operatorClaims()
	if _, err := operator.Encode(t.keys.operator); err != nil { // which also names the issuer
		return err
	}
	o.TrustedOperators = []*jwt.OperatorClaims{operator}
	o.SystemAccount = public(t.keys.system)
	o.AccountResolver = t.resolver
	return nil
}

// store signs the claims anew and puts them where the server reads them.
func (t *trust) store() error {
	token, err := t.claims.Encode(t.keys.operator)
	if err != nil {
		return err
	}
	return t.resolver.Store(public(t.keys.fleet), token)
}

// change implements registry.
func (t *trust) change(_ context.Context, f func(*jwt.AccountClaims) bool) error {
	if !f(t.claims) {
		return nil
	}
	if err := t.store(); err != nil {
		return err
	}
	return t.apply()
}

// apply hands the claims to the running server, which closes the connections
// of those who were revoked.
func (t *trust) apply() error {
	t.server.mu.RLock()
	defer t.server.mu.RUnlock()
	if t.server.ns == nil {
		return nil // the next one reads them at its start
	}
	account, err := t.server.ns.LookupAccount(public(t.keys.fleet))
	if err != nil {
		return err
	}
	t.server.ns.UpdateAccountClaims(account, t.claims)
	return nil
}

// restarted must be called when the server was launched again: the claims may
// have been changed after it read them.
func (t *trust) restarted() {
	t.authority.mu.Lock()
	defer t.authority.mu.Unlock()
	if err := t.apply(); err != nil {
		t.server.log.Error("queue server does not know who was revoked meanwhile", "err", err)
	}
}

// coordinator returns how a connection of this process proves that it may do
// everything within the fleet's account.
func (t *trust) coordinator() nats.Option {
	token := func() (string, error) {
		return userJWT("coordinator", t.keys.fleet, t.keys.coordinator, jwt.Permissions{}, jwt.ConnectionTypeInProcess)
	}
	return nats.UserJWT(token, t.keys.coordinator.Sign)
}

func (t *trust) writeCredentials() error {
	admin, err := t.keys.credentials("admin", t.keys.fleet, t.keys.admin, jwt.Permissions{})
	if err != nil {
		return err
	}
	viewer, err := t.keys.credentials("viewer", t.keys.fleet, t.keys.viewer, viewerPermissions())
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{adminFile: admin, viewerFile: viewer} {
		if err := writeSecret(filepath.Join(t.server.dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// ViewerCredentials returns the path of credentials with which people may look
// at the queue; empty where none are asked for.
func (s *Server) ViewerCredentials() string {
	if s.trust == nil {
		return ""
	}
	return ViewerCredentials(s.dir)
}

// ViewerCredentials returns where a server writes them that keeps its data in
// dir.
func ViewerCredentials(dir string) string { return filepath.Join(dir, viewerFile) }
