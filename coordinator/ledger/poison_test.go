package ledger_test

import (
	"reflect"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestPoison: what cannot be recorded becomes a failure of its item, and the
// others are recorded.
func TestPoison(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // no database refuses what it is told
	id := b.create()
	scan := b.claimOne()
	var pages []work.Result
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		p := page(scan, false, k)
		p.Page.After = string(k[0] - 1)
		if k == "a" {
			p.Page.After = ""
		}
		pages = append(pages, p)
	}
	b.record(pages...)
	items := b.claim(10)
	results := make([]work.Result, 0, len(items))
	for _, it := range items {
		results = append(results, all(it, "copied"))
	}
	results[1].Moved = -1                                                   // refused by us
	results[2].Outcomes = append(results[2].Outcomes, work.ObjectOutcome{}) // by us
	results[4].Agent = "bad"                                                // by the database, see below
	bad := func(it work.Item, r work.Result) work.Verdict {
		v := decide(it, r)
		if r.Agent == "bad" && r.Fault == "" {
			v.State, v.Outcomes = work.Done, []work.ObjectOutcome{{Outcome: work.Retry}}
			v.Items = []work.NewItem{{Kind: "teleport", Objects: []work.Object{{Key: "e", Size: 5}}}}
		}
		return v
	}
	// The verdict turns a success around, for which the objects must be there.
	results[4].Outcomes[0].Outcome = work.Retry
	n, err := b.Record(b.ctx(), results, bad)
	if n != 5 || err != nil {
		t.Errorf("Record = %d, %v, want all 5 recorded", n, err)
	}
	b.counts(id, 5, 2, 0, 0, 3)
	attempts := map[string]int{}
	for _, it := range b.claim(10) {
		attempts[it.Objects[0].Key] = it.Attempt
	}
	if want := map[string]int{"b": 2, "c": 2, "e": 2}; !reflect.DeepEqual(attempts, want) {
		t.Errorf("to try again: %v, want %v", attempts, want)
	}
}

// TestPoisonToTheEnd: a planner that is out of its mind harms nothing but its
// item, which stays as it is.
func TestPoisonToTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // no database refuses what it is told
	id, it := b.scanned("a")
	mad := []work.Verdict{
		{State: work.Done},
		{State: work.Dead},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Retry}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}, Items: []work.NewItem{{Kind: work.Copy, Objects: it.Objects}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}, Items: []work.NewItem{{Kind: work.Scan, Range: &work.Range{}}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}, Items: []work.NewItem{{Kind: work.Copy}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Retry}}, Items: []work.NewItem{{Kind: work.Copy, Objects: it.Objects, Outcomes: []work.ObjectOutcome{{Outcome: work.Retry}}}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Retry}}, Items: []work.NewItem{{Kind: "teleport", Objects: it.Objects}}},
		{State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Retry}}, Items: []work.NewItem{{Kind: work.Copy, Objects: []work.Object{{Key: "a", Size: -1}}}}},
	}
	for i, v := range mad {
		n, err := b.Record(b.ctx(), []work.Result{all(it, "retry transient")}, func(work.Item, work.Result) work.Verdict { return v })
		if n != 0 || err != nil {
			t.Errorf("verdict %d: Record = %d, %v, want nothing changed", i, n, err)
		}
		b.counts(id, 1, 0, 0, 0, 0)
	}
	n, err := b.Record(b.ctx(), []work.Result{all(it, "copied")}, func(work.Item, work.Result) work.Verdict { return work.Verdict{} })
	if n != 0 || err != nil {
		t.Errorf("an empty verdict: Record = %d, %v, want nothing changed", n, err)
	}
	b.record(all(it, "copied"))
	b.finish(id, work.Succeeded)
}
