package sim

import (
	"context"
	"log/slog"
	"time"

	"github.com/tranship/tranship/coordinator/collect"
	"github.com/tranship/tranship/coordinator/dispatch"
	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/coordinator/reconcile"
	"github.com/tranship/tranship/internal/work"
)

const (
	window     = 6
	overdue    = 30 * time.Second
	abortDelay = 10 * time.Second
)

// A coordinator is a place where one lives after another.
type coordinator struct {
	*world
	name string
	life *life         // nil: none
	back time.Time     // when the next begins
	skew time.Duration // of its clock
}

// A life is a coordinator from its start to its death: the real parts of one,
// joined as package coordinator joins them. Its loops take their turns on
// their own, so that one may be held up while the others go on.
type life struct {
	*coordinator
	ctx       context.Context
	end       context.CancelFunc
	dead      bool
	dispatch  *dispatch.Dispatcher
	collect   *collect.Collector
	reconcile *reconcile.Reconciler
	claimed   map[work.ItemID]bool // by dispatch, neither published nor released
	ended     map[work.JobID]bool  // found in the table of open jobs and not to be open
}

func newCoordinator(w *world, name string) *coordinator {
	c := &coordinator{world: w, name: name, back: w.now}
	for _, loop := range []struct {
		name string
		turn func(*life)
	}{
		{"dispatch", (*life).dispatches}, {"collect", (*life).collects}, {"reconcile", (*life).reconciles},
		{"finish", (*life).finishes}, {"tidy", (*life).tidies}, {"controls", (*life).controls},
	} {
		w.actors = append(w.actors, &actor{name: name + " " + loop.name, step: func() {
			if l := c.alive(); l != nil {
				loop.turn(l)
			}
		}})
	}
	return c
}

// alive returns the life that is, or begins one. It is nil while there is none.
func (c *coordinator) alive() *life {
	if c.life != nil && !c.life.dead {
		return c.life
	}
	if c.back.After(c.now) {
		return nil
	}
	l := &life{coordinator: c, claimed: map[work.ItemID]bool{}, ended: map[work.JobID]bool{}}
	l.ctx, l.end = context.WithCancel(c.ctx)
	l.dispatch = dispatch.New(l, l, l, window)
	l.collect = collect.New(l, l, collect.Options{
		Planner: plan.Planner{Jitter: c.rng.Float64}, Queue: l, Ledger: l,
		Recorded: func(int) {}, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return c.now.Add(c.skew) },
	})
	l.reconcile = reconcile.New(l, l, reconcile.Options{OlderThan: overdue, Wait: func(context.Context) { l.wait(100 * time.Millisecond) }})
	c.life = l
	c.logf("%s: starts", c.name)
	return l
}

// die ends the life: whatever it still calls does nothing.
func (l *life) die() {
	l.dead, l.back = true, l.within(time.Minute)
	l.end()
	l.logf("%s: dies", l.name)
}

// call is the gate between a life and the ledger or the queue.
func (l *life) call(what string, do func() error) error {
	if l.chance(l.odds.freeze) {
		l.heldUp("before it can " + what)
	}
	switch {
	case l.dead:
		return errDead
	case l.chance(l.odds.die):
		l.die()
		return errDead
	case l.chance(l.odds.refuse):
		l.logf("%s: %s refused", l.name, what)
		return errRefused
	}
	err := do()
	if l.chance(l.odds.freeze) {
		l.heldUp("after it did " + what)
	}
	switch {
	case l.dead:
		return errDead
	case err != nil:
		return err
	case l.chance(l.odds.die):
		l.die()
		return errDead
	case l.chance(l.odds.unheard):
		l.logf("%s: did %s, but was told it failed", l.name, what)
		return errUnheard
	}
	return nil
}

// heldUp lets others go first.
func (l *life) heldUp(when string) {
	if l.depth < deepest {
		l.logf("%s: held up %s", l.name, when)
		l.others()
	}
}

// wait lets others go on for a while.
func (l *life) wait(d time.Duration) {
	l.pass(d)
	l.others()
}

// Failed implements the outages of dispatch and collect.
func (l *life) Failed(context.Context, error) {
	l.wait(time.Duration(l.rng.IntN(5000)) * time.Millisecond)
}

// Worked implements the outages of dispatch and collect.
func (l *life) Worked() {}

