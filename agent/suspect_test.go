package agent

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

// die takes an item as an agent that ends without a word does.
func (r *rig) die() {
	r.t.Helper()
	r.eventually("an agent takes an item", func() bool {
		ds, err := r.hub.Take(testContext(r.t), "s", 1, time.Second)
		if err != nil {
			r.t.Fatal(err)
		}
		return len(ds) == 1
	})
}

// suspect makes an item one.
func suspect(it work.Item) work.Item {
	it.Suspect = true
	return it
}

// An item that agents may have died of is touched by no other: the ledger is
// told, and decides.
func TestItemThatEndsAgentsIsNotTouched(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of     func(work.Item) work.Item
		deaths int
		text   string
	}{
		"any":     {func(it work.Item) work.Item { return it }, silentLimit, "agents ended without a word, 2 in a row, while they had it in hand"},
		"suspect": {suspect, 1, "agents ended without a word while they had it in hand"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigOf(t, time.Second)
			door := newDoorkeeper()
			close(door.open)
			r.dst = door
			it := tt.of(item(1, objects(t, r.src, 2, 100)...))
			r.publish(it)
			for range tt.deaths {
				r.die()
			}
			a := r.start()
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
			if res.Silent != tt.deaths || res.Fault != work.Internal || res.Error != tt.text || len(res.Outcomes) != 0 {
				t.Errorf("result %+v, want that it was not touched", res)
			}
			if n := door.puts.Load(); n != 0 {
				t.Errorf("%d objects were begun", n)
			}
			a.stop()
			a.wait(t)
			r.gone(it)
		})
	}
}

// What a coordinator of the version before has published may have been given
// back any number of times.
func TestSilences(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ackWait       time.Duration
		deliveries    int
		any, suspects int
	}{
		{time.Minute, 1, 0, 0}, {time.Minute, 2, 0, 1}, {time.Minute, 3, 2, 2},
		{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 1000, 0, 0},
	} {
		d := &bus.Delivery{Deliveries: tt.deliveries, AckWait: tt.ackWait}
		if n := silences(d); n != tt.any {
			t.Errorf("%d deliveries, told of %v: %d silences, want %d", tt.deliveries, tt.ackWait, n, tt.any)
		}
		d.Item.Suspect = true
		if n := silences(d); n != tt.suspects {
			t.Errorf("%d deliveries of a suspect, told of %v: %d silences, want %d", tt.deliveries, tt.ackWait, n, tt.suspects)
		}
	}
}

// One agent that ended is no reason: it may have been anything.
func TestItemIsTakenAfterOneDeath(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, time.Second)
	r.publish(item(1, objects(t, r.src, 2, 100)...))
	r.die()
	r.start()
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 2)
}

// An item that is given back again and again, for whatever reason, is not taken
// for one that ends agents; and one that is suspected is not so the first time.
func TestGivenBackIsNotSilent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		of    func(work.Item) work.Item
		times int
	}{
		"any":     {func(it work.Item) work.Item { return it }, 4},
		"suspect": {suspect, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.prepare = func(a *Agent) { a.rest = 10 * time.Millisecond }
			door := newDoorkeeper()
			r.dst = door
			r.publish(tt.of(item(1, objects(t, r.src, 1, 100)...)))
			for range tt.times {
				a := r.start(func(c *config.Agent) { c.Grace = config.Duration(time.Millisecond) })
				door.knocks(t, 1)
				a.stop()
				a.wait(t)
				returned, ack, err := r.hub.Results(testContext(t), 10, 100*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				for _, res := range returned {
					if !res.Returned || res.Silent > 0 || res.Fault != work.Throttled || !strings.Contains(res.Error, "given back") {
						t.Fatalf("result %+v, want that it was given back", res)
					}
					if err := ack(testContext(t)); err != nil {
						t.Fatal(err)
					}
					r.again(res.Item)
				}
			}
			close(door.open)
			r.start()
			allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
		})
	}
}

// A suspect is begun when nothing else is in hand, and nothing else is taken
// before it is done.
func TestSuspectIsAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.wait = patience }
	door := newDoorkeeper()
	r.dst = door
	list := objects(t, r.src, 3, 100)
	r.publish(item(1, list[0]))
	a := r.start()
	door.knocks(t, 1)
	r.publish(suspect(item(2, list[1])))
	r.eventually("it has the suspect in hand", func() bool { return a.inHand() == 2 })
	r.publish(item(3, list[2]))
	for want := range int64(2) {
		r.untaken(3)
		if n := door.puts.Load(); n != want+1 || door.inside.Load() != 1 {
			t.Errorf("%d objects were begun and %d are inside, want %d and one", n, door.inside.Load(), want+1)
		}
		door.open <- struct{}{}
		door.knocks(t, 1)
	}
	close(door.open)
	for _, res := range r.results(func(rs []work.Result) bool { return len(rs) == 3 }) {
		allCopied(t, res, 1)
	}
}

