package servers_test

import (
	"os"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
)

func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }

func TestVersityGW(t *testing.T) {
	t.Parallel()
	s := servers.VersityGW(t)
	s.CreateBucket(t, "one")
	s.CreateBucket(t, "one")
	if again := servers.VersityGW(t); again != s {
		t.Errorf("a second server was started at %s, want the one at %s", again.Endpoint, s.Endpoint)
	}
}

func TestMinIO(t *testing.T) {
	t.Parallel()
	servers.MinIO(t).CreateBucket(t, "one")
}
