package config

import (
	"errors"
	"fmt"
	"regexp"
)

// accountSyntax is that of an account's public key.
var accountSyntax = regexp.MustCompile(`^A[A-Z2-7]{55}$`)

// validateAccess reports what cannot be right of who is let in at the queue.
func (n NATS) validateAccess() error {
	return errors.Join(
		keyed("nats.auth", oneOf(n.Auth, "keys", "open")),
		keyed("nats.advertise", natsURL(NewSecret(n.Advertise))),
		keyed("nats.tls", n.TLS.validate()),
		keyed("nats.account", n.account()),
		keyed("nats.signing_key", n.signingKey()),
		keyed("nats.operator_key", n.operatorKey()),
	)
}

// validate reports whether half of what a server needs is missing.
func (t TLS) validate() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("certificate and key go together: name the files of both, or of neither")
	}
	return nil
}

func (n NATS) account() error {
	switch {
	case n.Account == "" && n.SigningKey.IsZero():
		return nil
	case n.Account == "":
		return errors.New("must be set with nats.signing_key: it is the account whose key that is (account.pub of tranship fleet keys)")
	case !accountSyntax.MatchString(n.Account):
		return fmt.Errorf("%q is not the public key of an account: 56 letters and digits that begin with A", n.Account)
	case n.URL.IsZero():
		return errors.New("is for servers that are not embedded: set nats.url too, or leave it out")
	}
	return nil
}

func (n NATS) signingKey() error {
	if n.Account != "" && n.SigningKey.IsZero() {
		return errors.New("must be set with nats.account, or no agent can join (signing.seed of tranship fleet keys)")
	}
	return nil
}

func (n NATS) operatorKey() error {
	switch {
	case n.OperatorKey.IsZero():
		return nil
	case n.Account == "":
		return errors.New("is of no use without nats.account and nats.signing_key")
	case n.SystemCredentials == "":
		return errors.New("is of no use without nats.system_credentials: agents are revoked by both")
	}
	return nil
}

func (n NATS) listen() error {
	loopback, err := isLoopback(n.Listen)
	switch {
	case err != nil:
		return err
	case loopback || !n.URL.IsZero():
		return nil
	case n.Auth == "open":
		return fmt.Errorf("%s is a public address: set nats.auth to keys, so that only your agents can connect", n.Listen)
	case n.TLS.Certificate == "":
		return fmt.Errorf("%s is a public address: set nats.tls.certificate and nats.tls.key, so that nobody on the way can read along, or listen on 127.0.0.1", n.Listen)
	}
	return nil
}
