package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestChaos kills and freezes every process of a fleet at random moments, one
// after another and several at once, while one job follows the other. What
// was asked for once must be done once: every object arrives, every counter
// holds, and no object is given up for what happened to the fleet. How much
// was done in vain, and how long the fleet took to recover, is printed.
// TRANSHIP_SOAK makes it last so many minutes.
func TestChaos(t *testing.T) {
	long(t)
	soak := time.Duration(setting(t, "TRANSHIP_SOAK", 0)) * time.Minute
	t.Run("queue inside the coordinator", func(t *testing.T) {
		chaos(t, "small", newFleet, max(30*time.Second, soak/2))
	})
	t.Run("two coordinators and a queue apart", func(t *testing.T) {
		chaos(t, "large", newLargeFleet, max(60*time.Second, soak/2))
	})
}

func chaos(t *testing.T, size string, newFleet func(testing.TB, int, []string, ...func(*fleet)) *fleet, length time.Duration) {
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	objects := newCorpus(2500, seed)
	objects["parts/big"] = randomBytes(rand.New(rand.NewPCG(seed, 3)), 70<<20) // three parts
	src.CreateBucket(t, "chaos-src")
	objects.toBucket(t, src, "chaos-src")

	f := newFleet(t, 3, append(profiles(t, src, dst), "TRANSHIP_STREAMS=2"))
	s := newStorm(t, f, seed)
	healed := make(chan recovery, 1)
	go func() {
		s.rage(length)
		healed <- newRecovery(f)
	}()

	var jobs []jobView
	var buckets []string
	for len(healed) == 0 {
		bucket := fmt.Sprintf("chaos-%s-%d", size, len(jobs))
		dst.CreateBucket(t, bucket)
		keepVersions(t, dst, bucket)
		id := f.order(t, src.URL("chaos-src", ""), dst.URL(bucket, ""))
		jobs, buckets = append(jobs, f.awaitEnd(t, id, length+10*time.Minute)), append(buckets, bucket)
	}
	s.print()
	(<-healed).print(t)
	f.handOuts(t)
	needless(t, dst, len(objects)*len(jobs), buckets...)
	if n := f.number("SELECT count(*) FROM tranship.jobs"); n != int64(len(jobs)) {
		t.Errorf("%d jobs in the ledger, %d were asked for", n, len(jobs))
	}
	for i, j := range jobs {
		if j.State != "succeeded" || j.Copied != int64(len(objects)) {
			t.Errorf("job %d ended %s with %d copied, want succeeded with %d: %s", j.ID, j.State, j.Copied, len(objects), j.Error)
			t.Log(f.cli(t, "job", "failures", strconv.FormatInt(j.ID, 10)).stdout)
		}
		f.wantInvariant(t, j)
		wantEqual(t, bucketInventory(t, dst, buckets[i]), objects.inventory())
	}
}
