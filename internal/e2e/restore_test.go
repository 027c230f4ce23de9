package e2e

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestRestoredFromDump restores the ledger from a dump that was made in the
// middle of a job, by the steps of the operator's guide. What was moved since
// is found at the target. A job that the dump does not know is lost, and its
// objects, items and ids are not taken for those of what comes after.
func TestRestoredFromDump(t *testing.T) {
	long(t)
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	kept, lost := newCorpus(2000, seed), newCorpus(1000, seed+1)
	for bucket, objects := range map[string]corpus{"kept": kept, "lost": lost} {
		src.CreateBucket(t, bucket)
		dst.CreateBucket(t, bucket)
		keepVersions(t, dst, bucket)
		objects.toBucket(t, src, bucket)
	}

	// One stream, so that the jobs last.
	f := newFleet(t, 2, append(profiles(t, src, dst), "TRANSHIP_STREAMS=1"))
	first := f.submit(t, src.URL("kept", ""), dst.URL("kept", ""))
	f.awaitCopied(t, first, 400)
	dump := filepath.Join(f.dir, "dump.sql")
	at := f.job(t, first).Copied
	command(t, "pg_dump", "--no-owner", "--file", dump, f.postgres.URL("tranship"))
	second := f.submit(t, src.URL("lost", ""), dst.URL("lost", ""))
	f.awaitCopied(t, second, 200)
	f.awaitCopied(t, first, 1200)
	t.Logf("dumped at %d objects; since then job %d came to %d, and job %d, created since, to %d",
		at, first, f.job(t, first).Copied, second, f.job(t, second).Copied)

	if code := f.coordinator.stop(t); code != 0 {
		t.Errorf("coordinator: exit status %d after SIGTERM, want 0", code)
	}
	f.restore(t, dump)
	began := time.Now()
	f.coordinator.start(t)
	f.awaitReady(t)
	t.Logf("ready %v after the restore", time.Since(began).Round(time.Millisecond))
	if said := f.coordinator.log.tail(1 << 20); !strings.Contains(said, "the ledger is older than the queue") {
		t.Error("the coordinator did not say that the ledger was restored")
	}

	again := f.submit(t, src.URL("lost", ""), dst.URL("lost", ""))
	if again <= second {
		t.Errorf("the first job after the restore has the id %d, and job %d was lost", again, second)
	}
	if r := f.cli(t, "job", "show", strconv.FormatInt(second, 10)); r.code == 0 {
		t.Errorf("job %d, which the dump does not know, is there: %s", second, r.stdout)
	}
	needless := 0
	for _, want := range []struct {
		job     int64
		bucket  string
		objects corpus
	}{{first, "kept", kept}, {again, "lost", lost}} {
		j := f.awaitEnd(t, want.job, 5*time.Minute)
		t.Logf("job %d: %s: %d copied, %d skipped, %d failed", j.ID, j.State, j.Copied, j.Skipped, j.Failed)
		if j.State != "succeeded" || j.Planned != int64(len(want.objects)) {
			t.Errorf("job %d ended %s with %d planned, want succeeded with %d: %s", j.ID, j.State, j.Planned, len(want.objects), j.Error)
		}
		f.wantInvariant(t, j)
		wantEqual(t, bucketInventory(t, dst, want.bucket), want.objects.inventory())
		needless += countVersions(t, dst, want.bucket) - len(want.objects)
	}
	all := len(kept) + len(lost)
	share := 100 * float64(needless) / float64(all)
	t.Logf("needless copies: %d of %d objects were written again: %.2f %%", needless, all, share)
	if share > 1 {
		t.Errorf("%.2f %% of the objects were copied again, want at most 1 %%", share)
	}
	if notes := f.sql(t, "SELECT count(*) FROM tranship.events WHERE what = 'restored' AND job_id = "+strconv.FormatInt(first, 10)); notes != "1" {
		t.Errorf("the job's history tells of the restore %s times, want once", notes)
	}
}

// TestRestoredFromDumpOfListed restores a dump that was made when all of a job
// was listed. Since then no ids were given out, so only the ledger's clock tells
// that it is older.
func TestRestoredFromDumpOfListed(t *testing.T) {
	long(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	objects := newCorpus(2000, newSeed(t))
	for _, s := range []*servers.S3{src, dst} {
		s.CreateBucket(t, "listed")
	}
	keepVersions(t, dst, "listed")
	objects.toBucket(t, src, "listed")
	f := newFleet(t, 2, append(profiles(t, src, dst), "TRANSHIP_STREAMS=1"))
	id := f.submit(t, src.URL("listed", ""), dst.URL("listed", ""))
	f.awaitCopied(t, id, 400)
	eventually(t, "the listing's end", time.Minute, func() bool {
		return f.sql(t, "SELECT count(*) FROM tranship.items WHERE kind = 'scan' AND state IN ('ready', 'queued')") == "0"
	})
	dump := filepath.Join(f.dir, "dump.sql")
	command(t, "pg_dump", "--no-owner", "--file", dump, f.postgres.URL("tranship"))
	ticks := func() int {
		n, err := strconv.Atoi(f.sql(t, "SELECT ticks FROM tranship.clock"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	dumped := ticks()
	// The queue learns of a tick before there is another.
	eventually(t, "the queue to know a later time", time.Minute, func() bool { return ticks() > dumped+1 })
	t.Logf("dumped at tick %d, and stopped at tick %d with %d objects copied", dumped, ticks(), f.job(t, id).Copied)

	if code := f.coordinator.stop(t); code != 0 {
		t.Errorf("coordinator: exit status %d after SIGTERM, want 0", code)
	}
	f.restore(t, dump)
	f.coordinator.start(t)
	f.awaitReady(t)
	if said := f.coordinator.log.tail(1 << 20); !strings.Contains(said, "the ledger is older than the queue") {
		t.Error("the coordinator did not say that the ledger was restored")
	}
	j := f.awaitEnd(t, id, 5*time.Minute)
	if j.State != "succeeded" || j.Planned != int64(len(objects)) {
		t.Errorf("the job ended %s with %d planned, want succeeded with %d: %s", j.State, j.Planned, len(objects), j.Error)
	}
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, dst, "listed"), objects.inventory())
	needless := countVersions(t, dst, "listed") - len(objects)
	t.Logf("%d copied, %d skipped, %d written again", j.Copied, j.Skipped, needless)
	if needless > len(objects)/100 {
		t.Errorf("%d of %d objects were written again, want at most 1 %%", needless, len(objects))
	}
}

// restore puts a dump in the place of the ledger.
func (f *fleet) restore(t testing.TB, dump string) {
	t.Helper()
	admin := f.postgres.URL("postgres")
	command(t, "psql", "-qX", "-v", "ON_ERROR_STOP=1", admin, "-c", "DROP DATABASE tranship", "-c", "CREATE DATABASE tranship")
	command(t, "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", f.postgres.URL("tranship"), "-f", dump)
}

// awaitCopied waits until so many objects of a job have arrived.
func (f *fleet) awaitCopied(t testing.TB, id, objects int64) {
	t.Helper()
	eventually(t, "objects to arrive", 3*time.Minute, func() bool { return f.job(t, id).Copied >= objects })
}

// command runs a program that has to succeed.
func command(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
