package ledger_test

import (
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestResultOfAnotherSite: an agent may only say what became of items that were
// handed out where it stands, whatever ids it names.
func TestResultOfAnotherSite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b")
	said := outcomes(it, "copied", "copied")
	said.Site = "elsewhere"
	b.recorded(0, said)
	if j := b.job(id); j.Copied != 0 || j.Open != 2 {
		t.Errorf("an agent of another site closed the item: %+v", j.Counts)
	}
	said.Site = it.Site
	b.recorded(1, said)
	if j := b.job(id); j.Copied != 2 {
		t.Errorf("one of its own did not: %+v", j.Counts)
	}
}

// TestResultOfAnySite: what any agent may take, any agent may report.
func TestResultOfAnySite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(func(n *work.NewJob) { n.Site = work.AnySite })
	items, err := b.Claim(b.ctx(), work.AnySite, 1)
	b.must(err)
	if len(items) != 1 {
		t.Fatalf("%d items of the site any", len(items))
	}
	b.record(work.Result{Job: id, Item: items[0].ID, Kind: work.Scan, Epoch: 1, Agent: "a", Site: "west",
		Page: &work.Page{Last: true}})
	if j := b.job(id); j.Scanning {
		t.Error("its scan was not closed")
	}
}
