package allot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const store = "s3://bucket"

func limitOf(bytes int64, requests float64) work.Limit {
	return work.Limit{ID: 1, Scope: work.LimitStore, Name: store, Rate: work.Rate{Bytes: bytes, Requests: requests}}
}

func jobAt(site string) work.LimitedJob {
	return work.LimitedJob{ID: 1, Site: site, Source: store + "/a", Target: "file:///b"}
}

// At no moment do the agents together take more for theirs than the limit is,
// whoever comes and goes and whatever is lost or late, with two coordinators.
func TestSumHolds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		w := newWorld(seed)
		w.loss, w.slow, w.greed = 0.3*w.rnd.Float64(), time.Minute, w.rnd.Float64()
		w.ledger.limits = []work.Limit{limitOf(10_000+w.rnd.Int64N(1<<40), 1+1000*w.rnd.Float64())}
		w.ledger.jobs = []work.LimitedJob{jobAt("s")}
		// What was told of a limit counts until its time is over.
		type past struct {
			rate work.Rate
			at   time.Time
		}
		var ended []past
		granted := false
		w.check = func() {
			most := w.ledger.limits[0].Rate
			ended = slices.DeleteFunc(ended, func(p past) bool { return w.now.Sub(p.at) > lasts+time.Second })
			for _, p := range ended {
				most.Bytes, most.Requests = max(most.Bytes, p.rate.Bytes), max(most.Requests, p.rate.Requests)
			}
			got := w.believed(1)
			granted = granted || got.Bytes > 0
			if got.Bytes > most.Bytes || got.Requests > most.Requests+1e-6 {
				t.Fatalf("seed %d, %v: agents believe to have %+v of %+v", seed, w.now, got, most)
			}
		}
		for range 2 {
			w.after(0, w.coordinator)
		}
		for range 20 {
			switch name := fmt.Sprint("agent", w.rnd.IntN(6)); w.rnd.IntN(4) {
			case 0: // it is cut off from now on, and goes on believing for a while
				if a := w.agents[name]; a != nil {
					delete(w.agents, name)
					w.agents[name+" "+fmt.Sprint(w.rnd.Uint64())] = &agent{w: w, over: a.over, shares: a.shares}
				}
			case 1:
				ended = append(ended, past{w.ledger.limits[0].Rate, w.now})
				w.ledger.limits[0].Rate = work.Rate{Bytes: 10_000 + w.rnd.Int64N(1<<40), Requests: 1 + 1000*w.rnd.Float64()}
			default:
				if w.agents[name] == nil {
					w.join(name)
					w.beats(name)
				}
			}
			w.run(time.Duration(w.rnd.Int64N(int64(20 * time.Second))))
		}
		if !granted {
			t.Errorf("seed %d: nobody was ever granted anything", seed)
		}
	}
}

// What there is is used: by all alike if all want more, or by the one who does.
func TestShareIsUsed(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	w := newWorld(1)
	w.greed = 1
	w.ledger.limits = []work.Limit{limitOf(limit, 0)}
	w.ledger.jobs = []work.LimitedJob{jobAt("s")}
	w.after(0, w.coordinator)
	w.join("a")
	w.beats("a")
	w.run(10 * time.Second)
	if got := w.believed(1).Bytes; got != limit {
		t.Errorf("the only agent has %d after a while, want all %d", got, limit)
	}
	w.join("b")
	w.beats("b")
	w.run(15 * time.Second)
	if a, b := w.agents["a"].shares[0].Bytes, w.agents["b"].shares[0].Bytes; a != limit/2 || b != limit/2 {
		t.Errorf("two agents have %d and %d, want half each", a, b)
	}
	delete(w.agents, "a")
	w.run(Alive + 20*time.Second)
	if got := w.believed(1).Bytes; got != limit {
		t.Errorf("the agent that is left has %d, want all %d", got, limit)
	}
}

