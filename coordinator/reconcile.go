package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	reconcileEvery = 3 * time.Second
	reconcileBatch = 500
	startReconcile = 2 * time.Second // instead of the configured time, once after a start
	settledPoll    = 100 * time.Millisecond
	settledWithin  = 20 * time.Second
)

// reconciling returns the loop that reconciles. The first time it looks for
// everything, for nobody knows what happened while nothing ran here.
func (c *Coordinator) reconciling() loop {
	olderThan := min(time.Duration(c.cfg.Reconcile), startReconcile)
	return loop{what: "reconciling", every: reconcileEvery, wake: c.lost, turn: func(ctx context.Context) error {
		done, err := c.reconcile(ctx, olderThan)
		if done {
			olderThan = time.Duration(c.cfg.Reconcile)
		}
		return err
	}}
}

// reconcile publishes again what the ledger believes queued without a sign of
// life for olderThan. The queue refuses what it still has, so publishing is
// also the question whether the message is still there.
//
// One race needs care: the result of an item may be on the queue already and
// its message therefore gone. So all results that were there at the beginning
// must be recorded before the ledger is asked. A result that comes later than
// that costs a repeat, which finds the objects at the target.
//
// It reports false if the results did not come to an end in time, so that
// nothing was looked for.
func (c *Coordinator) reconcile(ctx context.Context, olderThan time.Duration) (bool, error) {
	mark, err := c.bus.ResultsMark(ctx)
	if err != nil {
		return false, fmt.Errorf("find the end of the results: %w", err)
	}
	if ok, err := c.settled(ctx, mark); err != nil || !ok {
		return false, err
	}
	for {
		items, err := c.ledger.Overdue(ctx, olderThan, reconcileBatch)
		if err != nil {
			return false, fmt.Errorf("find overdue items: %w", err)
		}
		if err := c.republish(ctx, items); err != nil {
			return false, err
		}
		if len(items) < reconcileBatch {
			return true, nil
		}
	}
}

// settled waits until all results up to mark are recorded, and reports
// whether they are.
func (c *Coordinator) settled(ctx context.Context, mark uint64) (bool, error) {
	for until := time.Now().Add(settledWithin); time.Now().Before(until) && ctx.Err() == nil; sleep(ctx, settledPoll) {
		ok, err := c.bus.ResultsSettled(ctx, mark)
		if err != nil {
			return false, fmt.Errorf("see how far results are recorded: %w", err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// republish publishes items and keeps the new epoch of those that had been
// lost. If that fails, the message has a newer epoch than the row: its result
// counts all the same.
func (c *Coordinator) republish(ctx context.Context, items []work.Item) error {
	if len(items) == 0 {
		return nil
	}
	var lost []work.Item
	var failed error
	for i, receipt := range c.publisher.Publish(ctx, items) {
		switch {
		case receipt.Err != nil:
			failed = fmt.Errorf("publish item %d again: %w", items[i].ID, receipt.Err)
		case receipt.Stored:
			lost = append(lost, items[i])
		}
	}
	if len(lost) > 0 {
		if err := c.ledger.Requeued(ctx, lost); err != nil {
			return fmt.Errorf("keep the epoch of %d items published again: %w", len(lost), err)
		}
		c.metrics.reconciled.Add(float64(len(lost)))
		c.log.InfoContext(ctx, "items were not on the queue, published again", "items", len(lost), "first", lost[0].ID, "job", lost[0].Job)
	}
	return failed
}
