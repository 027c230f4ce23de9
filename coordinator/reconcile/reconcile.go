package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Ledger knows what is queued; in production it is a *ledger.Ledger.
type Ledger interface {
	// Overdue returns up to limit queued items without a sign of life for
	// olderThan, each under its next epoch. It does not return them again
	// before as much time has passed, and changes nothing else.
	Overdue(ctx context.Context, olderThan time.Duration, limit int) ([]work.Item, error)
	// Requeued notes that the queue took items under their new epoch. An item
	// that has moved on since is left alone.
	Requeued(ctx context.Context, items []work.Item) error
}

// A Queue publishes items and tells how far results are recorded; in
// production it is a *bus.Bus.
type Queue interface {
	// Publish puts items on the queue and returns a receipt for each, in their
	// order. Publishing an item that is still there changes nothing.
	Publish(ctx context.Context, items []work.Item) []work.Receipt
	// ResultsMark returns a mark behind the newest result.
	ResultsMark(ctx context.Context) (uint64, error)
	// ResultsSettled reports whether every result up to mark is in the ledger.
	ResultsSettled(ctx context.Context, mark uint64) (bool, error)
}

// Options say when to look, and whom to tell.
type Options struct {
	OlderThan time.Duration         // without a sign of life
	Lost      func(n int)           // called for items that were lost; nil: nobody
	Log       *slog.Logger          // nil: silent
	Wait      func(context.Context) // between two looks at the results; nil: a moment
}

const (
	batch        = 500
	firstLook    = 2 * time.Second // instead of Options.OlderThan, until a round is done
	settledPoll  = 100 * time.Millisecond
	settledLooks = 200
)

// A Reconciler finds lost items.
type Reconciler struct {
	ledger    Ledger
	queue     Queue
	o         Options
	olderThan time.Duration // of the next round
}

// New returns a Reconciler. In its first round it looks for everything, for
// nobody knows what happened while nothing ran here.
func New(l Ledger, q Queue, o Options) *Reconciler {
	if o.Lost == nil {
		o.Lost = func(int) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	return &Reconciler{ledger: l, queue: q, o: o, olderThan: min(o.OlderThan, firstLook)}
}

// Round publishes again what the ledger believes queued without a sign of
// life. It reports false if the results did not come to an end in time, so
// that nothing was looked for.
func (r *Reconciler) Round(ctx context.Context) (done bool, err error) {
	mark, err := r.queue.ResultsMark(ctx)
	if err != nil {
		return false, fmt.Errorf("find the end of the results: %w", err)
	}
	if ok, err := r.settled(ctx, mark); err != nil || !ok {
		return false, err
	}
	for {
		items, err := r.ledger.Overdue(ctx, r.olderThan, batch)
		if err != nil {
			return false, fmt.Errorf("find overdue items: %w", err)
		}
		if err := r.publish(ctx, items); err != nil {
			return false, err
		}
		if len(items) < batch {
			r.olderThan = r.o.OlderThan
			return true, nil
		}
	}
}

// settled waits until all results up to mark are recorded, and reports
// whether they are.
func (r *Reconciler) settled(ctx context.Context, mark uint64) (bool, error) {
	for range settledLooks {
		ok, err := r.queue.ResultsSettled(ctx, mark)
		if err != nil {
			return false, fmt.Errorf("see how far results are recorded: %w", err)
		}
		if ok {
			return true, nil
		}
		if r.o.Wait(ctx); ctx.Err() != nil {
			break
		}
	}
	return false, nil
}

func wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(settledPoll):
	}
}

// publish publishes items and keeps the new epoch of those that had been lost.
// If that fails, the message has a newer epoch than the row: its result counts
// all the same.
func (r *Reconciler) publish(ctx context.Context, items []work.Item) error {
	if len(items) == 0 {
		return nil
	}
	var lost []work.Item
	var failed error
	for i, receipt := range r.queue.Publish(ctx, items) {
		switch {
		case receipt.Err != nil:
			failed = fmt.Errorf("publish item %d again: %w", items[i].ID, receipt.Err)
		case receipt.Stored:
			lost = append(lost, items[i])
		}
	}
	if len(lost) > 0 {
		if err := r.ledger.Requeued(ctx, lost); err != nil {
			return fmt.Errorf("keep the epoch of %d items published again: %w", len(lost), err)
		}
		r.o.Lost(len(lost))
		r.o.Log.InfoContext(ctx, "items were not on the queue, published again", "items", len(lost), "first", lost[0].ID, "job", lost[0].Job)
	}
	return failed
}
