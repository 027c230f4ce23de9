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
	loseQueue(t, "deleted", func(*fleet) string { return "" })
}

// TestQueueRestoredOld puts the queue back to what it was early in the job, as
// restoring a copy of its folder does. Items that are long done and results
// that are long recorded appear again, and must change nothing.
func TestQueueRestoredOld(t *testing.T) {
	long(t)
	loseQueue(t, "restored", func(f *fleet) string { return f.queue.keep(t) })
}

// loseQueue runs a job, calls keep early in it, and later puts the queue back
// to what keep returned.
func loseQueue(t *testing.T, name string, keep func(f *fleet) string) {
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	objects := newCorpus(6000, seed)
	objects["parts/big"] = randomBytes(rand.New(rand.NewPCG(seed, 3)), 70<<20) // three parts
	src.CreateBucket(t, name+"-src")
	dst.CreateBucket(t, name+"-dst")
	keepVersions(t, dst, name+"-dst")
	objects.toBucket(t, src, name+"-src")

	f := newLargeFleet(t, 3, append(profiles(t, src, dst), "TRANSHIP_STREAMS=2"))
	id := f.order(t, src.URL(name+"-src", ""), dst.URL(name+"-dst", ""))
	eventually(t, "the first objects", time.Minute, func() bool { return f.job(t, id).Copied > 0 })
	kept := keep(f)
	before := f.job(t, id)
	eventually(t, "half of the objects", 3*time.Minute, func() bool { return f.job(t, id).Copied > int64(len(objects))/2 })
	f.queue.lose(t, kept)
	r := newRecovery(f)
	j := f.awaitEnd(t, id, 5*time.Minute)
	r.print(t)
	figures(t, "copied_before", before.Copied)
	f.handOuts(t)

	// What the queue brought back is worked off before the last look.
	eventually(t, "the queue to be empty", 2*time.Minute, func() bool { return f.queue.idle(t) })
	needless(t, dst, len(objects), name+"-dst")
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	if after := f.job(t, id); after != j {
		t.Errorf("after its end the job went from %+v to %+v", j, after)
	}
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, dst, name+"-dst"), objects.inventory())
}
