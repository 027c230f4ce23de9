package agent

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

func TestPausedJobIsPutDownAndResumed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.rest = time.Hour } // so nothing of it may wait for that
	door := newDoorkeeper()
	r.dst = door
	list := objects(t, r.src, 20, 100)
	r.publish(item(1, list...), item(2, list...))
	a := r.start(func(c *config.Agent) { c.Streams = 4 })
	door.knocks(t, 4)
	ctx := testContext(t)
	if err := r.hub.SetJob(ctx, 1, work.JobControl{State: work.Paused}); err != nil {
		t.Fatal(err)
	}
	r.eventually("nothing of it moves", func() bool { return a.inHand() == 0 && door.inside.Load() == 0 })
	other := item(3, objects(t, r.src, 1, 100)...)
	other.Job = 2
	close(door.open)
	allCopied(t, r.result(other), 1)
	if n := door.puts.Load(); n != 5 {
		t.Errorf("%d objects were begun while the job was paused, want 5", n)
	}
	if err := r.hub.SetJob(ctx, 1, work.JobControl{State: work.Running}); err != nil {
		t.Fatal(err)
	}
	for _, res := range r.results(func(rs []work.Result) bool { return len(rs) >= 2 }) {
		allCopied(t, res, 20)
	}
}

func TestCanceledJobIsAbandoned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	door := newDoorkeeper()
	r.dst = door
	it := item(1, objects(t, r.src, 20, 100)...)
	r.publish(it)
	a := r.start(func(c *config.Agent) { c.Streams = 4 })
	door.knocks(t, 4)
	if err := r.hub.SetJob(testContext(t), 1, work.JobControl{State: work.Canceled}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is put down", func() bool { return a.inHand() == 0 && door.inside.Load() == 0 })
	late := item(2, it.Objects...)
	r.publish(late)
	r.eventually("late items are put down too", func() bool { return r.hub.Publish(testContext(t), []work.Item{late})[0].Stored })
	r.eventually("and again", func() bool { return a.inHand() == 0 })
	a.stop()
	a.wait(t)
	r.gone(it)
	if n := door.puts.Load(); n != 4 {
		t.Errorf("%d objects were begun, want 4", n)
	}
}

// A job of which the queue says nothing any more may be over, or forgotten.
func TestItemOfForgottenJobGoesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.rest = time.Second }
	door := newDoorkeeper()
	r.dst = door
	ctx := testContext(t)
	r.publish(item(1, objects(t, r.src, 1, 100)...))
	r.start()
	door.knocks(t, 1)
	r.eventually("it is put down", func() bool {
		// The agent may have begun to watch in between, and then knows of nothing.
		if err := errors.Join(r.hub.SetJob(ctx, 1, work.JobControl{State: work.Running}), r.hub.DropJob(ctx, 1)); err != nil {
			t.Fatal(err)
		}
		return door.inside.Load() == 0
	})
	r.eventually("it comes again", func() bool { return door.puts.Load() > 1 })
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
}

// One object that makes a driver panic harms no other.
func TestPanicIsOneObjectsFault(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 100, "in parts": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			list := objects(t, r.src, 3, size)
			r.dst = noCopy(r.dst.(*memstore.Store))
			r.src = poisoned{r.src, list[1].Key}
			a := r.start()
			res := r.result(item(1, list...))
			for i, o := range res.Outcomes {
				want := work.Copied
				if i == 1 {
					want = work.Retry
				}
				if o.Outcome != want || i == 1 && (o.Fault != work.Internal || !strings.Contains(o.Error, "a defect")) {
					t.Errorf("outcome of object %d is %+v, want %s", i, o, want)
				}
			}
			if used := a.carrier.budget.used.Load(); used != 0 {
				t.Errorf("%d bytes of the budget were not given back", used)
			}
			allCopied(t, r.result(item(2, list[0])), 1)
		})
	}
}

// poisoned makes whoever reads a key panic.
type poisoned struct {
	storage.Store
	key string
}

func (p poisoned) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if key == p.key {
		panic("a defect")
	}
	return p.Store.Get(ctx, key, etag, off, n)
}

// However many streams there are, the bytes they hold stay within the budget.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	door := newDoorkeeper()
	r.dst = door
	r.prepare = func(a *Agent) { a.carrier.sizes = usualSizes }
	list := objects(t, r.src, 40, 1<<20)
	r.publish(item(1, list...))
	a := r.start(func(c *config.Agent) { c.Streams, c.Memory = 32, 3<<20 })
	door.knocks(t, 3)
	if used := a.carrier.budget.used.Load(); used != 3<<20 {
		t.Errorf("%d bytes in use by three objects of 1 MiB", used)
	}
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 40)
	if most := door.most.Load(); most > 3 {
		t.Errorf("%d objects were held at once, want at most 3", most)
	}
	if peak := a.carrier.budget.peak.Load(); peak > 3<<20 {
		t.Errorf("%d bytes were held at once", peak)
	}
	if used := a.carrier.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes were not given back", used)
	}
}

// Objects of several items are moved at once when one item has too few.
func TestStreamsAreKeptBusy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	door := newDoorkeeper()
	r.dst = door
	for i, o := range objects(t, r.src, 12, 100) {
		r.publish(item(work.ItemID(i+1), o))
	}
	r.start()
	door.knocks(t, 8) // as many as there are streams
	if n := door.inside.Load(); n != 8 {
		t.Errorf("%d objects on their way, want 8", n)
	}
	close(door.open)
	r.results(func(rs []work.Result) bool { return len(rs) == 12 })
}

