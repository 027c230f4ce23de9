package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	// pauseGrace is how long objects of a paused job may take to finish.
	pauseGrace = 700 * time.Millisecond
	// restLimit is how long an item rests of a job that seems to be over, of which
	// a store refuses to be asked, or for which there is no room between its
	// stores, before it is offered again, give or take half.
	restLimit = 8 * time.Second
)

// A held is an item in hand. It is put down when its last task is done.
type held struct {
	agent *Agent
	item  work.Item
	pair  pair
	again bool // it was handed out before
	began time.Time
	over  chan struct{} // closed when it was put down

	// starting ends when no more of the item may be begun, with the reason as
	// its cause; moving, when what was begun must be dropped. taking is the
	// agent's: once it has ended, a scan hands the rest of its range on.
	starting, moving, taking context.Context
	stop, abandon            context.CancelCauseFunc

	// outcomes[i] is that of object i, written by the stream that does it; empty:
	// not done, or not of a kind that has outcomes. The next four are written
	// before the item's only task is done.
	outcomes []work.ObjectOutcome
	opening  opening          // of a begin
	part     *work.StoredPart // of a part
	finished bool             // a scan's last page was reported, a part stored or an upload aborted
	err      error            // why the item as a whole was not done

	moved atomic.Int64
	left  atomic.Int64 // tasks not done, and one for the feeder
	lease lease
	hung  atomic.Bool            // a stream does not come back from it
	bound atomic.Pointer[bounds] // see bounds

	mu       sync.Mutex
	delivery *bus.Delivery
	epoch    int
	settling bool
	patience *time.Timer // see pause
}

// A task is what a stream does: an object of a copy item, or an item of another
// kind.
type task struct {
	*held
	object int
}

// hold takes an item in hand. It returns nil for one that need not be worked
// on now, which is settled then.
func (a *Agent) hold(taking, moving context.Context, d *bus.Delivery) *held {
	it := d.Item
	h := &held{
		agent: a, item: it, delivery: d, epoch: it.Epoch, taking: taking, began: time.Now(),
		again:    d.Deliveries > 1 || it.Epoch > 1 || it.Attempt > 1 || it.Suspect,
		outcomes: make([]work.ObjectOutcome, len(it.Objects)), over: make(chan struct{}),
	}
	h.lease.limit, h.lease.heard = a.ackWait, d.Asked
	h.moving, h.abandon = context.WithCancelCause(moving)
	h.starting, h.stop = context.WithCancelCause(h.moving)

	a.mu.Lock()
	switch state, ok := a.states[it.Job]; {
	case it.Kind == work.Abort:
	case ok && state == work.Paused:
		h.stop(errPaused)
	case ok:
		h.putDown(errCanceled)
	}
	if old := a.held[it.ID]; old != nil && old.adopt(d) {
		a.mu.Unlock()
		h.putDown(errStopping)
		return nil
	}
	a.held[it.ID] = h
	a.mu.Unlock()

	switch n := silences(d); {
	case n > 0:
		h.err = &silence{n}
	case h.starting.Err() == nil:
		h.pair, h.err = a.ends(h.moving, it)
		h.refused(h.err)
	}
	if h.starting.Err() != nil || h.err != nil {
		h.settle()
		return nil
	}
	return h
}

// ends opens the ends of an item. An abort needs no source, which may be gone
// or out of bounds by then.
func (a *Agent) ends(ctx context.Context, it work.Item) (pair, error) {
	if it.Kind != work.Abort {
		return a.stores.pair(ctx, it)
	}
	dst, err := a.stores.end(ctx, it.Target, met(it))
	return pair{dst: dst}, err
}

// adopt makes a repeated delivery that of the item in hand. It fails if the
// item is about to be settled, or another agent may have had it in between:
// then the repeat is an item of its own.
func (h *held) adopt(d *bus.Delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settling || h.lease.over() {
		return false
	}
	h.delivery, h.epoch = d, max(h.epoch, d.Item.Epoch)
	h.lease.renew(d.Asked)
	return true
}

