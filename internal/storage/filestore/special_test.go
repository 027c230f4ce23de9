package filestore

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// zoo is a folder with everything that is no file.
func zoo(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "d/file"), []byte("x"), 0o644))
	must(t, os.Symlink("file", filepath.Join(folder, "d/link")))
	must(t, os.Symlink("d", filepath.Join(folder, "dirlink")))
	must(t, os.Symlink("loop", filepath.Join(folder, "loop")))
	must(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))
	must(t, unix.Mkfifo(filepath.Join(folder, "fifo"), 0o644))
	return folder
}

func TestListIsLoudAboutSpecialFiles(t *testing.T) {
	t.Parallel()
	folder := zoo(t)
	ignore := func([]storage.Info) error { return nil }
	err := open(t, folder, "special=skip").List(t.Context(), work.Range{}, ignore)
	wantFault(t, "List", err, work.Unsupported, "symbolic link", "symlinks=skip")
	err = open(t, folder, "symlinks=skip").List(t.Context(), work.Range{}, ignore)
	wantFault(t, "List", err, work.Unsupported, "fifo", "special=skip")
	wantList(t, open(t, folder, "symlinks=skip&special=skip"), "d/file")

	// What lies outside the range is none of the listing's business.
	err = open(t, folder, "").List(t.Context(), work.Range{After: "loop", Upto: "z"}, ignore)
	must(t, err)
}

func TestKeysNeverLeadThroughLinks(t *testing.T) {
	t.Parallel()
	folder := zoo(t)
	s := open(t, folder, "")
	for _, key := range []string{"d/link", "dirlink", "dirlink/file", "loop", "dangling", "fifo"} {
		_, err := s.Stat(t.Context(), key)
		wantFault(t, "Stat("+key+")", err, work.Unsupported, "stands at")
		_, _, err = s.Get(t.Context(), key, "", 0, -1)
		wantFault(t, "Get("+key+")", err, work.Unsupported, "stands at")
		_, err = s.Put(t.Context(), key, strings.NewReader("new"), 3, storage.PutOptions{})
		wantFault(t, "Put("+key+")", err, work.Unsupported, "stands at")
		wantFault(t, "Delete("+key+")", s.Delete(t.Context(), key), work.Unsupported, "stands at")
	}
	body, _, err := s.Get(t.Context(), "d/file", "", 0, -1)
	must(t, err)
	defer body.Close()
	if b, err := io.ReadAll(body); string(b) != "x" || err != nil {
		t.Errorf("the file behind the links reads %q, %v, want x", b, err)
	}
}