// An item that waits too long for a busy agent goes to an idle one.
func TestWaitingItemGoesToIdleAgent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.wait = 100 * time.Millisecond }
	door := newDoorkeeper()
	r.dst = door
	list := objects(t, r.src, 2, 100)
	r.publish(item(1, list[0]))
	busy := r.start(func(c *config.Agent) { c.Streams = 1 })
	door.knocks(t, 1)
	r.publish(item(2, list[1]))
	r.eventually("the item waits in vain", func() bool { return busy.inHand() == 2 })
	idle := r.start(func(c *config.Agent) { c.Streams = 1 })
	door.knocks(t, 1)
	if idle.inHand() != 1 {
		t.Errorf("the idle agent has %d items", idle.inHand())
	}
	close(door.open)
	r.results(func(rs []work.Result) bool { return len(rs) == 2 })
}

// An agent that has no room leaves the items on the queue until it has.
func TestCrowdedAgentTakesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.wait = 20 * time.Millisecond }
	door := newDoorkeeper()
	r.dst = door
	list := objects(t, r.src, 2, 100)
	r.publish(item(1, list[0]))
	a := r.start(func(c *config.Agent) { c.Streams = 1 })
	door.knocks(t, 1)
	r.publish(item(2, list[1]))
	r.eventually("the second was taken and given back", func() bool {
		ds, err := r.hub.Take(testContext(t), "s", 1, 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			return false
		}
		if err := ds[0].Ack(); err != nil {
			t.Fatal(err)
		}
		r.gone(ds[0].Item) // and stores it again
		return ds[0].Deliveries == 2
	})
	r.untaken(2)
	if n := a.inHand(); n != 1 {
		t.Errorf("it has %d items in hand", n)
	}
	close(door.open)
	for _, res := range r.results(func(rs []work.Result) bool { return len(rs) == 2 }) {
		allCopied(t, res, 1)
	}
}

func TestItemIsKeptWhileItIsWorkedOn(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, time.Second)
	door := newDoorkeeper()
	r.dst = door
	it := item(1, objects(t, r.src, 1, 100)...)
	r.publish(it)
	r.start()
	door.knocks(t, 1)
	if ds, err := r.hub.Take(testContext(t), "s", 1, 3*time.Second); err != nil || len(ds) != 0 {
		t.Fatalf("Take = %d items, %v, while the agent holds the only one", len(ds), err)
	}
	close(door.open)
	res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
	allCopied(t, res, 1)
	if n := door.puts.Load(); n != 1 {
		t.Errorf("it was copied %d times", n)
	}
}

// How long the queue waits is the coordinators' to say, whatever the agent is
// told by its own configuration.
func TestAckWaitIsTheQueues(t *testing.T) {
	t.Parallel()
	const wait = 2 * time.Second
	r := newRigOf(t, wait)
	r.ackWait = time.Hour // the agent's own
	door := newDoorkeeper()
	r.dst = door
	a := r.start()
	r.publish(item(1, objects(t, r.src, 1, 100)...))
	door.knocks(t, 1)
	lease := &a.all()[0].lease
	if got := lease.limit(); got != wait {
		t.Errorf("the lease lasts %v, want %v", got, wait)
	}
	if ds, err := r.hub.Take(testContext(t), "s", 1, 2*wait); err != nil || len(ds) != 0 {
		t.Fatalf("Take = %d items, %v, while the agent holds the only one", len(ds), err)
	}
	if lease.over() {
		t.Error("the lease is over although the queue was told in time")
	}
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
}

// An item that is delivered again to the agent that has it is not done twice.
func TestRepeatedDeliveryIsAdopted(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, time.Second)
	r.prepare = func(a *Agent) { a.ackWait = always(time.Hour) } // so it says nothing of the item
	door := newDoorkeeper()
	r.dst = door
	it := item(1, objects(t, r.src, 1, 100)...)
	r.publish(it)
	a := r.start()
	door.knocks(t, 1)
	first := a.all()[0]
	deliveries := func() int {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.delivery.Deliveries
	}
	r.eventually("it is delivered again", func() bool { return deliveries() > 1 })
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
	if n := door.puts.Load(); n != 1 {
		t.Errorf("it was copied %d times", n)
	}
	a.stop()
	a.wait(t)
	r.gone(it)
}

// What is done of an item is kept when a store refuses to be asked for the
// rest; an item of which nothing is done goes back as it is.
func TestItemThatIsRefusedInPart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		outcomes []work.ObjectOutcome
		ok       bool
		want     []work.Outcome
	}{
		"in part": {[]work.ObjectOutcome{{Outcome: work.Copied}, {}}, true, []work.Outcome{work.Copied, work.Retry}},
		"whole":   {[]work.ObjectOutcome{{}, {}}, false, nil},
	} {
		h := &held{agent: &Agent{}, item: work.Item{Kind: work.Copy}, outcomes: tt.outcomes}
		h.moving, h.abandon = context.WithCancelCause(t.Context())
		h.starting, h.stop = context.WithCancelCause(h.moving)
		h.stop(errRefused)
		r, ok := h.result()
		if ok != tt.ok {
			t.Errorf("%s: there is a result: %v", name, ok)
		}
		for i, want := range tt.want {
			if o := r.Outcomes[i]; o.Outcome != want || want == work.Retry && o.Fault != work.Throttled {
				t.Errorf("%s: object %d: %+v, want %s", name, i, o, want)
			}
		}
		h.abandon(nil)
	}
}
