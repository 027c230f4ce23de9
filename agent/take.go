package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	takeWait = 5 * time.Second // for an item, before asking again
	// waitLimit is how long an item may wait in hand for a stream before it
	// goes back to the queue, where an idle agent may be waiting for it.
	waitLimit = 10 * time.Second
	// takeMost is how many items are taken at once by an agent that is idle.
	takeMost = 16
)

// take keeps one item ready for the streams, and takes more at once only when
// so many are needed to keep all of them busy. While there was no room for an
// item lately, it takes the next only when it is asked for, and while there are
// suspects about, one at a time.
func (a *Agent) take(taking, moving context.Context, ready chan<- *held) {
	defer close(ready)
	tasks := float64(work.MaxItemObjects) // of an item, on average
	crowded, wary := false, 0
	for taking.Err() == nil {
		if crowded {
			crowded = a.unasked(taking) >= a.wait
		}
		idle := float64(int64(min(a.cfg.Streams, a.lanes.streams())) - a.busy.Load())
		n := min(max(int(math.Ceil(idle/tasks)), 1), takeMost)
		if wary = max(wary-1, 0); wary > 0 {
			n = 1
		}
		ackWait := a.ackWait()
		found, err := a.bus.Take(taking, a.cfg.Site, n, takeWait)
		if a.ackWait() != ackWait {
			notify(a.sooner)
		}
		if err != nil && taking.Err() == nil {
			a.log.WarnContext(taking, "no items taken", "err", err)
			_ = sleep(taking, time.Second) // the loop looks at taking itself
		}
		var inHand, suspects []*held
		for _, d := range found {
			switch h := a.hold(taking, moving, d); {
			case h == nil:
			case h.item.Suspect:
				suspects = append(suspects, h)
			default:
				inHand = append(inHand, h)
				tasks += (float64(h.tasks()) - tasks) / 8
			}
		}
		if len(suspects) > 0 {
			wary = waryFor
		}
		crowded = a.offer(taking, inHand, ready) || crowded
		crowded = a.offerAlone(taking, suspects, ready) || crowded
	}
}

// offer hands items to the feeder. When that has no room for long, it gives
// the rest back to the queue and reports that it did.
func (a *Agent) offer(taking context.Context, items []*held, ready chan<- *held) (crowded bool) {
	limit := time.NewTimer(a.wait)
	defer limit.Stop()
	for _, h := range items {
		why := errBusy
		if !crowded {
			select {
			case ready <- h:
				continue
			case <-h.starting.Done():
			case <-taking.Done():
				why = errStopping
			case <-limit.C:
				crowded = true
			}
		}
		h.stop(why)
		h.settle()
	}
	return crowded
}

// unasked waits until the feeder asks for an item and returns how long it did
// not.
func (a *Agent) unasked(taking context.Context) time.Duration {
	since := time.Now()
	select {
	case <-a.asks:
	case <-taking.Done():
	}
	return time.Since(since)
}

// stream does one task at a time.
func (a *Agent) stream(f *flight) {
	for {
		select {
		case a.idle <- struct{}{}:
		case <-a.over:
			return
		}
		t, ok := <-a.tasks
		if !ok {
			return
		}
		if t.starting.Err() == nil && a.carrier.streams.Acquire(t.moving, 1) == nil {
			a.do(t, f)
			a.carrier.streams.Release(1)
		}
		t.leave()
		t.done(1)
	}
}

// do does a task, unless it must be put down before it is done.
func (a *Agent) do(t task, f *flight) {
	a.busy.Add(1)
	defer a.busy.Add(-1)
	ctx := f.begin(t.held)
	defer func() { t.moved.Add(f.end()) }()
	switch t.item.Kind {
	case work.Scan:
		t.err = a.guard(ctx, t, f, func() error { return a.scan(ctx, t.held, f) })
		t.refused(t.err)
		t.finished = t.err == nil
	case work.Copy, work.Begin:
		a.object(ctx, t, f)
	default:
		t.err = a.guard(ctx, t, f, func() error { return a.big(ctx, t, f) })
		t.refused(t.err)
		t.lapsed(t.err)
	}
}

