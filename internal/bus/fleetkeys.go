package bus

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// A KeyFile is a file with keys of a fleet, or what is made of them.
type KeyFile struct {
	Name   string
	Text   []byte
	Secret bool   // nobody but its owner may read it
	What   string // it is for
}

// accountsConfig is what a nats-server reads.
const accountsConfig = `# Whom these servers let in, made by tranship fleet keys. Include it in the
# configuration of each server of the cluster:
#
#	include ./accounts.conf
#
# Revocations are kept in the resolver's folder, which belongs to one server.
operator: %s
system_account: %s
resolver: {
	type: full
	dir: "/var/lib/nats/jwt"
	allow_delete: false
	interval: "2m"
}
resolver_preload: {
	%s: %s
	%s: %s
}
`

// NewFleetKeys makes the keys of a fleet whose servers are not embedded: for
// the servers, for coordinators and for people.
func NewFleetKeys() ([]KeyFile, error) {
	k, err := newKeyring()
	if err != nil {
		return nil, err
	}
	files, err := k.files()
	if err != nil {
		return nil, fmt.Errorf("make the keys of a fleet: %w", err)
	}
	return files, nil
}

func (k *keyring) files() ([]KeyFile, error) {
	operator, err := k.operatorClaims().Encode(k.operator)
	if err != nil {
		return nil, err
	}
	system, err := k.systemClaims().Encode(k.operator)
	if err != nil {
		return nil, err
	}
	fleet, err := k.fleetClaims().Encode(k.operator)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(accountsConfig, operator, public(k.system), public(k.system), system, public(k.fleet), fleet)
	files := []KeyFile{
		{"operator.jwt", []byte(operator + "\n"), false, "who vouches for the accounts; it stands in accounts.conf already"},
		{"accounts.conf", []byte(config), false, "for each NATS server: include it in its configuration"},
		{"account.pub", []byte(public(k.fleet) + "\n"), false, "nats.account of coordinators"},
	}
	for _, c := range []struct {
		name          string
		account, user nkeys.KeyPair
		may           jwt.Permissions
		what          string
	}{
		{"coordinator", k.fleet, k.coordinator, jwt.Permissions{}, "nats.credentials of coordinators"},
		{"system", k.system, k.sysadmin, systemPermissions(public(k.fleet)), "nats.system_credentials of coordinators: they revoke agents with it"},
		{"admin", k.fleet, k.admin, jwt.Permissions{}, "for people with the nats program who may do everything with the fleet's streams"},
		{"viewer", k.fleet, k.viewer, viewerPermissions(), "for people with the nats program who may only look"},
	} {
		text, err := k.credentials(c.name, c.account, c.user, c.may)
		if err != nil {
			return nil, err
		}
		files = append(files, KeyFile{c.name + ".creds", text, true, c.what})
	}
	for _, s := range []struct {
		name string
		pair nkeys.KeyPair
		what string
	}{
		{"signing.seed", k.agents, "nats.signing_key of coordinators (credential nats-signing-key): it signs agents' credentials, and cannot sign others"},
		{"operator.seed", k.vouching, "nats.operator_key of coordinators (credential nats-operator-key): with system.creds it changes the accounts of this operator"},
	} {
		seed, err := s.pair.Seed()
		if err != nil {
			return nil, err
		}
		files = append(files, KeyFile{s.name, append(seed, '\n'), true, s.what})
	}
	all, err := k.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return append(files, KeyFile{keysFile, all, true, "every key: lock it away, only tranship fleet leaf needs it"}), nil
}

// NewLeafCredentials returns the text of a .creds file for the leaf node of a
// site: a user of the fleet's account with a new key. keys is what the file with
// every key holds.
func NewLeafCredentials(keys []byte, site string) ([]byte, error) {
	k := &keyring{}
	if err := k.UnmarshalJSON(keys); err != nil {
		return nil, fmt.Errorf("read the keys of the fleet: %w", err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return k.credentials("leaf-"+site, k.fleet, user, leafPermissions(site), jwt.ConnectionTypeLeafnode)
}

// systemPermissions let coordinators read and change the fleet's account, and
// nothing else of the servers.
func systemPermissions(account string) jwt.Permissions {
	return jwt.Permissions{
		Pub: jwt.Permission{Allow: jwt.StringList{fmt.Sprintf(lookupSubject, account), updateSubject}},
		Sub: jwt.Permission{Allow: jwt.StringList{inboxPrefix + "coordinator.>"}},
	}
}
