package allot

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A world is agents, a ledger and what is under way between them, in a time of
// its own. What it has of agents and the ledger is what their promises to each
// other say.
type world struct {
	rnd    *rand.Rand
	now    time.Time
	next   happenings
	nth    int
	ledger table
	agents map[string]*agent
	born   int

	loss  float64       // of each message
	slow  time.Duration // a message may be under way so long
	greed float64       // the chance that an agent wants more

	check func() // after everything that happens
}

// A happening is something that will happen.
type happening struct {
	at  time.Time
	nth int
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].nth < h[j].nth
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newWorld(seed uint64) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1e9, 0), agents: map[string]*agent{}, check: func() {}}
	w.ledger = table{sharers: map[string]*sharer{}, shares: map[string]work.ShareRow{}}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.nth++
	heap.Push(&w.next, happening{w.now.Add(d), w.nth, do})
}

// run lets so much time pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); len(w.next) > 0 && !w.next[0].at.After(end); {
		h := heap.Pop(&w.next).(happening)
		w.now = h.at
		h.do()
		w.check()
	}
}

// An agent keeps to what it is told.
type agent struct {
	w      *world
	name   string
	life   string
	seen   time.Time
	seq    int64
	over   time.Time
	shares []work.Share
	stamps map[string]time.Time
}

// join adds an agent, or restarts one that has lost its memory.
func (w *world) join(name string) {
	w.born++
	w.agents[name] = &agent{w: w, name: name, life: fmt.Sprint("life", w.born), seen: w.now, stamps: map[string]time.Time{}}
}

func (a *agent) take(al work.Allotment) work.Taken {
	if from, ok := a.stamps[al.Since]; ok && al.Seq > a.seq && a.w.now.Before(from.Add(al.For)) {
		a.seq, a.over, a.shares = al.Seq, from.Add(al.For), al.Shares
	}
	a.w.born++
	stamp := fmt.Sprint(a.life, ".", a.w.born)
	a.stamps[stamp] = a.w.now
	t := work.Taken{Seq: a.seq, Stamp: stamp}
	for _, s := range a.shares {
		u := work.Use{Limit: s.Limit, Bytes: s.Bytes / 2, Requests: s.Requests / 2}
		if a.w.rnd.Float64() < a.w.greed {
			u = work.Use{Limit: s.Limit, Bytes: s.Bytes, Requests: s.Requests, MoreBytes: true, MoreRequests: true}
		}
		t.Uses = append(t.Uses, u)
	}
	return t
}

// believed returns what all agents together take for theirs of a limit.
func (w *world) believed(id work.LimitID) (r work.Rate) {
	for _, a := range w.agents {
		for _, s := range a.shares {
			if s.Limit == id && !s.Stop && w.now.Before(a.over) {
				r.Bytes += s.Bytes
				r.Requests += s.Requests
			}
		}
	}
	return r
}

// A table is the ledger's.
type table struct {
	limits  []work.Limit
	jobs    []work.LimitedJob
	seq     int64
	sharers map[string]*sharer
	shares  map[string]work.ShareRow // by agent and limit
}

type sharer struct {
	work.Sharer
	told     int64
	answered time.Time
}

func shareKey(agent string, id work.LimitID) string { return fmt.Sprint(agent, " ", id) }