// transfer is that of an object of an item.
func (a *Agent) transfer(t task, f *flight) *transfer {
	return &transfer{carrier: a.carrier, pair: t.pair, options: t.item.Options, obj: t.item.Objects[t.object], again: t.again, attempt: t.item.Attempt,
		flight: f, lease: &t.lease}
}

// object copies an object, or opens an upload for it.
func (a *Agent) object(ctx context.Context, t task, f *flight) {
	began := time.Now()
	tr := a.transfer(t, f)
	if t.item.Kind == work.Begin {
		tr.carrier, tr.opening = a.carrier.forBegin(t.item.Options), &t.opening
	}
	var out work.ObjectOutcome
	err := a.guard(ctx, t, f, func() (err error) {
		out, err = tr.run(ctx)
		return err
	})
	if err != nil && (t.moving.Err() != nil || t.refused(err) || t.lapsed(err)) {
		return // put down
	}
	if err != nil {
		out = outcomeOf(err)
		a.metrics.faults.WithLabelValues(string(out.Fault)).Inc()
		a.log.DebugContext(ctx, "object not copied", "job", t.item.Job, "item", t.item.ID,
			"key", work.Quote(tr.obj.Key), "outcome", out.Outcome, "err", err)
	}
	t.outcomes[t.object] = out
	if l := t.pair.lane; l != nil && out.Outcome == work.Copied {
		l.worth.Add(objectWorth)
	}
	a.tried(out, began)
}

// big does a part, a finish or an abort.
func (a *Agent) big(ctx context.Context, t task, f *flight) error {
	began := time.Now()
	tr := a.transfer(t, f)
	switch t.item.Kind {
	case work.Part:
		p, err := tr.storePart(ctx, t.item, &a.vouched)
		t.part, t.finished = &p, err == nil
		return err
	case work.Finish:
		out, err := tr.finish(ctx, t.item)
		if err == nil {
			t.outcomes[t.object] = out
			a.tried(out, began)
		}
		return err
	}
	err := tr.giveUp(ctx, t.item)
	t.finished = err == nil
	return err
}

// tried counts an object.
func (a *Agent) tried(out work.ObjectOutcome, began time.Time) {
	if out.Outcome.Final() {
		a.objects.Add(1)
	}
	a.metrics.objects.WithLabelValues(string(out.Outcome)).Inc()
	a.metrics.objectSeconds.Observe(time.Since(began).Seconds())
}

// guard runs what a stream does, so that neither a panic nor a stall of one
// object harms another.
func (a *Agent) guard(ctx context.Context, t task, f *flight, fn func() error) (err error) {
	began := time.Now()
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{value: r, stack: debug.Stack()}
		}
		var p *panicked
		if errors.As(err, &p) {
			a.metrics.panics.Inc()
			a.log.ErrorContext(ctx, "panic", "job", t.item.Job, "item", t.item.ID, "object", t.object,
				"panic", fmt.Sprint(p.value), "stack", string(p.stack))
		}
		if err != nil && context.Cause(ctx) == errStalled {
			err = t.stalled(f, began)
		}
	}()
	if err := f.admit(ctx); err != nil {
		return err
	}
	return fn()
}

// outcomeOf is the outcome of an object that is not at the target.
func outcomeOf(err error) work.ObjectOutcome {
	out := work.ObjectOutcome{Outcome: work.Failed, Fault: faultOf(err), Error: textOf(err)}
	switch {
	case out.Fault == work.SrcChanged:
		out.Outcome = work.Changed
	case out.Fault.Retryable():
		out.Outcome = work.Retry
	}
	return out
}

// keepAlive tells the queue of the items in hand, so that they stay there.
func (a *Agent) keepAlive(ctx context.Context) {
	every := func() time.Duration { return max(a.ackWait()/4, 100*time.Millisecond) }
	tick := time.NewTicker(every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.sooner:
			tick.Reset(every())
		case <-tick.C:
		}
		var told sync.WaitGroup
		for _, h := range a.all() {
			if !h.hung.Load() && !h.lease.over() {
				told.Go(func() { h.keep(ctx) })
			}
		}
		told.Wait()
	}
}

// notify says something to who will look, unless that is said already.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// all returns the items in hand.
func (a *Agent) all() []*held {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*held, 0, len(a.held))
	for _, h := range a.held {
		all = append(all, h)
	}
	return all
}
