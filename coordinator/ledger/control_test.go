package ledger_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Whoever resumes a job does not want to wait for what agents gave back when it
// was paused.
func TestResumeWaitsForNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	it := b.claimOne()
	_, err := b.Pause(b.ctx(), id, "ada")
	b.must(err)
	b.record(work.Result{Job: id, Item: it.ID, Kind: it.Kind, Epoch: it.Epoch, Returned: true, Fault: work.Throttled})
	_, err = b.Resume(b.ctx(), id, "ada")
	b.must(err)
	if again := b.claimOne(); again.ID != it.ID || again.Epoch != it.Epoch+1 || again.Attempt != it.Attempt {
		t.Errorf("handed out is %+v, want item %d again", again, it.ID)
	}
}

// What is on the queue keeps its class, for it is in its subject; all else gets
// the new one.
func TestSetClass(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	id := b.create()
	queued := b.claimOne()
	j, err := b.SetClass(b.ctx(), id, work.Hi, "ada")
	if err != nil || j.Class != work.Hi {
		t.Fatalf("SetClass = %+v, %v", j, err)
	}
	b.exec(`UPDATE tranship.items SET looked_at = '-infinity'`)
	again, err := b.Overdue(b.ctx(), time.Second, 10)
	b.must(err)
	if len(again) != 1 || again[0].Subject() != queued.Subject() {
		t.Errorf("published again as %+v, want under %s", again, queued.Subject())
	}
	b.must(b.Release(b.ctx(), []work.Item{queued}))
	if it := b.claimOne(); it.Class != work.Hi {
		t.Errorf("once it was ready again it is handed out as %s", it.Class)
	}
	if _, err := b.SetClass(b.ctx(), id, work.Lo, "ada"); err != nil {
		t.Fatal(err)
	}
	if _, err = b.SetClass(b.ctx(), 99, work.Lo, "ada"); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("SetClass of no job = %v", err)
	}
	_, err = b.Cancel(b.ctx(), id, "ada")
	b.must(err)
	if _, err := b.SetClass(b.ctx(), id, work.Hi, "ada"); !errors.Is(err, work.ErrState) {
		t.Errorf("SetClass of a canceled job = %v", err)
	}
}
