package bus

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/smalldisk"
	"github.com/tranship/tranship/internal/work"
)

// A server whose disk is full says so, takes nothing, and goes on by itself
// once there is room, with all that it had confirmed.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	smalldisk.Mount(t, disk, "48m")
	s := startServer(t, ServerOptions{Dir: filepath.Join(disk, "nats"), Listen: "127.0.0.1:0", Open: true, MaxStore: MinStore})
	inside, outside := connect(t, Options{Server: s}), connect(t, Options{URL: s.URL()})
	for _, err := range []error{inside.Setup(testContext(t)), inside.AddSite(testContext(t), "s")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	url := s.URL()
	list := items(work.Norm, 1, 1, 20)
	publish(t, inside, list...)
	free := smalldisk.Fill(t, disk)
	n := 100
	eventually(t, "notice the full disk", func() bool {
		n++
		r := inside.Publish(testContext(t), items(work.Norm, 1, n, 1))[0]
		return r.Err != nil && errors.Is(inside.Healthy(testContext(t)), ErrFull)
	})
	free()
	eventually(t, "heal", func() bool { return inside.Healthy(testContext(t)) == nil && outside.Healthy(testContext(t)) == nil })
	if s.URL() != url {
		t.Errorf("it is at %s now, and was at %s", s.URL(), url)
	}
	wantThere(t, "after the full disk", inside, list)
	publish(t, inside, items(work.Norm, 2, 1000, 20)...)
}

// A stream whose folder went away, as that of a deleted one may take it along,
// is made anew.
func TestLostFolder(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	report(t, agent, 1)
	if err := os.RemoveAll(filepath.Join(b.opt.Server.dir, "jetstream", globalAccount, "streams", resultsStream)); err != nil {
		t.Fatal(err)
	}
	if err := b.Healthy(testContext(t)); !errors.Is(err, errHomeless) || !strings.Contains(err.Error(), resultsStream) {
		t.Errorf("Healthy = %v, want the stream that lost its folder", err)
	}
	eventually(t, "heal", func() bool {
		_, _, _ = b.Results(testContext(t), 1, 10*time.Millisecond) // misses the stream once the server was restarted
		return b.Healthy(testContext(t)) == nil
	})
	reported := make(chan error, 1)
	go func() { reported <- agent.Report(testContext(t), "s", "agent-1", result(1, 2)) }()
	_, settle := results(t, b, 1)
	settle()
	if err := <-reported; err != nil {
		t.Error(err)
	}
}
