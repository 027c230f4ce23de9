package sim

import (
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	handsAtOnce = 3
	pausedFor   = 8 * time.Second // an item of a paused job rests so long
)

// An agent does what package agent promises, in small steps. Between any two
// of them it may die, or freeze and come back as a zombie.
type agent struct {
	*world
	name     string
	hands    []*hand
	frozen   time.Time // until then
	down     time.Time // until then
	draining bool
	state    work.JobState // of the job, as far as it has heard
}

func newAgent(w *world, name string) *agent {
	a := &agent{world: w, name: name}
	w.actors = append(w.actors, &actor{name: name, step: a.step, agent: true})
	return a
}

// thaw ends what keeps the agent from working.
func (a *agent) thaw() {
	a.frozen, a.down, a.draining = time.Time{}, time.Time{}, false
}

// step takes an item or goes one step further with one in hand.
func (a *agent) step() {
	switch {
	case a.down.After(a.now) || a.frozen.After(a.now):
		return
	case a.chance(a.odds.agentDie):
		a.logf("%s: dies with %d items", a.name, len(a.hands))
		a.hands, a.draining, a.state, a.down = nil, false, "", a.within(time.Minute)
		return
	case a.chance(a.odds.agentFreeze):
		a.frozen = a.within(4 * time.Minute)
		a.logf("%s: freezes for %s", a.name, a.frozen.Sub(a.now).Round(time.Second))
		return
	case a.draining && len(a.hands) == 0:
		a.draining = false // it is started anew
	case a.chance(a.odds.agentDie):
		a.draining = true
		a.logf("%s: drains", a.name)
	}
	if a.rng.IntN(3) > 0 || a.calm {
		a.state = a.queue.controls[a.job].State
	}
	if a.calm || a.rng.IntN(8) > 0 {
		for _, h := range a.hands {
			a.queue.alive(h.delivery)
		}
	}
	if !a.draining && len(a.hands) < handsAtOnce && (len(a.hands) == 0 || a.rng.IntN(4) == 0) {
		a.take()
		return
	}
	if len(a.hands) > 0 {
		h := a.hands[a.rng.IntN(len(a.hands))]
		h.next()
	}
}

func (a *agent) take() {
	d, ok := a.queue.take()
	if !ok {
		return
	}
	for _, h := range a.hands {
		if h.item.ID == d.item.ID && !h.settling { // a repeat of what is in hand
			h.delivery, h.epoch = d, max(h.epoch, d.item.Epoch)
			a.logf("%s: item %d again, delivery %d", a.name, d.item.ID, d.deliveries)
			return
		}
	}
	it := d.item
	h := &hand{
		agent: a, item: it, delivery: d, epoch: it.Epoch,
		again:    d.deliveries > 1 || it.Epoch > 1 || it.Attempt > 1,
		outcomes: make([]work.ObjectOutcome, len(it.Objects)),
	}
	a.logf("%s: takes item %d %s epoch %d attempt %d delivery %d", a.name, it.ID, it.Kind, it.Epoch, it.Attempt, d.deliveries)
	a.hands = append(a.hands, h)
	switch it.Kind {
	case work.Scan:
		h.next = h.list
		h.cursor = it.Range.After
	case work.Copy, work.Begin:
		h.next = h.look
	case work.Part:
		h.next = h.readPart
	case work.Finish:
		h.next = h.lookWhole
	case work.Abort:
		h.next = h.abort
	}
}

// A hand is an item in an agent's hands.
type hand struct {
	*agent
	item     work.Item
	delivery delivery
	epoch    int
	again    bool   // it was handed out before
	next     func() // the next step
	settling bool

	n        int // of the object that is worked on
	seen     int // the version that stood at the target
	is       object
	outcomes []work.ObjectOutcome
	result   *work.Result // to be reported
	moved    int64        // bytes
	uploaded bool         // the result opens an upload
	then     func()       // after the report

	cursor string // of a scan
	pages  int
}

// stopped reports why no more of the item may be begun, empty if it may.
func (h *hand) stopped() string {
	switch {
	case h.item.Kind == work.Abort:
	case h.agent.state == work.Canceled:
		return "canceled"
	case h.agent.state == work.Paused:
		return "paused"
	}
	if h.draining {
		return "draining"
	}
	return ""
}

// put gives the item back, or up if its job was canceled.
func (h *hand) put(why string) {
	switch why {
	case "canceled":
		h.queue.ack(h.delivery)
	case "paused":
		h.queue.nak(h.delivery, pausedFor)
	default:
		h.queue.nak(h.delivery, 0)
	}
	h.logf("%s: item %d put back: %s", h.name, h.item.ID, why)
	h.drop()
}