// When no coordinator is there any more, nobody has anything.
func TestFallsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(1)
	w.ledger.limits = []work.Limit{limitOf(1<<20, 0)}
	w.ledger.jobs = []work.LimitedJob{jobAt("s")}
	w.after(0, w.coordinator)
	w.join("a")
	w.beats("a")
	w.run(10 * time.Second)
	if w.believed(1).Bytes == 0 {
		t.Fatal("the agent has nothing")
	}
	w.next = nil
	w.after(lasts, func() {})
	w.run(lasts)
	if got := w.believed(1); got != (work.Rate{}) {
		t.Errorf("%v after the last word the agent has %+v", lasts, got)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	site := work.Limit{ID: 2, Scope: work.LimitSite, Name: "s", Rate: work.Rate{Requests: 8}}
	stopped := limitOf(100<<10, 0)
	stopped.Windows = []work.Window{{From: "00:00", Until: "24:00", Stop: true}}
	here, there := work.Sharer{Site: "s", Agent: "a", Stamp: "1"}, work.Sharer{Site: "t", Agent: "b", Stamp: "2"}
	bytes := func(n int64) work.Share {
		return work.Share{Limit: 1, Scope: work.LimitStore, Name: store, Rate: work.Rate{Bytes: n}, Stop: n == 0}
	}
	requests := work.Share{Limit: 2, Scope: work.LimitSite, Name: "s", Rate: work.Rate{Requests: 8}}
	for name, tt := range map[string]struct {
		d    work.Division
		want map[string][]work.Share
	}{
		"where there is work": {
			work.Division{Limits: []work.Limit{limitOf(100<<10, 0), site}, Jobs: []work.LimitedJob{jobAt("s")}, Sharers: []work.Sharer{here, there}},
			map[string][]work.Share{"a": {bytes(100 << 10), requests}, "b": {bytes(0)}}},
		"at any site": {
			work.Division{Limits: []work.Limit{limitOf(100<<10, 0)}, Jobs: []work.LimitedJob{jobAt(work.AnySite)}, Sharers: []work.Sharer{here, there}},
			map[string][]work.Share{"a": {bytes(50 << 10)}, "b": {bytes(50 << 10)}}},
		"nothing moves": {
			work.Division{Limits: []work.Limit{stopped}, Jobs: []work.LimitedJob{jobAt("s")}, Sharers: []work.Sharer{here}},
			map[string][]work.Share{"a": {bytes(0)}}},
		"who has not answered": {
			work.Division{Limits: []work.Limit{limitOf(100<<10, 0)}, Jobs: []work.LimitedJob{jobAt("s")}, Sharers: []work.Sharer{{Site: "s", Agent: "a"}}},
			map[string][]work.Share{"a": nil}},
		"no limits": {
			work.Division{Sharers: []work.Sharer{{Site: "s", Agent: "a", Stamp: "1", Bound: true}, there}},
			map[string][]work.Share{"a": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string][]work.Share{}
			for _, g := range Plan(tt.d) {
				got[g.Agent] = g.Shares
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("Plan = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A limit that only may be about the jobs of a site leaves no part idle there: it
// goes to those who say that they use it, or wait for it.
func TestNothingIsSharedOutOnSuspicion(t *testing.T) {
	t.Parallel()
	const limit = 800 << 10
	uses := func(u work.Use) []work.Use {
		u.Limit = 1
		return []work.Use{u}
	}
	got := map[string]int64{}
	for _, g := range Plan(work.Division{
		Limits: []work.Limit{limitOf(limit, 0)},
		Jobs: []work.LimitedJob{
			jobAt("s"), {ID: 2, Site: "other", Source: "store://unknown", Target: "file:///b"}, {ID: 3, Site: "named", Source: "store://bucket", Target: "file:///b"},
		},
		Sharers: []work.Sharer{
			{Site: "s", Agent: "worker", Stamp: "1", Uses: uses(work.Use{Bytes: limit, MoreBytes: true})},
			{Site: "other", Agent: "suspect", Stamp: "2", Uses: uses(work.Use{})},
			{Site: "other", Agent: "newcomer", Stamp: "3"},
			{Site: "named", Agent: "waiting", Stamp: "4", Uses: uses(work.Use{MoreRequests: true})}, // stopped, before it may ask
			{Site: "named", Agent: "user", Stamp: "5", Uses: uses(work.Use{Bytes: 80 << 10})},
		},
	}) {
		for _, s := range g.Shares {
			got[g.Agent] = s.Bytes
		}
	}
	if got["suspect"] != 0 || got["newcomer"] != 0 {
		t.Errorf("%v: agents that do not use the limit have parts of it", got)
	}
	// Three need it: the idle part of one is an eighth of a third.
	idle := int64(limit) / 3 / idle
	if want := int64(80<<10)*5/4 + idle; got["waiting"] != idle || got["user"] != want || got["worker"] < limit/3 {
		t.Errorf("%v: want %d for who waits, %d for who uses some, and a third for who wants more", got, idle, want)
	}
}

// A fake is a ledger and a fleet.
type fake struct {
	limits  []work.Limit
	grants  []work.Grant
	answers []work.Answer
	deaf    string
}

func (f *fake) Limits(context.Context) ([]work.Limit, error) { return f.limits, nil }

func (f *fake) Allot(context.Context, time.Duration, time.Duration, func(work.Division) []work.Grant) ([]work.Grant, error) {
	return f.grants, nil
}

func (f *fake) Answered(_ context.Context, answers []work.Answer) error {
	f.answers = answers
	return nil
}

// agents is the fleet of a fake.
type agents struct{ *fake }

func (a agents) Allot(_ context.Context, _, agent string, al work.Allotment) (work.Taken, error) {
	if agent == a.deaf {
		return work.Taken{}, errors.New("no answer")
	}
	return work.Taken{Seq: al.Seq, Stamp: agent}, nil
}

func TestRound(t *testing.T) {
	t.Parallel()
	f := &fake{limits: []work.Limit{limitOf(100<<10, 0)}, deaf: "c", grants: []work.Grant{
		{Site: "s", Agent: "a", Allotment: work.Allotment{Seq: 3, Since: "x"}},
		{Site: "s", Agent: "c", Allotment: work.Allotment{Seq: 3, Since: "y"}},
	}}
	woken := 0
	a := New(f, agents{f}, func() { woken++ })
	item := work.Item{Job: 7, Kind: work.Copy, Site: "s", Source: store + "/x", Target: "file:///y"}
	if a.Limited(item) {
		t.Error("an item is limited before a limit is known")
	}
	if err := a.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.answers) != 1 || f.answers[0].Agent != "a" || f.answers[0].Taken.Seq != 3 || woken != 0 {
		t.Errorf("answers %+v, woken %d times", f.answers, woken)
	}
	other, abort := item, item
	other.Job, other.Source = 8, "s3://another"
	abort.Kind = work.Abort
	if !a.Limited(item) || a.Limited(other) || a.Limited(abort) {
		t.Errorf("limited: %v, another's %v, an abort %v", a.Limited(item), a.Limited(other), a.Limited(abort))
	}
	f.grants = []work.Grant{{Site: "s", Agent: "b", Allotment: work.Allotment{Seq: 4}}}
	if err := a.Round(t.Context()); err != nil || woken != 1 {
		t.Errorf("Round = %v, woken %d times by one that has introduced itself", err, woken)
	}
}
