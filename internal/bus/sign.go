package bus

import (
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/tranship/tranship/internal/work"
)

// Sign signs a text with the key that has the seed.
func Sign(seed string, text []byte) ([]byte, error) {
	key, err := pairOf(nkeys.PrefixByteUser, seed)
	if err != nil {
		return nil, fmt.Errorf("sign with the agent's key: %w", err)
	}
	defer key.Wipe()
	return key.Sign(text)
}

// Verify returns nil if the text was signed with the key, and an error that is
// work.ErrSignature if not.
func Verify(publicKey string, text, signature []byte) error {
	if err := CheckKey(publicKey); err != nil {
		return err
	}
	key, err := nkeys.FromPublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("read the agent's key: %w", err)
	}
	if err := key.Verify(text, signature); err != nil {
		return fmt.Errorf("%w: %w", work.ErrSignature, err)
	}
	return nil
}

// CheckKey reports why a text is not the public key of an agent, or nil if it
// is.
func CheckKey(publicKey string) error {
	if !nkeys.IsValidPublicUserKey(publicKey) {
		return fmt.Errorf("%w: the public key of a user of the queue begins with U, as NewKey makes it", work.ErrSignature)
	}
	return nil
}
