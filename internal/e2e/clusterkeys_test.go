package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
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

// newFleetKeys makes the keys of a fleet as an operator does, and returns their
// folder. It holds site.creds too, which let a leaf node in.
func newFleetKeys(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	must(t, nil, "fleet", "keys", "--out", dir)
	text, err := os.ReadFile(filepath.Join(dir, "seeds.json"))
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.FromSeed([]byte(decode[map[string]string](t, string(text))["fleet"]))
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public)
	claims.Name, claims.Pub.Allow = "site", siteSubjects("default")
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "site.creds"), string(creds))
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