// untaken fails unless an item is there for anybody, however often it comes:
// an agent that waits for one would be the first.
func (r *rig) untaken(id work.ItemID) {
	r.t.Helper()
	for range 20 {
		ds, err := r.hub.Take(testContext(r.t), "s", 1, time.Second)
		if err != nil || len(ds) != 1 || ds[0].Item.ID != id {
			r.t.Fatalf("Take = %d items, %v, want item %d", len(ds), err, id)
		}
		if err := ds[0].Ack(); err != nil {
			r.t.Fatal(err)
		}
		r.gone(ds[0].Item) // and stores it again
	}
}

// A suspect is begun beside others when these take too long.
func TestSuspectDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.wait = 100 * time.Millisecond }
	door := newDoorkeeper()
	r.dst = door
	list := objects(t, r.src, 2, 100)
	r.publish(item(1, list[0]))
	r.start()
	door.knocks(t, 1)
	r.publish(suspect(item(2, list[1])))
	door.knocks(t, 1)
	close(door.open)
	r.results(func(rs []work.Result) bool { return len(rs) == 2 })
}

// A suspect whose store is away goes back at once, with no wait for the store
// nor for what else is in hand: the agent has other things to do.
func TestSuspectDoesNotWaitForItsStore(t *testing.T) {
	t.Parallel()
	r, src := moodyRig(t, unreachable())
	r.prepare = func(a *Agent) { a.wait, a.carrier.refused = time.Hour, time.Hour }
	door := newDoorkeeper()
	r.stores["other"], r.stores["there"] = memstore.New(), door
	list := objects(t, src.Store, 1, 100)
	list[0].ETag = "" // so that the source is asked
	r.publish(suspect(item(1, list...)))
	a := r.start()
	r.returned(1)

	other := item(2, objects(t, r.stores["other"], 1, 100)...)
	other.Source, other.Target = "test://other/", "test://there/"
	r.publish(other)
	door.knocks(t, 1)
	a.stores.mu.Lock()
	gate := &a.stores.open["test://src/"].gate
	a.stores.mu.Unlock()
	gate.mu.Lock()
	gate.until, gate.single = time.Now().Add(time.Hour), false
	gate.mu.Unlock()
	asked := src.asked.Load()
	r.again(1)
	r.returned(1)
	if n := src.asked.Load() - asked; n > 0 {
		t.Errorf("its store was asked %d times", n)
	}
	close(door.open)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
}

// returned waits until an item is given back by way of the ledger.
func (r *rig) returned(id work.ItemID) {
	r.t.Helper()
	ctx := testContext(r.t)
	got, ack, err := r.hub.Results(ctx, 1, patience)
	if err != nil || len(got) != 1 || !got[0].Returned || got[0].Item != id {
		r.t.Fatalf("results %+v, %v, want that item %d was given back", got, err, id)
	}
	if err := ack(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// A suspect waits for a store that wants it to slow down, but for no more than a
// moment.
func TestPatienceOfSuspect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := &carrier{lounge: &lounge{seats: 1}}
		f := &flight{total: new(atomic.Int64)}
		f.begin(&held{item: suspect(item(1)), moving: ctx, starting: ctx, taking: ctx})
		defer f.end()
		for why, want := range map[error]error{slowDown(0): nil, slowDown(time.Minute): errRefused, unreachable(): errRefused, expired(): errRefused} {
			e := &end{url: "test://dst/"}
			e.reached.Store(true)
			e.note(why)
			began := time.Now()
			err := new(turn).wait(ctx, c, f, e)
			if waited := time.Since(began) > 0; !errors.Is(err, want) || waited != (want == nil) {
				t.Errorf("%v: wait = %v after %v, want %v", why, err, time.Since(began), want)
			}
			if away := (pair{dst: e}).away(); away != (want != nil) {
				t.Errorf("%v: away %v", why, away)
			}
		}
	})
}

// Of several suspects that were taken at once all but one are given back, and
// later done one by one.
func TestSuspectsAreTakenOneByOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	door := newDoorkeeper()
	close(door.open)
	r.dst = door
	r.prepare = func(a *Agent) { a.busy.Store(-8 * work.MaxItemObjects) } // so it takes many
	for i, o := range objects(t, r.src, 8, 100) {
		r.publish(suspect(item(work.ItemID(i+1), o)))
	}
	r.start()
	for _, res := range r.results(func(rs []work.Result) bool { return len(rs) == 8 }) {
		allCopied(t, res, 1)
	}
	if most := door.most.Load(); most > 1 {
		t.Errorf("%d were in hand at once", most)
	}
	again := 0
	for _, it := range r.handed {
		again += it.Epoch - 1
	}
	if again != 7 {
		t.Errorf("%d were given back, want all but the first", again)
	}
}