// tasks returns how many tasks the item is.
func (h *held) tasks() int {
	if h.item.Kind == work.Scan {
		return 1
	}
	return len(h.item.Objects)
}

// done notes that n tasks are done or will never be begun, and has the item
// settled after the last.
func (h *held) done(n int) {
	if h.left.Add(-int64(n)) == 0 {
		h.settle()
	}
}

// pause lets what has begun finish, if it takes no longer than a moment.
func (h *held) pause() {
	h.stop(errPaused)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.patience == nil && !h.settling {
		h.patience = time.AfterFunc(pauseGrace, func() { h.abandon(errPaused) })
	}
}

// putDown drops what has begun.
func (h *held) putDown(why error) {
	h.stop(why)
	h.abandon(why)
}

// settle tells the queue what became of the item, aside. It waits while too
// many others are being settled.
func (h *held) settle() {
	h.mu.Lock()
	h.settling = true
	if h.patience != nil {
		h.patience.Stop()
	}
	d := h.delivery
	h.mu.Unlock()
	h.agent.settles.Go(func() error {
		defer h.agent.release(h)
		how, err := h.close(d)
		h.agent.metrics.items.WithLabelValues(string(h.item.Kind), how).Inc()
		if err != nil {
			h.agent.log.Warn("item not settled", "job", h.item.Job, "item", h.item.ID, "how", how, "err", err)
		}
		return nil // it will be delivered again
	})
}

// close reports the item's result and acknowledges it, or gives it back.
func (h *held) close(d *bus.Delivery) (how string, err error) {
	why := context.Cause(h.starting)
	canceled := errors.Is(why, errCanceled)
	if canceled && h.opening.upload.ID == "" { // of an upload the coordinator must know, to have it aborted
		return "canceled", d.Term("its job was canceled")
	}
	how = "done"
	result, ok := h.result()
	if ok {
		switch {
		case result != nil && result.Silent > 0:
			how = "untouched"
		case result != nil && result.Fault != "":
			how = "failed"
		}
		if err = h.report(result); err == nil {
			return how, d.Ack()
		}
		err = also(err, h.unopen())
	}
	if canceled {
		return "canceled", errors.Join(err, d.Term("its job was canceled"))
	}
	if h.lease.over() {
		return "lapsed", err // it is in other hands, from which giving it back would take it
	}
	how = "returned"
	var delay time.Duration
	if errors.Is(why, errPaused) || errors.Is(why, errOver) || errors.Is(why, errRefused) || errors.Is(why, errCrowded) {
		how, delay = "paused", h.pair.closedFor()+h.agent.rest/2+rand.N(h.agent.rest)
	}
	return how, errors.Join(err, h.giveBack(d, why, delay))
}

// result returns what is to be said of the item, if there is anything to say.
// A scan has said everything with its pages, unless it failed.
func (h *held) result() (*work.Result, bool) {
	r := h.newResult()
	var quiet *silence
	switch {
	case errors.As(h.err, &quiet):
		r.Fault, r.Error, r.Silent = work.Internal, quiet.Error(), quiet.deliveries
		h.agent.log.Warn("item not touched", "job", h.item.Job, "item", h.item.ID, "suspect", h.item.Suspect, "err", quiet)
		return r, true
	case h.err != nil && (h.moving.Err() != nil || errors.Is(h.err, errRefused) || errors.Is(h.err, errLease)):
		return nil, false // it was dropped, or waits; the error only echoes that
	case h.err != nil:
		r.Fault, r.Error, r.Gone = faultOf(h.err), textOf(h.err), errors.Is(h.err, errGone) || storage.Clashed(h.err)
		h.agent.metrics.faults.WithLabelValues(string(r.Fault)).Inc()
		h.agent.log.Warn("item failed", "job", h.item.Job, "item", h.item.ID, "fault", r.Fault, "err", h.err)
		return r, true
	case h.item.Kind == work.Scan:
		return nil, h.finished
	case h.item.Kind == work.Part || h.item.Kind == work.Abort:
		r.Part = h.part
		return r, h.finished
	case h.opening.upload.ID != "":
		r.Object, r.Upload = &h.opening.object, &h.opening.upload
		return r, true
	}
	done := 0
	for _, o := range h.outcomes {
		if o.Outcome != "" {
			done++
		}
	}
	r.Outcomes = h.outcomes
	if refused := errors.Is(context.Cause(h.starting), errRefused); refused && done > 0 {
		handOn(r.Outcomes)
		return r, true
	}
	return r, done == len(h.outcomes)
}

