package filestore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestChangedWhileRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"grown":       func(p string) error { return appendTo(p, "more") },
		"shrunk":      func(p string) error { return os.Truncate(p, 1000) },
		"overwritten": func(p string) error { return overwrite(p) },
		"emptied":     func(p string) error { return os.Truncate(p, 0) },
	} {
		folder := t.TempDir()
		s := open(t, folder, "")
		in := put(t, s, "a", string(storagetest.Bytes(1, 200_000)), storage.PutOptions{})
		for _, etag := range []string{in.ETag, ""} {
			put(t, s, "a", string(storagetest.Bytes(1, 200_000)), storage.PutOptions{})
			if etag != "" {
				in, err := s.Stat(t.Context(), "a")
				must(t, err)
				etag = in.ETag
			}
			body, _, err := s.Get(t.Context(), "a", etag, 0, -1)
			must(t, err)
			head := make([]byte, 100)
			_, err = body.Read(head)
			must(t, err)
			must(t, change(filepath.Join(folder, "a")))
			// ReadFull is content with its last byte; it must not get it.
			rest := bytes.NewBuffer(nil)
			_, err = rest.ReadFrom(body)
			wantFault(t, "reading a file that was "+name, err, work.SrcChanged)
			must(t, body.Close())
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("other"), 150_000)
	return err
}

// TestStoreIsGone reads from a folder that has been taken away, as a file
// system is whose server is gone: that is no object's fault.
func TestStoreIsGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mounted")
	s := open(t, dir, "")
	put(t, s, "there", "x", storage.PutOptions{})
	for _, tt := range []struct {
		name string
		gone bool
	}{{"absent", false}, {"there", true}} {
		if tt.gone {
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := s.Get(t.Context(), tt.name, "", 0, -1)
		var e *storage.Error
		if !errors.As(err, &e) || e.Fault != work.NotFound || e.Unreachable != tt.gone {
			t.Errorf("Get(%s) = %+v, want not found and unreachable %v", tt.name, e, tt.gone)
		}
	}
	var e *storage.Error
	if err := s.List(t.Context(), work.Range{}, nil); !errors.As(err, &e) || e.Fault != work.NotFound || e.Unreachable {
		t.Errorf("List = %+v, want not found alone: the folder may be a target's, still to be made", e)
	}
	for no, want := range map[unix.Errno]bool{unix.ENOTCONN: true, unix.EHOSTDOWN: true, unix.EIO: false, unix.ESTALE: false} {
		for _, err := range []error{no, naming("k", no)} {
			if e := s.fail("list", "", err); e.Unreachable != want || e.Fault != work.Transient {
				t.Errorf("fail(%v) = %+v, want unreachable %v", err, e, want)
			}
		}
	}
}
