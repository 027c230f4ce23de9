package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestPauseAndResumeAtOnce pauses and resumes a job of thousands of objects
// under load, again and again, and cancels another. It measures when the last
// byte moves and when the first does; what it asserts of that is generous. No
// attempt is used up, and next to nothing is copied twice.
func TestPauseAndResumeAtOnce(t *testing.T) {
	long(t)
	const n, rounds, streams = 6000, 4, 8
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	src.CreateBucket(t, "paused-src")
	dst.CreateBucket(t, "paused-dst")
	dst.CreateBucket(t, "canceled-dst")
	keepVersions(t, dst, "paused-dst")
	rnd := rand.New(rand.NewPCG(seed, 11))
	objects := corpus{}
	for i := range n {
		objects[fmt.Sprintf("k/%05d", i)] = randomBytes(rnd, 8<<10)
	}
	objects.toBucket(t, src, "paused-src")
	wire := newWire(t, dst.Endpoint, 2<<20) // a slow way, so that there is load all the time
	slow := *dst
	slow.Endpoint = wire.endpoint
	f := newFleet(t, 2, append(profiles(t, src, &slow), "TRANSHIP_STREAMS="+strconv.Itoa(streams)), ofLease(10*time.Minute))

	// moves waits until bytes move, or do not any more, and returns how long that
	// took since the command was given. Listing a target takes few bytes.
	command := func(id int64, verb string) time.Time {
		t.Helper()
		began := time.Now()
		if r := f.cli(t, "job", verb, strconv.FormatInt(id, 10)); r.code != 0 {
			t.Fatal(r.stderr)
		}
		return began
	}
	const few = 4 << 10
	stops := func() time.Time {
		t.Helper()
		last, at := wire.sent.Load(), time.Now()
		eventually(t, "nothing to move", time.Minute, func() bool {
			if now := wire.sent.Load(); now > last+few {
				last, at = now, time.Now()
			}
			return time.Since(at) > 3*time.Second
		})
		return at
	}
	moves := func() time.Time {
		t.Helper()
		before := wire.sent.Load()
		eventually(t, "bytes to move", time.Minute, func() bool { return wire.sent.Load() > before+10*few })
		return time.Now()
	}

	id := f.submit(t, "--compare", "none", src.URL("paused-src", ""), slow.URL("paused-dst", ""))
	moves()
	for range rounds {
		began := command(id, "pause")
		paused := stops().Sub(began)
		began = command(id, "resume")
		resumed := moves().Sub(began)
		figures(t, "paused_after", seconds(paused), "resumed_after", seconds(resumed))
	}
	if f.over(t, id) {
		t.Error("the job was over before the last pause: nothing was proved")
	}
	command(id, "pause")
	other := f.submit(t, "--compare", "none", src.URL("paused-src", ""), slow.URL("canceled-dst", ""))
	eventually(t, "the other to be copied", time.Minute, func() bool { return f.job(t, other).Copied > 0 })
	began := command(other, "cancel")
	figures(t, "canceled_after", seconds(stops().Sub(began)))
	command(id, "resume")
	wire.unlimited()
	j := f.awaitEnd(t, id, 3*time.Minute)
	if j.State != "succeeded" || j.Copied != n || j.Retries != 0 {
		t.Errorf("job ended %s with %d copied and %d retries, want succeeded with %d and none: %s", j.State, j.Copied, j.Retries, n, j.Error)
	}
	f.handOuts(t)
	// What begun when a pause came may be cut off after it was stored.
	if again := needless(t, dst, n, "paused-dst"); again > (rounds+1)*2*streams {
		t.Errorf("%d objects were copied again", again)
	}
	f.wantInvariant(t, j)
}
