package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestJoinGivesNoFileAway: root writes the identity of an agent into the folder
// of the agent's user, who swaps the draft for a link to a file of root's. That
// file stays root's.
func TestJoinGivesNoFileAway(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	const nobody = 65534
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "shadow")
	if err := errors.Join(os.Chown(dir, nobody, nobody), os.WriteFile(victim, []byte("root's"), 0o600)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var thief sync.WaitGroup
	thief.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if draft := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), identityFile+".") && e.Type().IsRegular() {
					_ = os.Remove(draft)
					_ = os.Symlink(victim, draft)
				}
			}
		}
	})
	for range 300 {
		_ = identity{Agent: "a"}.write(dir) // fails where the thief was in the way
	}
	close(done)
	thief.Wait()
	info, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("root's file belongs to user %d", uid)
	}
	if err := os.RemoveAll(filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if err := (identity{Agent: "a"}).write(dir); err != nil {
		t.Fatal(err)
	}
	if info, err = os.Lstat(filepath.Join(dir, identityFile)); err != nil || info.Sys().(*syscall.Stat_t).Uid != nobody || info.Mode() != 0o600 {
		t.Errorf("the identity is %v, %v, want it to be the agent's", info, err)
	}
}

// TestIdentityIsNoLinkOut: root reads the identity of an agent, which the
// agent's user made a link to what only root may read, and would hand a copy of
// it back.
func TestIdentityIsNoLinkOut(t *testing.T) {
	t.Parallel()
	other, dir := t.TempDir(), t.TempDir()
	if err := (identity{Agent: "other", Seed: "secret"}).write(other); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(other, identityFile), filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if id, found, err := readIdentity(dir); err == nil || found || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("readIdentity by a link = %+v, %v, %v, want an error", id, found, err)
	}
}
