package gcsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) {
	for _, e := range os.Environ() { // what the user has set up is not for tests
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "STORAGE_") || strings.HasPrefix(name, "GOOGLE_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(servers.Main(m))
}

// openURL opens a store that is closed when the test ends.
func openURL(t testing.TB, raw, emulator string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	s, err := openAt(t.Context(), u, storage.Credentials{}, emulator)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// newStore returns an empty store in a bucket of its own.
func newStore(t testing.TB, prefix string) *Store {
	t.Helper()
	server := servers.FakeGCS(t)
	bucket := "test-" + strings.ToLower(rand.Text())
	server.CreateBucket(t, bucket)
	return openURL(t, server.URL(bucket, prefix), server.Endpoint)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const allSums = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

// emulated are the ways in which fake-gcs-server keeps no conditions.
var emulated = map[string]string{
	"CopyFrom": "fake-gcs-server ignores conditions of a rewrite",
	"Commit":   "fake-gcs-server ignores conditions of a rewrite, by which parts get their name",
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store { return newStore(t, "pre/fix") },
		Keys: slices.DeleteFunc(storagetest.OddKeys(), func(key string) bool {
			return checkName("pre/fix/"+key) != nil
		}),
		Checks:  allSums,
		Vouches: storage.CRC32C | storage.MD5,
		Missing: func(t *testing.T) storage.Store {
			server := servers.FakeGCS(t)
			return openURL(t, server.URL("no-such-bucket", "pre/fix"), server.Endpoint)
		},
		Unconditional: emulated,
	})
}

// put stores a small object.
func put(t testing.TB, s *Store, key, content string, opts storage.PutOptions) storage.Info {
	t.Helper()
	in, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), opts)
	must(t, err)
	return in
}

// get reads an object whole.
func get(ctx context.Context, s *Store, key string) (string, error) {
	body, _, err := s.Get(ctx, key, "", 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

func wantContent(t testing.TB, s *Store, key, want string) {
	t.Helper()
	got, err := get(t.Context(), s, key)
	if err != nil || got != want {
		t.Errorf("Get(%q) = %.40q, %v; want %.40q", key, got, err, want)
	}
}

func wantFault(t testing.TB, what string, err error, want work.Fault) *storage.Error {
	t.Helper()
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != want {
		t.Errorf("%s = %v with fault %q, want %q", what, err, storage.FaultOf(err), want)
		return &storage.Error{}
	}
	return e
}
