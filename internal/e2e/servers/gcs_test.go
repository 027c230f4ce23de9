package servers_test

import (
	"os"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
)

func TestFakeGCS(t *testing.T) {
	t.Parallel()
	s := servers.FakeGCS(t)
	s.CreateBucket(t, "one")
	s.CreateBucket(t, "one")
	if again := servers.FakeGCS(t); again != s {
		t.Errorf("a second server was started at %s, want the one at %s", again.Endpoint, s.Endpoint)
	}
	if got := os.Getenv("STORAGE_EMULATOR_HOST"); got != s.Endpoint {
		t.Errorf("STORAGE_EMULATOR_HOST = %q, want %q", got, s.Endpoint)
	}
}
