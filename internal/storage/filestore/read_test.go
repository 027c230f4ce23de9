package filestore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

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