func (l *life) dispatches() {
	clear(l.claimed)
	if err := l.dispatch.Round(l.ctx); err != nil {
		l.logf("%s: dispatching: %v", l.name, err)
	}
	l.guard.dispatched(l)
}

func (l *life) collects() { l.collect.Turn(l.ctx) }

func (l *life) reconciles() {
	if _, err := l.reconcile.Round(l.ctx); err != nil {
		l.logf("%s: reconciling: %v", l.name, err)
	}
}

func (l *life) finishes() {
	var ended []work.Job
	err := l.call("finish jobs", func() (err error) {
		if ended, err = l.ledger.FinishJobs(l.ctx); err == nil {
			for _, j := range ended {
				l.logf("%s: job ended: %s %s", l.name, j.State, j.Error)
			}
		}
		return err
	})
	if err == nil && len(ended) > 0 {
		l.tell(ended[0].State)
	}
}

func (l *life) tidies() {
	_ = l.call("tidy", func() error {
		n, err := l.ledger.Janitor(l.ctx, abortDelay)
		if n > 0 {
			l.logf("%s: %d uploads given up", l.name, n)
		}
		return err
	}) // it is tried again
}

// controls repeats what agents must know of open jobs, and takes from the table
// what is not open for the second time: whoever wrote that may be dead.
func (l *life) controls() {
	_ = l.call("tell agents", func() error {
		open, err := l.ledger.OpenControls(l.ctx)
		if err != nil {
			return err
		}
		for id, c := range open {
			l.queue.controls[id] = c
		}
		for id := range l.queue.controls {
			_, isOpen := open[id]
			if !isOpen && l.ended[id] {
				delete(l.queue.controls, id)
			}
			l.ended[id] = !isOpen
		}
		return nil
	}) // it is tried again
}

// tell brings the queue up to what the ledger says, if the queue can be
// reached.
func (l *life) tell(s work.JobState) {
	_ = l.call("tell", func() error {
		if s.Open() || s == work.Canceled {
			l.queue.controls[l.job] = work.JobControl{State: s}
		} else {
			delete(l.queue.controls, l.job)
		}
		return nil
	}) // controls repeats it
	if s == work.Paused || s == work.Canceled {
		_ = l.call("purge", func() error {
			l.queue.purge()
			return nil
		}) // agents refuse what is left
	}
}

// The ledger as a coordinator's parts see it.

// ActiveSites implements dispatch.Claimer.
func (l *life) ActiveSites(ctx context.Context) (sites []string, err error) {
	err = l.call("find sites", func() (err error) {
		sites, err = l.ledger.ActiveSites(ctx)
		return err
	})
	return sites, err
}

// Claim implements dispatch.Claimer.
func (l *life) Claim(ctx context.Context, site string, window int) (items []work.Item, err error) {
	err = l.call("claim", func() (err error) {
		items, err = l.ledger.Claim(ctx, site, window)
		l.guard.handed(items)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		l.claimed[it.ID] = true
	}
	return items, nil
}

// Release implements dispatch.Claimer.
func (l *life) Release(ctx context.Context, items []work.Item) error {
	for _, it := range items {
		delete(l.claimed, it.ID)
	}
	return l.call("release", func() error {
		l.guard.released(items)
		return l.ledger.Release(ctx, items)
	})
}

// Record implements collect.Recorder.
func (l *life) Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (changed int, err error) {
	err = l.call("record", func() (err error) {
		decided := l.guard.recording(results)
		changed, err = l.ledger.Record(ctx, results, func(it work.Item, r work.Result) work.Verdict {
			v := decide(it, r)
			decided.add(it, r, v)
			return v
		})
		if err == nil {
			decided.commit(l.name)
		}
		return err
	})
	return changed, err
}

// Overdue implements reconcile.Ledger.
func (l *life) Overdue(ctx context.Context, olderThan time.Duration, limit int) (items []work.Item, err error) {
	err = l.call("look for overdue items", func() (err error) {
		l.guard.looked(l)
		items, err = l.ledger.Overdue(ctx, olderThan, limit)
		return err
	})
	return items, err
}

// Requeued implements reconcile.Ledger.
func (l *life) Requeued(ctx context.Context, items []work.Item) error {
	return l.call("note what was lost", func() error {
		l.guard.requeued(items)
		return l.ledger.Requeued(ctx, items)
	})
}
