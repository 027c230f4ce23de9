package bus

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Names that operators see in a server's monitoring.
const (
	operatorName = "tranship"
	fleetName    = "TRANSHIP"
	systemName   = "SYS"
)

// forGood is when a revocation ends to count: JWTs that are issued later.
var forGood = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// operatorClaims say who vouches for the accounts.
func (k *keyring) operatorClaims() *jwt.OperatorClaims {
	c := jwt.NewOperatorClaims(public(k.operator))
	c.Name = operatorName
	c.SigningKeys.Add(public(k.vouching))
	c.SystemAccount = public(k.system)
	return c
}

// systemClaims are those of the servers' own account.
func (k *keyring) systemClaims() *jwt.AccountClaims {
	c := jwt.NewAccountClaims(public(k.system))
	c.Name = systemName
	return c
}

// fleetClaims are those of the account that the fleet's streams are in: it may
// use JetStream without a limit of its own, and agents may what their template
// says.
func (k *keyring) fleetClaims() *jwt.AccountClaims {
	c := jwt.NewAccountClaims(public(k.fleet))
	c.Name = fleetName
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
		MaxAckPending: jwt.NoLimit,
	}
	scope := jwt.NewUserScope()
	scope.Key = public(k.agents)
	scope.Role = "agent"
	scope.Description = "Tranship agents"
	scope.Template = agentTemplate()
	c.SigningKeys.AddScopedSigner(scope)
	return c
}

// userJWT returns the JWT of a user that is no agent.
func userJWT(name string, account, user nkeys.KeyPair, may jwt.Permissions, types ...string) (string, error) {
	c := jwt.NewUserClaims(public(user))
	c.Name = name
	c.Permissions = may
	c.AllowedConnectionTypes = types
	token, err := c.Encode(account)
	if err != nil {
		return "", fmt.Errorf("sign the credentials of %s: %w", name, err)
	}
	return token, nil
}

// agentJWT returns the JWT of an agent. It carries no rights of its own: those
// of the template of the key that signs it count.
func agentJWT(account string, signer nkeys.KeyPair, agent, site, publicKey string, expires time.Time) (string, error) {
	c := jwt.NewUserClaims(publicKey)
	c.SetScoped(true)
	c.Name = agent
	c.IssuerAccount = account
	// Not by Add, which makes it lower case: another site's name, then.
	c.Tags = jwt.TagList{siteTag + site}
	if !expires.IsZero() {
		c.Expires = expires.Unix()
	}
	return c.Encode(signer)
}

// revoke marks keys in the claims of an account and reports whether that
// changed anything.
func revoke(c *jwt.AccountClaims, keys []string) (changed bool) {
	for _, key := range keys {
		if c.Revocations[key] < forGood.Unix() {
			c.RevokeAt(key, forGood)
			changed = true
		}
	}
	return changed
}
