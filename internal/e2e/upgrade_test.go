package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// previousCommit is the last one of the version before: a fleet of it must be
// replaced by this one piece by piece, under load. It moves on with each
// version that changes the schema or the messages.
const previousCommit = "08dd8c5"

// TestUpgrade replaces a fleet of the version before while a job runs: first
// the schema, beside the coordinator that serves; then an agent, which works
// for the old coordinator; then the coordinator, which works with the old
// agents; then the others. Nothing may be lost, and every step must get on.
func TestUpgrade(t *testing.T) {
	long(t)
	before := previousVersion(t)
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "upgrade-src")
	dst.CreateBucket(t, "upgrade-dst")
	keepVersions(t, dst, "upgrade-dst")
	objects := newCorpus(4000, seed)
	objects.toBucket(t, src, "upgrade-src")
	putBig(t, src, "upgrade-src", "big", 96<<20, seed)

	// The wire keeps the job alive until the last step.
	wire := newWire(t, dst.Endpoint, 3<<19)
	slow := *dst
	slow.Endpoint = wire.endpoint
	f := newFleet(t, 3, append(profiles(t, src, &slow), "TRANSHIP_STREAMS=2"), ofVersion(before))
	id := f.submit(t, src.URL("upgrade-src", ""), slow.URL("upgrade-dst", ""), "--split-size", "64MiB", "--max-attempts", "50")
	moves := func(what string) {
		t.Helper()
		was := f.job(t, id)
		if was.State != "running" {
			t.Fatalf("%s: the job is %s already, with %d copied: the wire is too fast", what, was.State, was.Copied)
		}
		eventually(t, "the job to get on: "+what, 5*time.Minute, func() bool {
			j := f.job(t, id)
			return j.Copied > was.Copied || j.State != "running"
		})
		t.Logf("%s: it gets on after %d objects", what, was.Copied)
	}
	moves("all of the version before")

	must(t, []string{"TRANSHIP_DATABASE_URL=" + f.ledger}, "migrate")
	moves("the schema is new")

	f.replace(t, f.agents[0], binary)
	moves("an agent is new, the coordinator is not")
	f.agents[1].kill()
	f.agents[2].kill()
	moves("new agent alone with the old coordinator")

	f.replace(t, f.coordinator, binary)
	f.awaitReady(t)
	f.agents[1].start(t)
	f.agents[2].start(t)
	f.agents[0].kill()
	moves("old agents with the new coordinator")

	f.agents[0].start(t)
	wire.unlimited()
	for _, a := range f.agents[1:] {
		f.replace(t, a, binary)
	}
	j := f.awaitEnd(t, id, 5*time.Minute)
	f.wantInvariant(t, j)
	if want := int64(len(objects) + 1); j.State != "succeeded" || j.Planned != want {
		t.Errorf("job ended %s with %d planned, want succeeded with %d: %s", j.State, j.Planned, want, j.Error)
	}
	wantEqual(t, bucketInventory(t, dst, "upgrade-dst"), bucketInventory(t, src, "upgrade-src"))
	written := countVersions(t, dst, "upgrade-dst")
	t.Logf("needless copies: %d of %d objects were written again", written-len(objects)-1, len(objects)+1)
}

// replace ends a daemon as systemd does and starts it in another version.
func (f *fleet) replace(t *testing.T, d *daemon, program string) {
	t.Helper()
	if code := d.stop(t); code != 0 {
		t.Errorf("%s ended with exit status %d", d.name, code)
	}
	d.argv[0] = program
	d.start(t)
}

// previousVersion builds the binary of the version before from the
// repository's history.
func previousVersion(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("git", "-C", root, "cat-file", "-e", previousCommit+"^{commit}").Run(); err != nil {
		t.Skipf("the version before (%s) is not in this checkout's history: fetch the whole of it to try the upgrade", previousCommit)
	}
	dir := t.TempDir()
	archive := exec.Command("git", "-C", root, "archive", "--output", filepath.Join(dir, "source.tar"), previousCommit)
	unpack := exec.Command("tar", "-xf", "source.tar")
	build := exec.Command("go", "build", "-o", "tranship", ".")
	unpack.Dir, build.Dir = dir, dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, cmd := range []*exec.Cmd{archive, unpack, build} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the version before: %v: %v\n%s", cmd, err, out)
		}
	}
	return filepath.Join(dir, "tranship")
}
