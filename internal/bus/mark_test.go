package bus

import (
	"slices"
	"sync"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestMark(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	mark := func() work.Mark {
		t.Helper()
		m, err := b.Mark(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if got := mark(); got != (work.Mark{}) {
		t.Errorf("Mark of a new queue = %+v", got)
	}
	// Coordinators that move it at once take nothing from each other.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := b.MoveMark(testContext(t), func(m work.Mark) work.Mark {
				m.Issued.Item++
				m.Issued.Job += 2
				return m
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, want := mark().Issued, (work.Issued{Job: 16, Item: 8}); got != want {
		t.Errorf("after 8 moves: %+v, want %+v", got, want)
	}
	// It is made anew where it was lost.
	if err := b.js.DeleteKeyValue(testContext(t), ledgerBucket); err != nil {
		t.Fatal(err)
	}
	if got := mark(); got != (work.Mark{}) {
		t.Errorf("Mark of a queue that was lost = %+v", got)
	}
	set := work.Mark{Issued: work.Issued{Item: 3}, SetBack: &work.Issued{Item: 2}}
	if err := b.MoveMark(testContext(t), func(work.Mark) work.Mark { return set }); err != nil {
		t.Fatal(err)
	}
	if got := mark(); got.Issued != set.Issued || got.SetBack == nil || *got.SetBack != *set.SetBack {
		t.Errorf("Mark = %+v, want %+v", got, set)
	}
}

// What a ledger that was set back does not know any more leaves the queue; the
// rest stays.
func TestForget(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	elsewhere := item(work.Hi, 2, 9)
	elsewhere.Site = "other"
	publish(t, b, append(items(work.Norm, 1, 7, 2), elsewhere)...)
	set(t, b, 1, work.Running)
	set(t, b, 2, work.Running)

	n, err := b.Forget(testContext(t), work.Issued{Job: 1, Item: 7})
	if err != nil || n != 2 {
		t.Errorf("Forget = %d, %v, want items 8 and 9", n, err)
	}
	jobs, err := b.Jobs(testContext(t))
	if err != nil || !slices.Equal(jobs, []work.JobID{1}) {
		t.Errorf("Jobs = %v, %v, want job 1", jobs, err)
	}
	if here, there := messages(t, b, "TRANSHIP_WORK_s"), messages(t, b, "TRANSHIP_WORK_other"); here != 1 || there != 0 {
		t.Errorf("%d and %d items are left, want item 7 alone", here, there)
	}
}
