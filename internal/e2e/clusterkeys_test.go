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
	"strings"
	"testing"
	"time"
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

// newFleetKeys makes the folder of keys of a fleet whose servers are its own, as
// an operator does: with site.creds, which are those of a site's leaf node.
func newFleetKeys(t testing.TB, site string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	must(t, nil, "fleet", "keys", "--out", dir)
	leaf := must(t, nil, "fleet", "leaf", "--keys", dir, "--site", site)
	if err := os.Rename(strings.TrimSpace(leaf.stdout), filepath.Join(dir, "site.creds")); err != nil {
		t.Fatal(err)
	}
	return dir
}
