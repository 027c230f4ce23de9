package blobstore

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// checks are all: the sums are compared on the way to the driver.
const checks = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

func open(t *testing.T, d Driver, raw string, b *blob.Bucket) storage.Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Opener(d, func(context.Context, *url.URL) (*blob.Bucket, error) { return b, nil })(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func safeKeys(d Driver) []string {
	return slices.DeleteFunc(storagetest.OddKeys(), func(key string) bool { return d.Safe("pre/fix/"+key) != nil })
}

func TestConformanceMemory(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store {
			return open(t, Memory, "blob://bucket/pre/fix", memblob.OpenBucket(nil))
		},
		Keys:    safeKeys(Memory),
		Checks:  checks,
		Vouches: storage.MD5,
	})
}

// folder are the ways of gocloud's file bucket, which the product does not
// use: file:// has a store of its own. It commits what it has when a body
// breaks off and lists out of order, and so shows that we notice both.
var folder = Driver{
	Name: "fileblob", MD5: true,
	Meta: storage.MetaTraits{Headers: true, User: true},
	Safe: func(key string) error {
		for part := range strings.SplitSeq(key, "/") {
			if part == "" || part == "." || part == ".." || len(part) > 200 || strings.HasSuffix(part, ".attrs") {
				return errors.New("no path")
			}
		}
		return safeAzure(key)
	},
}

func newFolder(t *testing.T) storage.Store {
	b, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, folder, "blob://bucket/pre/fix", b)
}

func TestConformanceFolder(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New:    newFolder,
		Keys:   safeKeys(folder),
		Checks: checks,
		Skip: map[string]string{
			"List":       "fileblob lists out of order; TestListRefusesDisorder shows that we notice",
			"NotFound":   "fileblob has no code for a file that stands where a folder should",
			"Delete":     "fileblob deletes folders",
			"Concurrent": "fileblob changes an object and its attributes one after the other",
		},
	})
}

func TestListRefusesDisorder(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	for _, key := range []string{"a/x", "a/y", "a/z", "a-b"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader(key), int64(len(key)), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil })
	if !storage.Is(err, work.Unsupported) {
		t.Errorf("List of a bucket out of order = %v, want a fault %q", err, work.Unsupported)
	}
}
