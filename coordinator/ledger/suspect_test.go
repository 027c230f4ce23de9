package ledger_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// silent is the result of an agent that does not touch an item.
func silent(it work.Item) work.Result {
	return result(it, work.Result{Fault: work.Internal, Error: "they died", Silent: 2})
}

// returned is the result of an agent that gives an item back.
func returned(it work.Item) work.Result {
	return result(it, work.Result{Fault: work.Throttled, Error: "given back", Returned: true})
}

// TestPoisonIsDividedAndFailed: a batch that kills agents is divided until the
// one object that does stands alone and fails; the others are copied, and at
// every step all objects are accounted for.
func TestPoisonIsDividedAndFailed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = fmt.Sprintf("%03d", i)
	}
	const poison = "123"
	id, it := b.scanned(keys...)
	reports := 0
	for open := []work.Item{it}; len(open) > 0; open = b.claim(10) {
		for _, it := range open {
			r := all(it, "copied")
			if slices.ContainsFunc(it.Objects, func(o work.Object) bool { return o.Key == poison }) {
				reports++
				r = silent(it)
			}
			b.record(r)
			b.recorded(0, r, silent(it)) // they come again
			b.balanced(id)
		}
	}
	j := b.finish(id, work.Incomplete)
	if j.Planned != 200 || j.Copied != 199 || j.Failed != 1 {
		t.Errorf("job %+v, want all but one copied", j.Counts)
	}
	attempts := work.DefaultOptions().MaxAttempts
	failures, _, err := b.Failures(b.ctx(), work.FailureQuery{Job: id})
	b.must(err)
	if len(failures) != 1 || failures[0].Key != poison || failures[0].Fault != work.Internal || failures[0].Attempts != attempts {
		t.Errorf("failures %+v, want that of %s alone", failures, poison)
	}
	if most := 8 + attempts; reports > most { // 200 objects are halved eight times
		t.Errorf("it was given up after %d reports of silence, want at most %d", reports, most)
	}
}

// TestSuspicionIsHandedOut: agents are told of it, until one of them survives.
func TestSuspicionIsHandedOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(silent(scan))
	again := b.claimOne()
	if !again.Suspect || again.Kind != work.Scan || again.ID == scan.ID || again.Attempt != 1 {
		t.Fatalf("the scan goes on as %+v", again)
	}
	b.record(page(again, true, "a"))
	it := b.claimOne()
	if it.Suspect {
		t.Error("what a suspect found is one")
	}
	b.record(silent(it))
	if it = b.claimOne(); !it.Suspect {
		t.Errorf("the object goes on as %+v", it)
	}
	b.record(all(it, "retry transient"))
	if it = b.claimOne(); it.Suspect {
		t.Error("an object that an agent survived is a suspect")
	}
	b.record(all(it, "copied"))
	b.finish(id, work.Succeeded)
}

// TestReturned: an item that was given back is handed out again under the next
// epoch, after some rest; nothing else has changed.
func TestReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b")
	const lastMove = `SELECT moved_at FROM tranship.jobs WHERE id = $1`
	moved := b.text(lastMove, id)
	n, err := b.Record(b.ctx(), []work.Result{returned(it)}, func(work.Item, work.Result) work.Verdict {
		return work.Verdict{State: work.Ready, Delay: time.Hour}
	})
	if n != 1 || err != nil {
		t.Fatalf("Record = %d, %v", n, err)
	}
	if items := b.claim(10); len(items) != 0 {
		t.Fatalf("claimed %d items before they had rested", len(items))
	}
	next := b.rested(it)
	if next.Epoch != it.Epoch+1 || next.Attempt != it.Attempt || len(next.Objects) != 2 {
		t.Errorf("claimed %+v, want the same again", next)
	}
	b.recorded(0, returned(it)) // late
	b.counts(id, 2, 0, 0, 0, 0)
	if at := b.text(lastMove, id); at != moved {
		t.Errorf("the job seems to have moved at %s, was %s", at, moved)
	}
	b.record(all(it, "copied")) // by the agent that was thought to have given up
	b.finish(id, work.Succeeded)
}

// rested claims an item that was given back and has rested.
func (b *bench) rested(it work.Item) work.Item {
	b.t.Helper()
	b.exec(`UPDATE tranship.items SET not_before = now() WHERE id = $1`, it.ID)
	next := b.claimOne()
	if next.ID != it.ID || next.Kind != it.Kind {
		b.t.Fatalf("claimed %s %d, want %s %d again", next.Kind, next.ID, it.Kind, it.ID)
	}
	return next
}

// TestReturnedStep: what belongs to an upload goes back too, and the upload
// stays as it is.
func TestReturnedStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	back := func() work.Item {
		it := b.claimOne()
		b.record(returned(it))
		return b.rested(it)
	}
	id := b.create(func(n *work.NewJob) { n.Options.Split = 1 })
	b.record(page(b.claimOne(), true, "a"))
	b.record(opens(back(), "u"))
	b.record(stored(back()))
	finish := back()
	if len(finish.Parts) != 1 {
		t.Errorf("the finish has %d parts", len(finish.Parts))
	}
	b.record(all(finish, "copied"))
	b.finish(id, work.Succeeded)
	if state := b.text(`SELECT state FROM tranship.uploads WHERE job_id = $1`, id); state != "finished" {
		t.Errorf("the upload is %s", state)
	}
}
