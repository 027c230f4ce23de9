package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMigrateNATS takes the steps of deploy/MIGRATE-NATS.md: a job goes half-way
// with the queue inside the coordinator and ends on servers of their own, and
// the other way round would be the same.
func TestMigrateNATS(t *testing.T) {
	long(t)
	wantSteps(t, "nats.url", "nats.credentials", "nats.replicas", "systemctl stop tranship-coordinator", "systemctl start tranship-coordinator")
	f := found(t, nil)
	listen := freeAddress(t)
	f.coordinator, f.api = f.startCoordinator(t, "coordinator", "listen: "+listen)
	f.natsURL = "nats://" + listen
	f.startAgents(t, 1)
	src, dst := filepath.Join(f.dir, "src"), filepath.Join(f.dir, "dst")
	objects := newCorpus(12_000, newSeed(t))
	objects.toFolder(t, src)
	if err := os.Mkdir(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	id := f.submit(t, "file://"+src, "file://"+dst)
	eventually(t, "some of the objects", time.Minute, func() bool { return f.job(t, id).Copied > int64(len(objects))/4 })

	if code := f.coordinator.stop(t); code != 0 {
		t.Errorf("the coordinator ended with status %d", code)
	}
	for _, a := range f.agents {
		a.stop(t) // its results go nowhere: the queue is gone already
	}
	if open := f.number("SELECT open FROM tranship.jobs"); open < 1 {
		t.Fatalf("%d objects are open: nothing is left to prove", open)
	}
	c := startCluster(t)
	f.coordinator, f.api = f.startCoordinator(t, "coordinator", c.hub(t))
	f.natsURL = "nats://" + c.hosts["site-leaf"] + ":4222"
	f.startAgents(t, 1)
	j := f.awaitEnd(t, id, 5*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, folderInventory(t, dst), objects.inventory())
}

// wantSteps checks that the page's numbered steps speak of what the test does.
func wantSteps(t *testing.T, all ...string) {
	t.Helper()
	page, err := os.ReadFile("../../deploy/MIGRATE-NATS.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Join(regexp.MustCompile(`(?m)^\d\. .*$`).FindAllString(string(page), -1), "\n")
	for _, s := range all {
		if !strings.Contains(steps, s) {
			t.Errorf("no step speaks of %s", s)
		}
	}
}
