package bus

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// smallDisk mounts a disk of its own for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a disk that can be filled must be mounted, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk is full, and returns what frees it again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := bytes.Repeat([]byte{1}, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A server whose disk is full says so, takes nothing, and goes on by itself
// once there is room, with all that it had confirmed.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "48m")
	s := startServer(t, ServerOptions{Dir: filepath.Join(disk, "nats"), Listen: "127.0.0.1:0", MaxStore: MinStore})
	inside, outside := connect(t, Options{Server: s}), connect(t, Options{URL: s.URL()})
	for _, err := range []error{inside.Setup(testContext(t)), inside.AddSite(testContext(t), "s")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	url := s.URL()
	list := items(work.Norm, 1, 1, 20)
	publish(t, inside, list...)
	free := fill(t, disk)
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
	if err := os.RemoveAll(filepath.Join(b.opt.Server.dir, "jetstream", "$G", "streams", resultsStream)); err != nil {
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
