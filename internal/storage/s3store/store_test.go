package s3store

import (
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

// openURL opens a store that is closed when the test ends.
func openURL(t testing.TB, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.(*Store)
}

// newStore returns an empty store in a bucket of its own.
func newStore(t testing.TB, on *servers.S3, prefix string) *Store {
	t.Helper()
	bucket := "test-" + strings.ToLower(rand.Text())
	on.CreateBucket(t, bucket)
	return openURL(t, on.URL(bucket, prefix))
}

const allSums = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

func TestConformanceVersityGW(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	storagetest.Run(t, storagetest.Harness{
		New:     func(t *testing.T) storage.Store { return newStore(t, gw, "pre/fix") },
		Checks:  allSums,
		Vouches: storage.MD5,
		Skip: map[string]string{
			"Concurrent": "versitygw refuses an object while another is deleted beside it (ExistingObjectIsDirectory); see TestOverwrites",
		},
	})
}

func TestConformanceMinIO(t *testing.T) {
	t.Parallel()
	minio := servers.MinIO(t)
	storagetest.Run(t, storagetest.Harness{
		New:     func(t *testing.T) storage.Store { return newStore(t, minio, "pre/fix") },
		Checks:  allSums,
		Vouches: storage.MD5,
	})
}
