package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// newCertificates makes a folder with ca.crt and, for all hosts together,
// server.crt and server.key.
func newCertificates(t testing.TB, hosts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nats"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, address := range hosts {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(address))
	}
	caKey, leafKey := newECKey(t), newECKey(t)
	writePEM(t, filepath.Join(dir, "ca.crt"), "CERTIFICATE", sign(t, ca, ca, caKey, caKey))
	writePEM(t, filepath.Join(dir, "server.crt"), "CERTIFICATE", sign(t, leaf, ca, leafKey, caKey))
	key, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "server.key"), "PRIVATE KEY", key)
	return dir
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, c, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	writeFile(t, path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// fleetKeys are the keys of a fleet whose servers are its own.
type fleetKeys struct {
	operator, system, account     nkeys.KeyPair
	operatorJWT, systemJWT, fleet string
}

func newFleetKeys(t testing.TB) *fleetKeys {
	t.Helper()
	k := &fleetKeys{operator: newKey(t, nkeys.PrefixByteOperator), system: newKey(t, nkeys.PrefixByteAccount), account: newKey(t, nkeys.PrefixByteAccount)}
	system := jwt.NewAccountClaims(publicKey(t, k.system))
	system.Name = "SYS"
	k.systemJWT = encode(t, system, k.operator)
	fleet := jwt.NewAccountClaims(publicKey(t, k.account))
	fleet.Name = "TRANSHIP"
	fleet.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1, MaxAckPending: -1}
	k.fleet = encode(t, fleet, k.operator)
	operator := jwt.NewOperatorClaims(publicKey(t, k.operator))
	operator.Name, operator.SystemAccount = "tranship", publicKey(t, k.system)
	k.operatorJWT = encode(t, operator, k.operator)
	return k
}

// accounts returns accounts.conf of the nodes.
func (k *fleetKeys) accounts(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: {type: full, dir: /var/lib/nats/jwt, allow_delete: false, interval: \"2m\"}\nresolver_preload: {\n  %s: %s\n  %s: %s\n}\n",
		k.operatorJWT, publicKey(t, k.system), publicKey(t, k.system), k.systemJWT, publicKey(t, k.account), k.fleet)
}

// creds makes a folder with the credentials of the coordinator, of people who
// may look and of a site's leaf node.
func (k *fleetKeys) creds(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	allow := func(subjects ...string) jwt.Permission { return jwt.Permission{Allow: subjects} }
	for name, may := range map[string]jwt.Permissions{
		"coordinator": {},
		"viewer":      {Pub: allow("$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*"), Sub: allow("_INBOX.>")},
		"site":        {Pub: allow(siteSubjects("default")...)},
	} {
		user := newKey(t, nkeys.PrefixByteUser)
		claims := jwt.NewUserClaims(publicKey(t, user))
		claims.Name, claims.Permissions = name, may
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(encode(t, claims, k.account), seed)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name+".creds"), string(text))
	}
	return dir
}

// siteSubjects are those that the agents of a site may publish to, as a leaf
// node passes them on.
func siteSubjects(site string) []string {
	work, jobs := "TRANSHIP_WORK_"+site, "KV_TRANSHIP_JOBS"
	allow := []string{
		"$JS.ACK." + work + ".>", "$JS.ACK.*.*." + work + ".>", "$JS.FC." + jobs + ".>", "$JS.FC.*.*." + jobs + ".>",
		"tranship.dead.work." + site + ".>", "tranship.result." + site + ".>", "tranship.beat." + site + ".*",
		"_INBOX_coordinator.>", // answers
	}
	for _, api := range []string{"$JS.API.", "$JS.hub.API."} {
		allow = append(allow, api+"CONSUMER.MSG.NEXT."+work+".*", api+"STREAM.INFO."+jobs,
			api+"CONSUMER.CREATE."+jobs+".>", api+"CONSUMER.DELETE."+jobs+".>")
	}
	return allow
}

func newKey(t testing.TB, kind nkeys.PrefixByte) nkeys.KeyPair {
	t.Helper()
	k, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicKey(t testing.TB, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func encode(t testing.TB, c jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	text, err := c.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