// allot is what a ledger's Allot does.
func (w *world) allot() []work.Grant {
	d := work.Division{Now: w.now, Limits: w.ledger.limits, Jobs: w.ledger.jobs}
	for key, s := range w.ledger.shares {
		if !s.Until.After(w.now) {
			delete(w.ledger.shares, key)
			continue
		}
		d.InForce = append(d.InForce, s)
	}
	var names []string
	for name, a := range w.agents {
		if w.now.Sub(a.seen) < Alive {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		s := work.Sharer{Site: "s", Agent: name}
		if known := w.ledger.sharers[name]; known != nil {
			s = known.Sharer
			if w.now.Sub(known.answered) >= fresh {
				s.Stamp, s.Uses = "", nil
			}
		}
		d.Sharers = append(d.Sharers, s)
	}
	grants := Plan(d)
	w.ledger.seq++
	for i := range grants {
		g := &grants[i]
		if g.Seq = w.ledger.seq; g.Since == "" {
			continue
		}
		known := w.ledger.sharers[g.Agent]
		known.told, known.Bound = g.Seq, known.Bound || len(g.Shares) > 0
		for _, s := range g.Shares {
			row := w.ledger.shares[shareKey(g.Agent, s.Limit)]
			row.Limit, row.Site, row.Agent = s.Limit, g.Site, g.Agent
			row.Bytes, row.Requests, row.Told = max(row.Bytes, s.Bytes), max(row.Requests, s.Requests), s.Rate
			if until := known.answered.Add(g.For + time.Second); until.After(row.Until) {
				row.Until = until
			}
			w.ledger.shares[shareKey(g.Agent, s.Limit)] = row
		}
	}
	return grants
}

// answered is what a ledger's Answered does.
func (w *world) answered(a work.Answer) {
	known := w.ledger.sharers[a.Agent]
	if known == nil {
		known = &sharer{Sharer: work.Sharer{Site: a.Site, Agent: a.Agent}}
		w.ledger.sharers[a.Agent] = known
	}
	before, _, _ := strings.Cut(known.Stamp, ".")
	life, _, _ := strings.Cut(a.Stamp, ".")
	if before != life {
		w.bequeath(a.Agent, before)
	}
	known.Stamp, known.Uses, known.answered = a.Stamp, a.Uses, w.now
	if a.Since == "" || a.Taken.Seq != a.Grant.Seq || known.told != a.Grant.Seq {
		return
	}
	if len(a.Shares) == 0 {
		known.Bound = false
	}
	for key, row := range w.ledger.shares {
		if row.Agent != a.Agent {
			continue
		}
		at := slices.IndexFunc(a.Shares, func(s work.Share) bool { return s.Limit == row.Limit })
		if at < 0 {
			delete(w.ledger.shares, key)
			continue
		}
		row.Rate, row.Told = a.Shares[at].Rate, a.Shares[at].Rate
		w.ledger.shares[key] = row
	}
}

// bequeath keeps what a former process of an agent may still believe apart from
// what the present one will.
func (w *world) bequeath(name, life string) {
	for key, row := range w.ledger.shares {
		if row.Agent == name {
			delete(w.ledger.shares, key)
			row.Agent += "#" + life
			w.ledger.shares[shareKey(row.Agent, row.Limit)] = row
		}
	}
}

// coordinator takes rounds for ever, as an Allotter does, at moments of its own.
func (w *world) coordinator() {
	for _, g := range w.allot() {
		var heard *work.Answer
		w.send(func() {
			if a := w.agents[g.Agent]; a != nil {
				answer := work.Answer{Grant: g, Taken: a.take(g.Allotment)}
				w.send(func() { heard = &answer })
			}
		})
		w.after(answerWait, func() {
			if heard != nil {
				w.answered(*heard)
			}
		})
	}
	w.after(Every/2+time.Duration(w.rnd.Int64N(int64(Every))), w.coordinator)
}

// send has something happen at the other end, perhaps, and sometime.
func (w *world) send(arrive func()) {
	if w.rnd.Float64() < w.loss {
		return
	}
	d := time.Duration(w.rnd.Int64N(int64(20 * time.Millisecond)))
	if w.slow > 0 && w.rnd.IntN(10) == 0 {
		d = time.Duration(w.rnd.Int64N(int64(w.slow)))
	}
	w.after(d, arrive)
}

// beats keeps an agent known.
func (w *world) beats(name string) {
	if a := w.agents[name]; a != nil {
		a.seen = w.now
		w.after(5*time.Second, func() { w.beats(name) })
	}
}
