package coordinator

import (
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A limit reaches the agents, which say what they use of it; what it bounds is
// marked, and an agent that does not answer is named.
func TestLimitIsLeased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 600
	name := b.fill(n)
	limit := work.Limit{Scope: work.LimitStore, Name: "mem://" + name, Rate: work.Rate{Requests: 2000}}
	if _, _, err := (limits{c}).SetLimit(t.Context(), limit, "ada", false); err != nil {
		t.Fatal(err)
	}
	if err := b.ledger.Beat(t.Context(), []work.Presence{{Agent: "old", Site: work.DefaultSite, Started: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	j := b.job(c, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	if !c.allotter.Limited(work.Item{Job: j.ID, Kind: work.Copy, Site: j.Site, Source: j.Source, Target: j.Target}) {
		t.Error("an item of the job is not limited")
	}
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
	all, shares, unbounded, err := (limits{c}).Limits(t.Context())
	if err != nil || len(all) != 1 || len(shares) != 1 || shares[0].Agent != "a1" || shares[0].Requests <= 0 || len(unbounded) != 1 || unbounded[0] != "default/old" {
		t.Errorf("limits %+v, shares %+v, unbounded %v, %v", all, shares, unbounded, err)
	}
	if found := c.examineLimits(t.Context()); len(found) != 1 || found[0].State != work.CheckWarning {
		t.Errorf("doctor finds %+v", found)
	}
	if _, err := (limits{c}).RemoveLimit(t.Context(), work.LimitStore, "mem://"+name, "ada", false); err != nil {
		t.Fatal(err)
	}
	if found := c.examineLimits(t.Context()); len(found) != 0 {
		t.Errorf("without limits doctor finds %+v", found)
	}
	for end := time.Now().Add(patience); len(shares) > 0; time.Sleep(50 * time.Millisecond) {
		if shares, err = b.ledger.Shares(t.Context()); err != nil || time.Now().After(end) {
			t.Fatalf("shares of a limit that is gone: %+v, %v", shares, err)
		}
	}
}