// handOn has the objects that were not done, because a store refuses to be
// asked, tried again by themselves: should the item come back as a whole while
// the store serves only some requests, it might never be done.
func handOn(outcomes []work.ObjectOutcome) {
	for i, o := range outcomes {
		if o.Outcome == "" {
			outcomes[i] = work.ObjectOutcome{Outcome: work.Retry, Fault: work.Throttled, Error: errRefused.Error()}
		}
	}
}

func (h *held) newResult() *work.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &work.Result{
		Job: h.item.Job, Item: h.item.ID, Kind: h.item.Kind, Epoch: h.epoch,
		At: time.Now().UTC(), TookMS: time.Since(h.began).Milliseconds(),
	}
	if r.Kind != work.Scan {
		r.Moved = h.moved.Load()
	}
	return r
}

// unopen aborts the upload that a begin opened and could not report. Nobody
// will know of it else, for the next begin opens one of its own.
func (h *held) unopen() error {
	if h.opening.upload.ID == "" {
		return nil
	}
	mp, ok := h.pair.dst.multipart()
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.moving), lastWords)
	defer cancel()
	obj, u := h.opening.object, h.opening.upload
	return mp.Abort(ctx, storage.Upload{Key: obj.Key, ID: u.ID, Size: obj.Size, Part: u.Part})
}

// report stores a result, trying until the item must be put down and then once
// more. Without a result it does nothing.
func (h *held) report(r *work.Result) error {
	if r == nil {
		return nil
	}
	a := h.agent
	err := a.bus.Report(h.moving, a.cfg.Site, a.cfg.Name, *r)
	if errors.Is(err, bus.ErrTooLarge) {
		r.Outcomes, r.Page, r.Fault, r.Error = nil, nil, work.Internal, textOf(err)
		err = a.bus.Report(h.moving, a.cfg.Site, a.cfg.Name, *r)
	}
	if err == nil || h.moving.Err() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.moving), lastReport)
	defer cancel()
	return a.bus.Report(ctx, a.cfg.Site, a.cfg.Name, *r)
}

// lastReport bounds the report of what was done when the agent must stop.
const lastReport = 3 * time.Second

// release forgets an item.
func (a *Agent) release(h *held) {
	h.putDown(errStopping) // frees the contexts
	a.mu.Lock()
	if a.held[h.item.ID] == h {
		delete(a.held, h.item.ID)
	}
	a.mu.Unlock()
	close(h.over)
	notify(a.settled)
	for _, e := range []*end{h.pair.src, h.pair.dst} {
		if e != nil {
			a.stores.release(e)
		}
	}
}

// faultOf returns the fault of an error, also of one of ours.
func faultOf(err error) work.Fault {
	var p *panicked
	if errors.As(err, &p) {
		return work.Internal
	}
	return storage.FaultOf(err)
}

// textOf returns an error's text as a result carries it. A store's error is
// shown without the object's key, which stands beside it and could crowd the
// reason out.
func textOf(err error) string {
	if e, ok := err.(*storage.Error); ok && e.Key != "" { // a wrapped one has more to say
		short := *e
		short.Key = ""
		err = &short
	}
	return work.Clip(err.Error())
}
