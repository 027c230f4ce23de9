package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestQueueDeleted takes everything that is on the queue away in the middle of
// a job: the ledger fills it again.
func TestQueueDeleted(t *testing.T) {
	long(t)
	l := newLoss(t, "deleted")
	l.amid(t, "")
	l.wantUnharmed(t)
}

// TestQueueRestoredOld puts the queue back to what it was early in a job, as
// restoring a copy of its folder does: once in the middle of the job, and again
// when it is over and a second job has brought newer versions of some objects.
// Items that are long done and results that are long recorded appear again, and
// must change nothing.
func TestQueueRestoredOld(t *testing.T) {
	long(t)
	l := newLoss(t, "restored")
	kept := l.queue.keep(t)
	l.amid(t, kept)
	l.wantUnharmed(t)

	newer, seed := corpus{}, uint64(0)
	for key, b := range l.objects {
		if len(b) > 0 && len(b) < 4096 && len(newer) < 1000 {
			seed++
			newer[key] = randomBytes(rand.New(rand.NewPCG(seed, seed)), len(b)+8)
			l.objects[key] = newer[key]
		}
	}
	newer.toBucket(t, l.src, l.bucket)
	l.start(t)
	if j := l.awaitEnd(t, l.jobs[1], 5*time.Minute); j.State != "succeeded" || j.Copied != int64(len(newer)) {
		t.Fatalf("second job: %+v, want %d copied", j, len(newer))
	}
	before := countVersions(t, l.dst, l.bucket)
	l.queue.lose(t, kept)
	l.awaitReady(t)
	l.wantUnharmed(t)
	figures(t, "written_again_of_jobs_that_are_over", countVersions(t, l.dst, l.bucket)-before)
}

// A loss is a fleet whose queue is lost during a job.
type loss struct {
	*fleet
	src, dst *servers.S3
	bucket   string // at both
	objects  corpus
	jobs     []int64
}

// newLoss starts a fleet and a job, and returns when it has begun to move.
func newLoss(t *testing.T, name string) *loss {
	seed := newSeed(t)
	l := &loss{src: servers.VersityGW(t), dst: servers.MinIO(t), bucket: "queue-" + name, objects: newCorpus(6000, seed)}
	l.objects["parts/big"] = randomBytes(rand.New(rand.NewPCG(seed, 3)), 70<<20) // three parts
	l.src.CreateBucket(t, l.bucket)
	l.dst.CreateBucket(t, l.bucket)
	keepVersions(t, l.dst, l.bucket)
	l.objects.toBucket(t, l.src, l.bucket)
	l.fleet = newLargeFleet(t, 3, append(profiles(t, l.src, l.dst), "TRANSHIP_STREAMS=2"))
	l.start(t)
	eventually(t, "the first objects", time.Minute, func() bool { return l.job(t, l.jobs[0]).Copied > 0 })
	return l
}

func (l *loss) start(t *testing.T) {
	t.Helper()
	l.jobs = append(l.jobs, l.submit(t, "--split-size", "8MiB", l.src.URL(l.bucket, ""), l.dst.URL(l.bucket, "")))
}

// amid puts the queue back to what was kept in the middle of the first job,
// and awaits the end of that.
func (l *loss) amid(t *testing.T, kept string) {
	t.Helper()
	id, all := l.jobs[0], int64(len(l.objects))
	begun := l.job(t, id).Copied
	eventually(t, "half of the objects", 3*time.Minute, func() bool { return l.job(t, id).Copied > all/2 })
	l.queue.lose(t, kept)
	r := newRecovery(l.fleet)
	j := l.awaitEnd(t, id, 5*time.Minute)
	r.print(t)
	if j.State != "succeeded" || j.Copied != all {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, all, j.Error)
	}
	l.handOuts(t)
	figures(t, "copied_when_kept", begun)
	l.awaitIdle(t)
	needless(t, l.dst, len(l.objects), l.bucket)
}

// awaitIdle waits until what the queue has brought back is worked off.
func (l *loss) awaitIdle(t *testing.T) {
	t.Helper()
	eventually(t, "the queue to be empty", 3*time.Minute, func() bool { return l.queue.idle(t) })
}

// wantUnharmed checks that nothing that the queue brings back changes a job
// that is over, or what stands at the target.
func (l *loss) wantUnharmed(t *testing.T) {
	t.Helper()
	var before []jobView
	for _, id := range l.jobs {
		before = append(before, l.job(t, id))
	}
	l.awaitIdle(t)
	for _, j := range before {
		if now := l.job(t, j.ID); now != j {
			t.Errorf("job %d is over and went from %+v to %+v", j.ID, j, now)
		}
		l.wantInvariant(t, j)
	}
	wantEqual(t, bucketInventory(t, l.dst, l.bucket), l.objects.inventory())
}
