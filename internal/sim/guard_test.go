package sim

import (
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// A guard stands between the parts and watches what they do to each other.
type guard struct {
	*world
	mad      map[int64]bool // results that are nonsense
	recorded map[int64]bool // results that a committed transaction was given
	closed   map[work.ItemID]bool
	dead     map[work.ItemID]bool
	out      map[work.ItemID]int  // epochs of items that were handed out and neither given back nor closed
	marks    map[*life][]*message // results that were there when a round of reconciling began

	moved    int64 // bytes, of results that count
	canceled bool
	frozen   work.Counts // when the job was canceled
}

func newGuard(w *world) *guard {
	return &guard{world: w, mad: map[int64]bool{}, recorded: map[int64]bool{}, closed: map[work.ItemID]bool{},
		dead: map[work.ItemID]bool{}, out: map[work.ItemID]int{}, marks: map[*life][]*message{}}
}

// good reports whether a result is good news only.
func good(r work.Result) bool {
	if r.Fault != "" {
		return false
	}
	for _, o := range r.Outcomes {
		if o.Outcome != work.Copied && o.Outcome != work.Skipped {
			return false
		}
	}
	return true
}

// A decision is what was made of a result.
type decision struct {
	item    work.Item
	result  work.Result
	verdict work.Verdict
}

// A recording is a call of Record.
type recording struct {
	*guard
	results  []work.Result
	canceled bool // the job was, when it began
	order    []int64
	decided  map[int64]decision
}

func (g *guard) recording(results []work.Result) *recording {
	return &recording{guard: g, results: results, canceled: g.canceled, decided: map[int64]decision{}}
}

// add notes a decision, in place of that of a transaction that was rolled back.
func (r *recording) add(it work.Item, res work.Result, v work.Verdict) {
	id := res.TookMS
	if it.Kind != res.Kind { // on the finish of a part that was given up
		id = -int64(it.ID)
	}
	if _, again := r.decided[id]; !again {
		r.order = append(r.order, id)
	}
	r.decided[id] = decision{it, res, v}
}

// commit checks what was decided, now that it counts.
func (r *recording) commit(who string) {
	closedBefore := map[work.ItemID]bool{}
	for _, res := range r.results {
		closedBefore[res.Item] = r.closed[res.Item]
	}
	for _, id := range r.order {
		r.check(who, r.decided[id])
	}
	for _, res := range r.results {
		r.recorded[res.TookMS] = true
		if u := res.Upload; res.Kind == work.Begin && res.Fault == "" && u != nil {
			r.target.uploads[u.ID].recorded = true // also of one that is nonsense otherwise
		}
		_, decided := r.decided[res.TookMS]
		if res.Kind == work.Copy && good(res) && !decided && !r.mad[res.TookMS] && !closedBefore[res.Item] && !r.closed[res.Item] && !r.canceled {
			r.breaks("a success of item %d, epoch %d, was not counted though the item is open", res.Item, res.Epoch)
		}
	}
}

func (r *recording) check(who string, d decision) {
	it, res, v := d.item, d.result, d.verdict
	if v.State == "" {
		return
	}
	r.logf("%s: item %d %s epoch %d: result %d makes it %s, %d new items", who, it.ID, it.Kind, it.Epoch, res.TookMS, v.State, len(v.Items))
	switch {
	case strings.Contains(res.Error, "could not be recorded") && it.Kind == res.Kind && !r.mad[res.TookMS]:
		r.breaks("a result of item %d was refused: %s", it.ID, res.Error)
	case it.Kind == res.Kind && !good(res) && res.Epoch < it.Epoch:
		r.breaks("a failure of item %d, epoch %d, counts though its epoch is %d", it.ID, res.Epoch, it.Epoch)
	case r.canceled && it.Kind != work.Abort:
		r.breaks("a result of item %d counts though its job is canceled", it.ID)
	case r.closed[it.ID]:
		r.breaks("item %d is decided on though it is closed", it.ID)
	}
	if it.Kind == res.Kind && it.Kind != work.Abort {
		r.moved += res.Moved
	}
	if v.State != work.Queued {
		delete(r.out, it.ID)
	}
	if v.State == work.Done || v.State == work.Dead {
		r.closed[it.ID] = true
		r.dead[it.ID] = v.State == work.Dead
	}
}

// acked is told before results are acknowledged.
func (g *guard) acked(results []work.Result) {
	for _, r := range results {
		if !g.recorded[r.TookMS] {
			g.breaks("result %d of item %d is acknowledged before it is recorded", r.TookMS, r.Item)
		}
	}
}

// marked is told when a round of reconciling begins, looked when it looks for
// lost items.
func (g *guard) marked(l *life, results stream) {
	g.marks[l] = append([]*message(nil), results.messages...)
}

func (g *guard) looked(l *life) {
	for _, m := range g.marks[l] {
		if there := g.queue.results.find(m.seq); there == m {
			g.breaks("items are taken for lost while a result waits: %s", m.subject)
			return
		}
	}
}

// handed is told which items were claimed.
func (g *guard) handed(items []work.Item) {
	for _, it := range items {
		if epoch, ok := g.out[it.ID]; ok {
			g.breaks("item %d is claimed, though epoch %d of it was not given back", it.ID, epoch)
		}
		g.out[it.ID] = it.Epoch
	}
}

// released is told which items were given back, requeued which were handed out
// anew.
func (g *guard) released(items []work.Item) {
	for _, it := range items {
		if g.out[it.ID] == it.Epoch {
			delete(g.out, it.ID)
		}
	}
}

func (g *guard) requeued(items []work.Item) {
	for _, it := range items {
		if epoch, ok := g.out[it.ID]; ok {
			g.out[it.ID] = max(epoch, it.Epoch)
		}
	}
}

// dispatched is told after a round of dispatching.
func (g *guard) dispatched(l *life) {
	if l.dead {
		return
	}
	for id := range l.claimed {
		g.breaks("item %d was claimed and is neither published nor released", id)
	}
}

// revived is told that dead scans are ready again.
func (g *guard) revived() {
	for id, dead := range g.dead {
		if dead {
			delete(g.closed, id)
			delete(g.dead, id)
		}
	}
}

// cancels is told that the job was canceled.
func (g *guard) cancels() {
	j, err := g.ledger.Job(g.ctx, g.job)
	if err != nil {
		g.breaks("read the canceled job: %v", err)
		return
	}
	if !g.canceled {
		g.canceled, g.frozen = true, j.Counts
	}
}
