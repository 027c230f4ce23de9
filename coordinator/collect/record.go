package collect

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/work"
)

const (
	// holdFor bounds how long a batch is tried. It is the time after which
	// the queue hands out again what was not acknowledged.
	holdFor = time.Minute

	// A page that came early is kept for earlyFor, and is recorded again
	// every earlyRetry. At most maxEarly batches are kept.
	earlyFor   = 5 * time.Second
	earlyRetry = 100 * time.Millisecond
	maxEarly   = 8
)

// recordAll records batches until there are no more or ctx ends.
func (c *Collector) recordAll(ctx context.Context, batches <-chan batch) {
	for {
		var again <-chan time.Time
		if len(c.early) > 0 {
			again = time.After(earlyRetry)
		}
		select {
		case b, ok := <-batches:
			if !ok {
				return // early pages come again, to whoever collects then
			}
			c.recordBatch(ctx, b)
		case <-again:
			c.recordBatch(ctx, batch{})
		}
	}
}

// recordBatch records b together with the pages that came early before it,
// and acknowledges what is settled by that.
func (c *Collector) recordBatch(ctx context.Context, b batch) {
	results := slices.Clone(b.results)
	for _, e := range c.early {
		results = append(results, e.results...)
	}
	slices.SortStableFunc(results, inOrder)

	early, err := c.record(ctx, results)
	if err != nil {
		c.early = nil
		c.o.Log.WarnContext(ctx, "results not recorded will come again", "results", len(results), "err", err)
		return
	}
	if b.results != nil {
		c.early = append(c.early, b)
	}
	c.settle(ctx, early)
}

// settle acknowledges the batches in hand that hold no early page any more,
// and those that were held for too long: their scans will be repeated.
func (c *Collector) settle(ctx context.Context, early map[*work.Page]bool) {
	var keep []batch
	for i, b := range c.early {
		b.results = slices.DeleteFunc(b.results, func(r work.Result) bool { return !early[r.Page] })
		crowded := len(c.early)-i > maxEarly
		if len(b.results) == 0 || crowded || c.o.Now().Sub(b.since) > earlyFor {
			c.acknowledge(ctx, b)
			continue
		}
		keep = append(keep, b)
	}
	c.early = keep
}

// inOrder sorts the pages of an item by where they begin, before what ends it.
func inOrder(a, b work.Result) int {
	if n := cmp.Compare(a.Item, b.Item); n != 0 {
		return n
	}
	switch {
	case a.Page == nil && b.Page == nil:
		return 0
	case a.Page == nil:
		return 1
	case b.Page == nil:
		return -1
	}
	return strings.Compare(a.Page.After, b.Page.After)
}

// record records results and returns the pages among them that came early. It
// sits out an outage of the ledger, for a while.
func (c *Collector) record(ctx context.Context, results []work.Result) (early map[*work.Page]bool, err error) {
	early = make(map[*work.Page]bool)
	decide := func(item work.Item, r work.Result) work.Verdict {
		if plan.Early(item, r) {
			early[r.Page] = true
		} else {
			delete(early, r.Page) // it was early in a transaction that was rolled back
		}
		return c.o.Planner.Decide(item, r)
	}
	for began := c.o.Now(); ; {
		changed, err := c.recorder.Record(ctx, results, decide)
		if err == nil {
			c.o.Ledger.Worked()
			if changed > 0 {
				c.o.Recorded(changed)
			}
			return early, nil
		}
		c.o.Ledger.Failed(ctx, err)
		if ctx.Err() != nil || c.o.Now().Sub(began) > holdFor {
			return nil, err
		}
	}
}
