package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestZombieAgent takes an agent out of the world in the middle of a write,
// for longer than its lease. Another agent does its item; then the source
// changes and a second job brings the newer version to the target. When the
// zombie comes back, it goes on where it was: that must change neither a counter
// nor what stands at the target.
func TestZombieAgent(t *testing.T) {
	long(t)
	t.Run("cut off from the queue", func(t *testing.T) {
		z := newZombie(t, "cut")
		z.outlive(t, "a-late", "b-later") // of which it has the older versions
	})
	t.Run("frozen", func(t *testing.T) {
		z := newZombie(t, "frozen")
		z.agent.freeze()
		z.back = z.agent.thaw
		z.outlive(t, "a-late") // the rest is as it was
	})
}

// A zombie is an agent that others believe to be dead, with a write half-way
// that goes on when it is back.
type zombie struct {
	*fleet
	agent        *daemon
	queue, store *wire // its own ways to both
	back         func()

	src, dst *servers.S3
	bucket   string
	objects  corpus
	target   string
	id       int64 // of the job
}

// newZombie starts a fleet of one agent and a job, and cuts the agent off when
// it is in the middle of the first object. Its way to the target is slow, so
// that this can be seen.
func newZombie(t *testing.T, name string) *zombie {
	// versitygw looks at the conditions of a write when its body is there.
	z := &zombie{fleet: newLargeFleet(t, 0, nil), back: func() {},
		src: servers.MinIO(t), dst: servers.VersityGW(t), bucket: "zombie-" + name}
	seed := newSeed(t)
	rnd := rand.New(rand.NewPCG(seed, seed))
	z.objects = corpus{"a-late": randomBytes(rnd, 6<<20), "b-later": randomBytes(rnd, 1000)}
	for i := range 20 {
		z.objects[fmt.Sprintf("c/%d", i)] = randomBytes(rnd, 1000)
	}
	z.src.CreateBucket(t, z.bucket)
	z.dst.CreateBucket(t, z.bucket)
	z.objects.toBucket(t, z.src, z.bucket)
	// The endpoint is left to each agent's own profile.
	z.target = "s3://" + z.bucket + "?use_path_style=true&profile=" + z.dst.Profile

	z.queue, z.store = newWire(t, z.fleet.queue.address, 0), newWire(t, z.dst.Endpoint, 1<<20)
	slow := *z.dst
	slow.Endpoint = z.store.endpoint
	z.agent = z.startAgent(t, append(profiles(t, z.src, &slow),
		"TRANSHIP_NATS_URL=nats://"+z.queue.address, "TRANSHIP_STREAMS=1")...)
	z.id = z.submit(t, z.src.URL(z.bucket, ""), z.target)
	eventually(t, "a write to be half-way", time.Minute, func() bool { return z.store.sent.Load() > 2<<20 })
	z.queue.cut()
	z.store.cut()
	return z
}

// outlive has another agent do the zombie's job and a second one, which brings
// newer versions of the keys given, and lets the zombie come back.
func (z *zombie) outlive(t *testing.T, changed ...string) {
	z.startAgent(t, profiles(t, z.src, z.dst)...)
	first := z.awaitEnd(t, z.id, 2*time.Minute)
	want := corpus{}
	maps.Copy(want, z.objects)
	for _, key := range changed {
		want[key] = append([]byte("newer"), want[key][5:]...)
	}
	want.toBucket(t, z.src, z.bucket)
	id := z.submit(t, z.src.URL(z.bucket, ""), z.target)
	second := z.awaitEnd(t, id, 2*time.Minute)
	if first.State != "succeeded" || second.State != "succeeded" || second.Copied != int64(len(changed)) {
		t.Fatalf("before the zombie is back: %+v, %+v", first, second)
	}
	wantEqual(t, bucketInventory(t, z.dst, z.bucket), want.inventory())

	// Its way to the target comes back first: so its write ends before anybody
	// can tell it that there is no such job any more.
	half := z.store.sent.Load()
	z.back()
	z.store.mend()
	for sent := int64(-1); sent != z.store.sent.Load(); time.Sleep(3 * time.Second) {
		sent = z.store.sent.Load()
	}
	mended := z.sql(t, "SELECT now()")
	z.queue.mend()
	eventually(t, "the zombie to have put down what it held", 2*time.Minute, func() bool {
		now, ok := z.fleet.queue.stream(t, "TRANSHIP_RESULTS")
		return ok && now.Msgs == 0 && z.number(
			"SELECT count(*) FROM tranship.agents WHERE agent = 'agent-1' AND items = 0 AND last_seen > '"+mended+"'") == 1
	})
	figures(t, "sent_before", half, "sent_late", z.store.sent.Load()-half)
	for _, j := range []jobView{first, second} {
		if now := z.job(t, j.ID); now != j {
			t.Errorf("the zombie changed job %d from %+v to %+v", j.ID, j, now)
		}
		z.wantInvariant(t, j)
	}
	wantEqual(t, bucketInventory(t, z.dst, z.bucket), want.inventory())
}
