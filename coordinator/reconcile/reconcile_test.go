package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A world is ledger and queue at once.
type world struct {
	queued   []work.Item
	there    map[work.ItemID]bool // on the queue
	settled  int                  // looks until the results are recorded
	refuse   error                // of Publish
	unkept   error                // of Requeued
	requeued []work.Item
	asked    []time.Duration // olderThan of each Overdue
	waits    int
}

func (w *world) Overdue(_ context.Context, olderThan time.Duration, limit int) ([]work.Item, error) {
	w.asked = append(w.asked, olderThan)
	n := min(limit, len(w.queued))
	items := w.queued[:n]
	w.queued = w.queued[n:]
	return items, nil
}

func (w *world) Requeued(_ context.Context, items []work.Item) error {
	w.requeued = append(w.requeued, items...)
	return w.unkept
}

func (w *world) Publish(_ context.Context, items []work.Item) []work.Receipt {
	receipts := make([]work.Receipt, len(items))
	for i, it := range items {
		receipts[i] = work.Receipt{Stored: !w.there[it.ID] && w.refuse == nil, Err: w.refuse}
	}
	return receipts
}

func (w *world) ResultsMark(context.Context) (uint64, error) { return 7, nil }

func (w *world) ResultsSettled(_ context.Context, mark uint64) (bool, error) {
	w.settled--
	return mark == 7 && w.settled < 0, nil
}

func (w *world) reconciler(lost *int) *Reconciler {
	return New(w, w, Options{
		OlderThan: time.Minute,
		Lost:      func(n int) { *lost += n },
		Wait:      func(context.Context) { w.waits++ },
	})
}

func items(n int) []work.Item {
	all := make([]work.Item, n)
	for i := range all {
		all[i] = work.Item{ID: work.ItemID(i + 1), Epoch: 2}
	}
	return all
}

func TestLostItemsArePublished(t *testing.T) {
	t.Parallel()
	w := &world{queued: items(batch + 2), there: map[work.ItemID]bool{1: true, batch + 1: true}}
	lost := 0
	r := w.reconciler(&lost)
	if done, err := r.Round(t.Context()); !done || err != nil {
		t.Fatalf("Round = %v, %v", done, err)
	}
	if len(w.requeued) != batch || lost != batch || slices.ContainsFunc(w.requeued, func(it work.Item) bool { return w.there[it.ID] }) {
		t.Errorf("noted %d items as lost, told of %d, want the %d that were", len(w.requeued), lost, batch)
	}
	if done, err := r.Round(t.Context()); !done || err != nil {
		t.Fatalf("Round = %v, %v", done, err)
	}
	if want := []time.Duration{firstLook, firstLook, time.Minute}; !slices.Equal(w.asked, want) {
		t.Errorf("looked for items older than %v, want %v", w.asked, want)
	}
}

// A result that waits to be recorded is of an item that is not lost.
func TestResultsAreRecordedFirst(t *testing.T) {
	t.Parallel()
	for _, looks := range []int{0, 3, settledLooks} {
		w := &world{queued: items(1), settled: looks}
		lost := 0
		done, err := w.reconciler(&lost).Round(t.Context())
		if want := looks < settledLooks; done != want || err != nil || (lost == 1) != want {
			t.Errorf("settled after %d looks: Round = %v, %v with %d lost; want %v", looks, done, err, lost, want)
		}
		if w.waits != looks {
			t.Errorf("waited %d times, want %d", w.waits, looks)
		}
	}
}

func TestTroubleIsToldAndNotTheEnd(t *testing.T) {
	t.Parallel()
	trouble := errors.New("no responders")
	for name, w := range map[string]*world{
		"queue":  {queued: items(1), refuse: trouble},
		"ledger": {queued: items(1), unkept: trouble},
	} {
		lost := 0
		r := w.reconciler(&lost)
		if done, err := r.Round(t.Context()); done || !errors.Is(err, trouble) || lost != 0 {
			t.Errorf("%s: Round = %v, %v with %d lost", name, done, err, lost)
		}
		w.refuse, w.unkept, w.queued = nil, nil, items(1)
		if done, err := r.Round(t.Context()); !done || err != nil || lost != 1 {
			t.Errorf("%s: Round afterwards = %v, %v with %d lost", name, done, err, lost)
		}
		if w.asked[len(w.asked)-1] != firstLook {
			t.Errorf("%s: a round that was not done counts as the first", name)
		}
	}
}
