package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestFleetKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "fleet", "keys", "--out", dir)
	for name, mode := range map[string]fs.FileMode{
		"accounts.conf": 0o644, "operator.jwt": 0o644, "account.pub": 0o644, "coordinator.creds": 0o600, "system.creds": 0o600,
		"viewer.creds": 0o600, "admin.creds": 0o600, "signing.seed": 0o600, "operator.seed": 0o600, "seeds.json": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %v", name, info, err, mode)
		}
		if !strings.Contains(w.stderr.String(), name) {
			t.Errorf("what is said does not name %s:\n%s", name, w.stderr.String())
		}
	}
	seed, err := os.ReadFile(filepath.Join(dir, "signing.seed"))
	if err != nil || !strings.HasPrefix(string(seed), "SA") {
		t.Errorf("the signing key is not the seed of an account: %v", err)
	}
	if out := w.stdout.String() + w.stderr.String(); strings.Contains(out, strings.TrimSpace(string(seed))) {
		t.Error("a secret was shown")
	}
	w.wantStatus(t, ExitFailed, "fleet", "keys", "--out", dir)
	if again, err := os.ReadFile(filepath.Join(dir, "signing.seed")); err != nil || string(again) != string(seed) {
		t.Errorf("a second run changed a key: %v", err)
	}
	w.wantStatus(t, ExitUsage, "fleet", "keys")
}

func TestFleetLeaf(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	w := newWorld(t)
	w.wantStatus(t, ExitFailed, "fleet", "leaf", "--keys", dir, "--site", "lab")
	w.wantStatus(t, ExitOK, "fleet", "keys", "--out", dir)
	w.wantStatus(t, ExitOK, "fleet", "leaf", "--keys", dir, "--site", "lab")
	path := filepath.Join(dir, "leaf-lab.creds")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v, want mode 0600", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	if may := claims.Pub.Allow; !may.Contains("tranship.result.lab.*.>") || may.Contains("tranship.result.>") || may.Contains(">") {
		t.Errorf("the leaf node may publish to %q", may)
	}
	w.wantStatus(t, ExitFailed, "fleet", "leaf", "--keys", dir, "--site", "lab")
	w.wantStatus(t, ExitUsage, "fleet", "leaf", "--keys", dir, "--site", "la/b")
	w.wantStatus(t, ExitUsage, "fleet", "leaf", "--site", "lab")
}