func (h *hand) drop() {
	h.agent.hands = slices.DeleteFunc(h.agent.hands, func(o *hand) bool { return o == h })
}

// say reports a result, and after that does then.
func (h *hand) say(r work.Result, then func()) {
	r.Job, r.Item, r.Kind, r.Epoch = h.item.Job, h.item.ID, h.item.Kind, h.epoch
	r.At, r.TookMS = h.now, h.world.next() // by which the guard knows it
	if r.Kind != work.Scan {
		r.Moved = h.moved
	}
	if h.chance(h.odds.nonsense) {
		h.nonsense(&r)
		h.logf("%s: item %d: result %d is nonsense", h.name, h.item.ID, r.TookMS)
	}
	h.result, h.then = &r, then
	h.next = h.report
}

// report stores the result, again and again until the queue has said that it
// is there.
func (h *hand) report() {
	if h.stopped() == "canceled" && !h.uploaded && h.item.Kind != work.Scan {
		h.put("canceled")
		return
	}
	if !h.queue.report(h.name, *h.result) {
		return
	}
	h.logf("%s: item %d epoch %d reported as %d: %s", h.name, h.item.ID, h.epoch, h.result.TookMS, brief(*h.result))
	h.next = h.then
}

// end reports what became of the item and has it acknowledged in the next
// step.
func (h *hand) end(r work.Result) {
	h.settling = true
	h.say(r, func() {
		h.queue.ack(h.delivery)
		h.drop()
	})
}

func (h *hand) fail(f work.Fault, text string) { h.end(work.Result{Fault: f, Error: text}) }

// list reports a page of the source, or the end of the scan.
func (h *hand) list() {
	why := h.stopped()
	if why == "canceled" {
		h.put(why)
		return
	}
	if h.source.unlisted.After(h.now) && h.rng.IntN(2) == 0 {
		h.fail(h.source.unlistedFault, "simulated: cannot be listed")
		return
	}
	r := h.item.Range
	var keys []string
	for _, key := range h.source.keys() {
		if key > h.cursor && r.Contains(key) {
			keys = append(keys, key)
		}
	}
	n := 1 + h.rng.IntN(5)
	if len(keys) <= n && h.rng.IntN(2) == 0 {
		h.page(keys, work.Page{Range: work.Range{After: h.cursor, Upto: r.Upto}, Last: true})
		return
	}
	if len(keys) == 0 {
		h.page(nil, work.Page{Range: work.Range{After: h.cursor, Upto: r.Upto}, Last: true})
		return
	}
	keys = keys[:min(n, len(keys))]
	p := work.Page{Range: work.Range{After: h.cursor, Upto: keys[len(keys)-1]}}
	if h.pages++; h.pages == 3 || why != "" {
		p.Last, p.Rest = true, h.leave(p.Upto, r.Upto)
	}
	h.page(keys, p)
}

// page reports a page with the objects of the keys.
func (h *hand) page(keys []string, p work.Page) {
	for _, key := range keys {
		o := h.source.objects[key]
		f := work.Found{Object: work.Object{Key: key, Size: o.size, ETag: o.etag(), ModTime: h.now}}
		switch c := h.target.objects[key]; {
		case o.fault == work.Unsupported && o.until.IsZero():
			f.Fail = "simulated: unsupported"
			h.source.blame(key, work.Unsupported)
		case c == nil || c.size != o.size:
		case c.version == o.version && h.rng.IntN(2) == 0:
			f.Skip = "etag"
		default:
			f.Check = true
		}
		p.Found = append(p.Found, f)
	}
	if p.Last {
		h.settling = true
		h.say(work.Result{Page: &p}, func() {
			h.queue.ack(h.delivery)
			h.drop()
		})
		return
	}
	h.say(work.Result{Page: &p}, h.list)
	h.cursor = p.Upto
}

// leave cuts what a scan leaves over.
func (h *hand) leave(last, upto string) []work.Range {
	if upto != "" && last >= upto {
		return nil
	}
	var rest []work.Range
	at := last
	for _, cut := range []string{"b1", "b4", "c2", "d"} {
		if cut > at && (upto == "" || cut < upto) && h.rng.IntN(2) == 0 {
			rest = append(rest, work.Range{After: at, Upto: cut})
			at = cut
		}
	}
	return append(rest, work.Range{After: at, Upto: upto})
}
