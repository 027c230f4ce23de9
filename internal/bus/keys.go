package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// keysFolder, below the folder of an embedded server, holds keysFile.
const (
	keysFolder = "keys"
	keysFile   = "seeds.json"
)

// A keyring is all keys of a fleet. Whoever has it can let anybody in.
type keyring struct {
	operator nkeys.KeyPair // vouches for the accounts
	vouching nkeys.KeyPair // the operator's too, for changing the fleet's account
	system   nkeys.KeyPair // the servers' own account
	fleet    nkeys.KeyPair // the account that all of ours is in
	agents   nkeys.KeyPair // signs agents' credentials; bound to their template

	// Users. Theirs do not change, so that what was given away can be taken back.
	coordinator, admin, viewer, sysadmin nkeys.KeyPair
}

// A slot is one key of a keyring, its kind and the name it is kept under.
type slot struct {
	name string
	kind nkeys.PrefixByte
	pair *nkeys.KeyPair
}

func (k *keyring) slots() []slot {
	return []slot{
		{"operator", nkeys.PrefixByteOperator, &k.operator},
		{"vouching", nkeys.PrefixByteOperator, &k.vouching},
		{"system", nkeys.PrefixByteAccount, &k.system},
		{"fleet", nkeys.PrefixByteAccount, &k.fleet},
		{"agents", nkeys.PrefixByteAccount, &k.agents},
		{"coordinator", nkeys.PrefixByteUser, &k.coordinator},
		{"admin", nkeys.PrefixByteUser, &k.admin},
		{"viewer", nkeys.PrefixByteUser, &k.viewer},
		{"sysadmin", nkeys.PrefixByteUser, &k.sysadmin},
	}
}

// newKeyring makes keys that nobody else has.
func newKeyring() (*keyring, error) {
	k := &keyring{}
	for _, s := range k.slots() {
		pair, err := nkeys.CreatePair(s.kind)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		*s.pair = pair
	}
	return k, nil
}

// openKeyring reads the keys that lie in dir, and makes them if there are none.
// A crash leaves all of them or none.
func openKeyring(dir string) (*keyring, error) {
	path := filepath.Join(dir, keysFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKeyring(dir, path)
	}
	k := &keyring{}
	if err == nil {
		err = k.UnmarshalJSON(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys of the queue: %w; restore %s from a backup, or remove it, after which every agent has to join anew", err, path)
	}
	return k, nil
}

func createKeyring(dir, path string) (*keyring, error) {
	k, err := newKeyring()
	if err != nil {
		return nil, err
	}
	text, err := k.MarshalJSON()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = writeSecret(path, text)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the keys of the queue: %w", err)
	}
	return k, nil
}

// MarshalJSON returns the seeds by their names.
func (k *keyring) MarshalJSON() ([]byte, error) {
	seeds := map[string]string{}
	for _, s := range k.slots() {
		seed, err := (*s.pair).Seed()
		if err != nil {
			return nil, err
		}
		seeds[s.name] = string(seed)
	}
	return json.MarshalIndent(seeds, "", "  ")
}

// UnmarshalJSON reads what MarshalJSON wrote. No key may be missing.
func (k *keyring) UnmarshalJSON(text []byte) error {
	var seeds map[string]string
	if err := json.Unmarshal(text, &seeds); err != nil {
		return err
	}
	for _, s := range k.slots() {
		pair, err := pairOf(s.kind, seeds[s.name])
		if err != nil {
			return fmt.Errorf("key %q: %w", s.name, err)
		}
		*s.pair = pair
	}
	return nil
}

// pairOf returns the key of a seed, which must be of that kind. Errors do not
// tell the seed.
func pairOf(kind nkeys.PrefixByte, seed string) (nkeys.KeyPair, error) {
	got, _, err := nkeys.DecodeSeed([]byte(seed))
	if err != nil {
		return nil, errors.New("it is not the seed of a key")
	}
	if got != kind {
		return nil, fmt.Errorf("it is the seed of the key of %s, not of %s", kindName(got), kindName(kind))
	}
	return nkeys.FromSeed([]byte(seed))
}

func kindName(k nkeys.PrefixByte) string {
	switch k {
	case nkeys.PrefixByteOperator:
		return "an operator"
	case nkeys.PrefixByteAccount:
		return "an account"
	case nkeys.PrefixByteUser:
		return "a user"
	}
	return "something else"
}

// public returns what may be shown of a key. It is for keys that are known to
// hold a public one, which are all that pairOf and newKeyring return.
func public(k nkeys.KeyPair) string {
	p, err := k.PublicKey()
	if err != nil {
		panic("bus: a key without a public one: " + err.Error())
	}
	return p
}

// NewKey returns a key for an agent: the seed is its secret, the public key is
// what it shows.
func NewKey() (seed, publicKey string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	text, err := pair.Seed()
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	return string(text), public(pair), nil
}

// FormatCredentials returns the text of a .creds file for what an agent was
// issued and the seed of its key.
func FormatCredentials(token, seed string) ([]byte, error) {
	text, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		return nil, fmt.Errorf("write credentials: %w", err)
	}
	return text, nil
}

// credentials returns the text of a .creds file of a user of the fleet's
// account, or of the system account.
func (k *keyring) credentials(name string, account, user nkeys.KeyPair, may jwt.Permissions, types ...string) ([]byte, error) {
	token, err := userJWT(name, account, user, may, types...)
	if err != nil {
		return nil, err
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, err
	}
	return FormatCredentials(token, string(seed))
}

// writeSecret puts text into a file that only its owner can read. A crash
// leaves the old file or the new one.
func writeSecret(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // which makes it 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it may be gone already
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
