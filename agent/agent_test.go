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
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func allCopied(t *testing.T, r work.Result, n int) {
	t.Helper()
	if r.Fault != "" || len(r.Outcomes) != n {
		t.Fatalf("result %s %s with %d outcomes, want %d", r.Fault, r.Error, len(r.Outcomes), n)
	}
	for i, o := range r.Outcomes {
		if o.Outcome != work.Copied {
			t.Errorf("outcome of object %d is %+v, want copied", i, o)
		}
	}
}

func TestItemHasOneOutcomePerObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	list := objects(t, r.src, 100, 2000)
	list[10].Key = "missing"
	list[20].ETag = strings.Repeat("0", 32)
	list[30].Check = true
	put(t, r.dst, list[30].Key, storagetest.Bytes(30, 2000))
	r.dst = storagetest.Faulty(noCopy(r.dst.(*memstore.Store)), storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
		switch {
		case c.Op == "put" && c.Key == list[40].Key:
			return storagetest.Lost
		case c.Op == "put" && c.Key == list[50].Key:
			return storagetest.Denied
		}
		return ""
	}})
	a := r.start()
	it := item(7, list...)
	it.Epoch = 1
	res := r.result(it)
	want := map[int]work.ObjectOutcome{
		10: {Outcome: work.Failed, Fault: work.NotFound},
		20: {Outcome: work.Changed, Fault: work.SrcChanged},
		30: {Outcome: work.Skipped, Reason: "etag"},
		40: {Outcome: work.Retry, Fault: work.Transient},
		50: {Outcome: work.Failed, Fault: work.Denied},
	}
	for i, got := range res.Outcomes {
		if (got.Fault != "") != (got.Error != "") {
			t.Errorf("outcome of object %d is %+v", i, got)
		}
		got.Error, got.Checksum, got.Proof = "", "", ""
		w, ok := want[i]
		if !ok {
			w = work.ObjectOutcome{Outcome: work.Copied}
		}
		if got != w {
			t.Errorf("outcome of object %d is %+v, want %+v", i, got, w)
		}
	}
	if res.Agent != a.cfg.Name || res.Epoch != 1 || res.At.IsZero() || res.Moved < 95*2000 || res.Moved > 97*2000 {
		t.Errorf("result by %s of epoch %d at %v moved %d", res.Agent, res.Epoch, res.At, res.Moved)
	}
	a.stop()
	a.wait(t)
	r.gone(it)
	if p := a.Presence(); p.Objects != 98 || p.State != "draining" || p.Items != 0 || p.Streams != 0 {
		t.Errorf("presence %+v", p)
	}
}

func TestRedeliveredItemIsComparedFirst(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"delivered before", "of a later epoch", "of a later attempt"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			list := objects(t, r.src, 10, 2000)
			for i := range 5 {
				put(t, r.dst, list[i].Key, storagetest.Bytes(i, 2000))
			}
			it := item(1, list...)
			switch how {
			case "of a later epoch":
				it.Epoch = 2
			case "of a later attempt":
				it.Attempt = 2
			}
			r.publish(it)
			if how == "delivered before" {
				ds, err := r.hub.Take(testContext(t), "s", 1, patience)
				if err != nil || len(ds) != 1 {
					t.Fatal(err)
				}
				if err := ds[0].Nak(0); err != nil {
					t.Fatal(err)
				}
			}
			var tally storagetest.Tally
			r.dst = storagetest.Faulty(streamOnly{r.dst}, storagetest.Faults{Tally: &tally})
			r.start()
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
			allCopied(t, res, 10)
			for i, o := range res.Outcomes {
				if want := i < 5; (o.Reason == "present") != want {
					t.Errorf("object %d: %+v, want present: %v", i, o, want)
				}
			}
			if n := tally.Calls("put"); n != 5 {
				t.Errorf("%d objects were copied, want 5", n)
			}
		})
	}
}

func TestStoreThatCannotBeOpenedIsTheItemsFault(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	it := item(1, work.Object{Key: "k"})
	it.Target = "test://nowhere/"
	if res := r.result(it); res.Fault != work.Invalid || len(res.Outcomes) != 0 || res.Error == "" {
		t.Errorf("result %+v, want the fault %s", res, work.Invalid)
	}
	if res := r.result(item(2, objects(t, r.src, 1, 1)...)); res.Fault != "" {
		t.Errorf("the next item failed too: %+v", res)
	}
}

