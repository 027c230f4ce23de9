package memstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New:     func(*testing.T) storage.Store { return New() },
		Keys:    storagetest.OddKeys(),
		Checks:  storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256,
		Vouches: storage.CRC32C | storage.MD5,
		Class:   "COLD", SetsModTime: true,
	})
}

func open(t *testing.T, raw string) storage.Store {
	t.Helper()
	s, err := storage.Drivers{"mem": Open}.Open(t.Context(), raw, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s storage.Store, key, content string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, s storage.Store) (keys []string) {
	t.Helper()
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestNames opens one store under several URLs.
func TestNames(t *testing.T) {
	t.Parallel()
	whole := open(t, "mem://names")
	put(t, open(t, "mem://names/a/b"), "x", "1")
	put(t, open(t, "mem://names/a/"), "b/y", "2")
	put(t, open(t, "mem://names?prefix=a/b"), "z", "3")
	put(t, open(t, "mem://other/a"), "x", "4")
	for raw, want := range map[string][]string{
		"mem://names":            {"a/b/x", "a/b/y", "a/bz"},
		"mem://names/a":          {"b/x", "b/y", "bz"},
		"mem://names/a/b":        {"x", "y"},
		"mem://names?prefix=a/b": {"/x", "/y", "z"},
		"mem://names/b":          nil,
		"mem://other":            {"a/x"},
	} {
		if got := list(t, open(t, raw)); !slices.Equal(got, want) {
			t.Errorf("List of %s = %q, want %q", raw, got, want)
		}
	}
	if err := open(t, "mem://names/a/b").Delete(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Stat(t.Context(), "a/b/x"); !storage.Is(err, work.NotFound) {
		t.Errorf("Stat of what was deleted under another URL = %v", err)
	}
}

func TestOpenChecksURL(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"mem:///prefix", "mem:name", "mem://name?region=x", "mem://name/a?prefix=b"} {
		if _, err := (storage.Drivers{"mem": Open}).Open(t.Context(), raw, storage.Credentials{}); !storage.Is(err, work.Invalid) {
			t.Errorf("Open(%s) = %v, want it refused", raw, err)
		}
	}
}
