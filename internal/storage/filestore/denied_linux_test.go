package filestore

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// powerless calls fn as a user for whom permissions count. The thread that it
// changes for that ends with the goroutine.
func powerless(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must(t, os.Chmod(folder, 0o755))
	must(t, os.Chmod(filepath.Dir(folder), 0o755))
	for _, dir := range []string{"a", "locked", "z"} {
		must(t, os.Mkdir(filepath.Join(folder, dir), 0o755))
		must(t, os.WriteFile(filepath.Join(folder, dir, "file"), []byte("x"), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(folder, "a/private"), []byte("x"), 0))
	must(t, os.Chmod(filepath.Join(folder, "locked"), 0))
	must(t, os.Chmod(folder, 0o555)) // it is this user's own, unless that is root
	t.Cleanup(func() {
		must(t, os.Chmod(folder, 0o755))
		must(t, os.Chmod(filepath.Join(folder, "locked"), 0o755))
	})
	s := open(t, folder, "")
	powerless(t, func() {
		err := s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil })
		wantFault(t, "List", err, work.Denied, "locked/", "incomplete")
		_, _, err = s.Get(t.Context(), "a/private", "", 0, -1)
		wantFault(t, "Get of a file without permission", err, work.Denied)
		_, err = s.Stat(t.Context(), "locked/file")
		wantFault(t, "Stat in a folder without permission", err, work.Denied)
		_, err = s.Put(t.Context(), "locked/new", strings.NewReader("x"), 1, storage.PutOptions{})
		wantFault(t, "Put in a folder without permission", err, work.Denied)
		_, err = s.Probe(t.Context(), true)
		wantFault(t, "Probe of a target without permission to write", err, work.Denied)
		if _, err = s.Probe(t.Context(), false); err != nil {
			t.Errorf("Probe of a source that can be read = %v", err)
		}
	})
}

// TestPassThroughFolder reads in a folder that may be passed but not listed.
func TestPassThroughFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must(t, os.Chmod(filepath.Dir(folder), 0o755))
	must(t, os.Mkdir(filepath.Join(folder, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "d/file"), []byte("x"), 0o644))
	must(t, os.Chmod(folder, 0o711))
	t.Cleanup(func() { must(t, os.Chmod(folder, 0o755)) })
	s := open(t, folder, "")
	powerless(t, func() {
		if _, err := s.Stat(t.Context(), "d/file"); err != nil {
			t.Errorf("Stat below a folder that can be passed = %v", err)
		}
	})
}
