package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestLimitHolds lets two agents write to a store that is limited, and counts
// from outside what reaches it: while they do, after the limit was lowered, and
// while no coordinator is there, when nothing may move once the agents' shares
// are over. Then it goes on.
func TestLimitHolds(t *testing.T) {
	long(t)
	const high, low = 8 << 20, 3 << 20
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "limited-src")
	dst.CreateBucket(t, "limited-dst")
	rnd := rand.New(rand.NewPCG(seed, 9))
	objects := corpus{}
	for i := range 15 {
		objects[fmt.Sprintf("large/%d", i)] = randomBytes(rnd, 10<<20)
	}
	for i := range 500 {
		objects[fmt.Sprintf("small/%d", i)] = randomBytes(rnd, 100<<10)
	}
	objects.toBucket(t, src, "limited-src")
	wire := newWire(t, dst.Endpoint, 0)
	counted := *dst
	counted.Endpoint = wire.endpoint
	f := newLargeFleet(t, 2, append(profiles(t, src, &counted), "TRANSHIP_STREAMS=8"))

	limit := func(bytes int) {
		t.Helper()
		if r := f.cli(t, "limit", "set", "store", "s3://limited-dst", "--bytes", strconv.Itoa(bytes)); r.code != 0 {
			t.Fatal(r.stderr)
		}
	}
	limit(high)
	id := f.submit(t, src.URL("limited-src", ""), counted.URL("limited-dst", ""))
	keepsTo(t, &wire.sent, high)
	limit(low)
	time.Sleep(3 * time.Second) // in which the agents hear of it, and what they hold of the old one is used up
	keepsTo(t, &wire.sent, low)

	began := time.Now()
	f.coordinator.kill()
	f.second.kill()
	var still int64
	var since time.Time
	eventually(t, "nothing to move without coordinators", time.Minute, func() bool {
		if now := wire.sent.Load(); now != still {
			still, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	figures(t, "last_byte_without_coordinators_after", seconds(since.Sub(began)))
	f.coordinator.start(t)
	f.second.start(t)
	f.awaitReady(t)
	back := time.Now()
	eventually(t, "it to go on", time.Minute, func() bool { return wire.sent.Load() > still+1<<20 })
	figures(t, "goes_on_after", seconds(time.Since(back)))
	if f.over(t, id) {
		t.Error("the job was over too early: nothing was proved")
	}
	if r := f.cli(t, "limit", "rm", "store", "s3://limited-dst"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) {
		t.Errorf("job ended %s with %d copied, want succeeded with %d: %s", j.State, j.Copied, len(objects), j.Error)
	}
	f.handOuts(t)
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, dst, "limited-dst"), objects.inventory())
}

// keepsTo measures for windows of six seconds until most of what is allowed was
// used in one. In none may it be more.
func keepsTo(t *testing.T, sent *atomic.Int64, limit int64) {
	t.Helper()
	const window = 6 * time.Second
	eventually(t, "the limit to be used", 2*time.Minute, func() bool {
		before, began := sent.Load(), time.Now()
		time.Sleep(window)
		rate := float64(sent.Load()-before) / time.Since(began).Seconds()
		figures(t, "limit", limit, "used_percent", fmt.Sprintf("%.1f", 100*rate/float64(limit)))
		if rate > 1.1*float64(limit) {
			t.Errorf("%.0f bytes/s reached the store, the limit is %d", rate, limit)
		}
		return rate > 0.6*float64(limit)
	})
}
