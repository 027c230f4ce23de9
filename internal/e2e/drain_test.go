package e2e

import (
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestDrain restarts every process of a fleet in turn under load by SIGTERM, as
// systemctl restart does. Each ends in order and in time: what it has in hand
// is finished or handed back, and what is done again is no more than that. No
// lease ends before the test does, so what is not handed back is missed.
func TestDrain(t *testing.T) {
	long(t)
	const streams, part = 4, 32 << 20
	seed := newSeed(t)
	src, dst := servers.VersityGW(t), servers.MinIO(t)
	objects := newCorpus(5000, seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	for _, key := range []string{"parts/1", "parts/2"} {
		objects[key] = randomBytes(rnd, 70<<20) // three parts each
	}
	src.CreateBucket(t, "drain-src")
	dst.CreateBucket(t, "drain-dst")
	keepVersions(t, dst, "drain-dst")
	objects.toBucket(t, src, "drain-src")

	// A slow way to the target, so that everything happens under load.
	wire := newWire(t, dst.Endpoint, 12<<20)
	slow := *dst
	slow.Endpoint = wire.endpoint
	f := newFleet(t, 3, append(profiles(t, src, &slow), "TRANSHIP_STREAMS=4"), ofLease(10*time.Minute))
	id := f.submit(t, "--split-size", "8MiB", src.URL("drain-src", ""), slow.URL("drain-dst", ""))
	eventually(t, "the job to move", time.Minute, func() bool { return f.job(t, id).Copied > 0 })
	for _, d := range append(f.agents, f.coordinator) {
		began := time.Now()
		if code := d.stop(t); code != 0 { // it waits as long as TimeoutStopSec of the units
			t.Errorf("%s: exit status %d after SIGTERM, want 0", d.name, code)
		}
		figures(t, "stopped", d.name, "after", seconds(time.Since(began)))
		d.start(t)
	}
	f.awaitReady(t)
	if f.over(t, id) {
		t.Error("the job was over before the last restart: nothing was proved")
	}
	j := f.awaitEnd(t, id, 5*time.Minute)
	if j.State != "succeeded" || j.Copied != int64(len(objects)) || j.Retries != 0 {
		t.Errorf("job ended %s with %d copied and %d retries, want succeeded with %d and none: %s",
			j.State, j.Copied, j.Retries, len(objects), j.Error)
	}
	f.handOuts(t)
	inHand := len(f.agents) * streams
	if n := needless(t, dst, len(objects), "drain-dst"); n > inHand {
		t.Errorf("%d objects were copied again, %d were in hand", n, inHand)
	}
	bytes := 0
	for _, b := range objects {
		bytes += len(b)
	}
	figures(t, "bytes", bytes, "sent", wire.sent.Load(), "in_hand_at_most", inHand*part)
	f.wantInvariant(t, j)
	wantEqual(t, bucketInventory(t, dst, "drain-dst"), objects.inventory())

	if code := f.coordinator.stop(t); code != 0 {
		t.Errorf("coordinator: exit status %d after SIGTERM, want 0", code)
	}
	if code := f.agents[0].stop(t); code != 0 {
		t.Errorf("agent without a coordinator: exit status %d after SIGTERM, want 0", code)
	}
}

// TestSecondSignal ends an agent that has something in hand which will not
// end: the first signal waits for it, the second does not.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	asked := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() }) // it is heard, and never answered
			asked <- struct{}{}
		}
	}()
	f := newFleet(t, 1, nil)
	url := "s3://bucket?region=us-east-1&use_path_style=true&anonymous=true&endpoint=http://" + silent.Addr().String()
	f.submit(t, url, "file://"+t.TempDir())
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("the agent never asked the source")
	}
	a := f.agents[0]
	a.signal(t, syscall.SIGTERM)
	select {
	case <-a.done:
		t.Fatal("the agent did not wait for what it had in hand")
	case <-time.After(2 * time.Second):
	}
	a.signal(t, syscall.SIGTERM)
	select {
	case <-a.done:
	case <-time.After(10 * time.Second): // its grace is 30 s
		t.Fatal("the second signal did not end the agent at once")
	}
}