// At a shutdown what was begun is finished, and what was not goes back.
func TestDrainLosesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*running){
		"signal": func(a *running) { a.stop() },
		"drain":  func(a *running) { a.Drain() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			door := newDoorkeeper()
			r.dst = door
			list := objects(t, r.src, 20, 100)
			r.publish(item(1, list...))
			a := r.start(func(c *config.Agent) { c.Streams = 4 })
			door.knocks(t, 4)
			r.publish(item(2, list...), item(3, list...))
			r.eventually("an item waits", func() bool { return a.inHand() == 2 })
			end(a)
			r.eventually("the waiting item is given back", func() bool { return a.inHand() == 1 })
			if p := a.Presence(); p.Items != 1 || p.Streams != 4 {
				t.Errorf("presence %+v, want one item in hand", p)
			}
			close(door.open)
			a.wait(t)
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })
			if len(res) != 1 || res[0].Item != 1 {
				t.Fatalf("%d results, of %d", len(res), res[0].Item)
			}
			allCopied(t, res[0], 20)
			if left := r.waiting(2); len(left) != 2 || left[0].ID != 2 || left[1].ID != 3 {
				t.Errorf("%d items left on the queue, want 2 and 3", len(left))
			}
			r.gone(item(1, list...))
		})
	}
}

// What does not finish within the grace time goes back, whole.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*running){
		"grace": func(a *running) { a.stop() },
		"kill":  func(a *running) { a.Kill() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			door := newDoorkeeper()
			r.dst = door
			it := item(1, objects(t, r.src, 20, 100)...)
			r.publish(it)
			a := r.start(func(c *config.Agent) {
				c.Streams = 4
				if name == "grace" {
					c.Grace = config.Duration(50 * time.Millisecond)
				}
			})
			door.knocks(t, 4)
			end(a)
			a.wait(t)
			if left := r.waiting(1); len(left) != 1 || left[0].ID != 1 {
				t.Errorf("%d items on the queue, want the one that was not finished", len(left))
			}
			if n := door.puts.Load(); n != 4 {
				t.Errorf("%d objects were begun, want 4", n)
			}
		})
	}
}

func TestPausedJobIsPutDownAndResumed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.rest = 200 * time.Millisecond }
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
	r.prepare = func(a *Agent) { a.rest = 200 * time.Millisecond }
	door := newDoorkeeper()
	r.dst = door
	ctx := testContext(t)
	r.publish(item(1, objects(t, r.src, 1, 100)...))
	r.start()
	door.knocks(t, 1)
	r.eventually("it comes again", func() bool {
		// The agent may have begun to watch in between, and then knows of nothing.
		if err := errors.Join(r.hub.SetJob(ctx, 1, work.JobControl{State: work.Running}), r.hub.DropJob(ctx, 1)); err != nil {
			t.Fatal(err)
		}
		return door.puts.Load() > 1
	})
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
}

// One object that makes a driver panic harms no other.
func TestPanicIsOneObjectsFault(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 100, "in parts": 17 << 20} {
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

// An item that is delivered again to the agent that has it is not done twice.
func TestRepeatedDeliveryIsAdopted(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, time.Second)
	r.prepare = func(a *Agent) { a.ackWait = time.Hour } // so it says nothing of the item
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

func TestAgentShowsItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(testContext(t))
	beats := make(chan work.Presence, 100)
	ended := make(chan error, 1)
	go func() { ended <- r.hub.Beats(ctx, func(p work.Presence) { beats <- p }) }()
	defer func() { cancel(); <-ended }()
	a := r.start()
	r.start()
	r.eventually("it is seen", func() bool {
		select {
		case p := <-beats:
			return p.Agent == a.cfg.Name && p.Site == "s" && p.State == "running" && p.Limit == 8 && p.Version == "1.2.3"
		default:
			_ = a.bus.Beat(a.Presence())
			return false
		}
	})
	r.eventually("it drains", func() bool { return r.hub.Drain(ctx, "s", a.cfg.Name) == nil })
	a.wait(t)
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	if got["tranship_agent_streams_limit"] != 2 || got["tranship_agent_bytes_total"] != 2 {
		t.Errorf("metrics %v, want those of two agents", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := config.Agent{Name: "a", Site: "s", Streams: 1, Memory: 1 << 20}
	if _, err := New(good, Deps{}); err != nil {
		t.Errorf("New(%+v) = %v", good, err)
	}
	for _, bad := range []config.Agent{
		{Name: "a.b", Site: "s", Streams: 1, Memory: 1 << 20},
		{Name: "a", Site: "", Streams: 1, Memory: 1 << 20},
		{Name: "a", Site: "s", Memory: 1 << 20},
		{Name: "a", Site: "s", Streams: 1, Memory: 1},
	} {
		if _, err := New(bad, Deps{}); err == nil {
			t.Errorf("New(%+v) = nil, want an error", bad)
		}
	}
	for host, want := range map[string]string{"db1.example.org": "db1-example-org", "-x": "x", strings.Repeat("h", 60): strings.Repeat("h", 40)} {
		if got := nameOf(host); got != want {
			t.Errorf("nameOf(%q) = %q, want %q", host, got, want)
		}
	}
}
