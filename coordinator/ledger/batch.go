package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// A batch is the part of the ledger that a batch of results is about: open
// items of open jobs, locked, and what is to be changed.
type batch struct {
	rows map[work.ItemID]*openItem
	jobs map[work.JobID]*jobChange

	inserts  []newRow
	failures []failureRow
	skips    map[skipReason]*skipCount
}

// An openItem is an item's row, with the changes made to it so far.
type openItem struct {
	itemRow
	State    work.ItemState
	Amount   int    // objects
	Bytes    int64  // of them
	FirstKey []byte // of them

	item    work.Item // the row decoded, its range moved on
	touched bool
	tally   tally
	result  string // JSON
	agent   string
	fault   work.Fault
	reason  string // why it is dead
}

// A jobChange is what the results add to a job's counters.
type jobChange struct {
	planned, copied, skipped, failed, retries int64
	plannedBytes, doneBytes, movedBytes       int64
}

// loadBatch locks the jobs of the results, then their items, and reads those
// that are open. Whoever locks both does it in this order and by id.
func loadBatch(ctx context.Context, tx *sqlx.Tx, results []work.Result) (*batch, error) {
	const lockJobs = `
		SELECT id FROM jobs WHERE id = ANY ($1) AND state IN ('running', 'paused') ORDER BY id FOR NO KEY UPDATE`
	const lockItems = `
		SELECT i.job_id AS job, i.id, i.kind, j.class, i.site, i.attempt, i.epoch,
			j.source, j.target, j.options, i.spec, i.state, i.objects_count AS amount, i.bytes, i.first_key AS firstkey
		FROM items i
		JOIN jobs j ON j.id = i.job_id
		WHERE i.id = ANY ($1) AND i.job_id = ANY ($2) AND i.state IN ('ready', 'queued')
		ORDER BY i.id
		FOR UPDATE OF i`

	b := &batch{
		rows:  map[work.ItemID]*openItem{},
		jobs:  map[work.JobID]*jobChange{},
		skips: map[skipReason]*skipCount{},
	}
	var jobs, items []int64
	for _, r := range results {
		jobs, items = append(jobs, int64(r.Job)), append(items, int64(r.Item))
	}
	var open []int64
	if err := tx.SelectContext(ctx, &open, lockJobs, pq.Array(jobs)); err != nil || len(open) == 0 {
		return b, err
	}
	var rows []*openItem
	if err := tx.SelectContext(ctx, &rows, lockItems, pq.Array(items), pq.Array(open)); err != nil {
		return nil, err
	}
	for _, row := range rows {
		var err error
		if row.item, err = row.itemRow.item(); err != nil {
			return nil, err
		}
		b.rows[row.ID] = row
	}
	return b, nil
}

// wanting returns the items whose objects decide will need.
func (b *batch) wanting(results []work.Result) []int64 {
	var ids []int64
	for _, r := range results {
		if row := b.open(r); row != nil && row.Kind == work.Copy && !succeeded(r) {
			ids = append(ids, int64(r.Item))
		}
	}
	return ids
}

// loadObjects reads the objects of items that are locked.
func (b *batch) loadObjects(ctx context.Context, tx *sqlx.Tx, ids []int64) error {
	const query = `SELECT id, objects FROM items WHERE id = ANY ($1) AND objects IS NOT NULL`

	if len(ids) == 0 {
		return nil
	}
	var rows []struct {
		ID      work.ItemID
		Objects []byte
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return err
	}
	for _, r := range rows {
		if row := b.rows[r.ID]; row != nil {
			if err := json.Unmarshal(r.Objects, &row.item.Objects); err != nil {
				return fmt.Errorf("read the objects of item %d: %w", r.ID, err)
			}
		}
	}
	return nil
}

// succeeded reports whether a result is good news only, which counts from any
// epoch: the bytes are there, or the page was listed.
func succeeded(r work.Result) bool {
	if r.Fault != "" {
		return false
	}
	for _, o := range r.Outcomes {
		if o.Outcome != work.Copied && o.Outcome != work.Skipped {
			return false
		}
	}
	return true
}

// open returns the item that a result is about, or nil if the result changes
// nothing: a repeat, a late one, a stale failure.
func (b *batch) open(r work.Result) *openItem {
	row := b.rows[r.Item]
	switch {
	case row == nil, row.Job != r.Job:
		return nil
	case row.State != work.Ready && row.State != work.Queued:
		return nil
	case !succeeded(r) && r.Epoch < row.Epoch:
		return nil
	}
	return row
}

// apply changes the rows in memory by one result and reports whether anything
// changed. On an error nothing has.
func (b *batch) apply(r work.Result, decide decider) (bool, error) {
	row := b.open(r)
	if row == nil {
		return false, nil
	}
	if err := row.fits(r); err != nil {
		return false, err
	}
	v := decide(row.item, r)
	if v.State == "" {
		return false, nil
	}
	if err := row.check(v); err != nil {
		return false, err
	}
	if row.Kind == work.Copy {
		result, err := jsonOf(plainOutcomes(v.Outcomes), true)
		if err != nil {
			return false, fmt.Errorf("write the outcomes: %w", err)
		}
		row.result, row.tally = result, tallyOf(v.Outcomes)
	} else {
		row.item.Range.After = max(row.item.Range.After, v.Cursor)
	}
	row.touched, row.agent = true, plain(r.Agent)
	if v.State != work.Queued { // going on leaves it where it is: ready, if it was made ready again
		row.State = v.State
	}
	if v.State == work.Dead {
		row.fault, row.reason = v.Fault, work.Clip(plain(v.Error))
	}
	c := b.change(row.Job)
	c.movedBytes += r.Moved
	if row.Kind == work.Copy {
		b.count(row, v.Outcomes, row.item.Objects, row.Bytes, c)
		b.addFailures(row.Job, row.ID, -1, v.Outcomes, row.item.Objects, row.Attempt, row.agent)
	}
	b.insert(row, v, c)
	return true, nil
}

func (b *batch) change(job work.JobID) *jobChange {
	c := b.jobs[job]
	if c == nil {
		c = new(jobChange)
		b.jobs[job] = c
	}
	return c
}

// mostBytes bounds what a result may claim of an object or of itself, so that
// no agent can make a job's counters overflow.
const mostBytes = 1 << 50

// fits reports why a result cannot be one of the item.
func (row *openItem) fits(r work.Result) error {
	switch {
	case r.Moved < 0 || r.Moved > mostBytes:
		return fmt.Errorf("the result says that %d bytes were moved", r.Moved)
	case r.Fault != "":
		return nil
	case row.Kind == work.Scan && r.Page == nil:
		return errors.New("the result of a scan has no page")
	case row.Kind == work.Copy && len(r.Outcomes) != row.Amount:
		return fmt.Errorf("the result has %d outcomes for %d objects", len(r.Outcomes), row.Amount)
	}
	return nil
}

// check reports why a verdict would lose or double objects.
func (row *openItem) check(v work.Verdict) error {
	carried := 0
	for _, n := range v.Items {
		switch {
		case n.Kind == work.Scan && n.Range == nil, n.Kind == work.Copy && len(n.Objects) == 0:
			return fmt.Errorf("the verdict has an empty %s item", n.Kind)
		case n.Kind == work.Scan && row.Kind != work.Scan:
			return errors.New("the verdict makes a copy become a scan")
		case n.Outcomes != nil && (len(n.Outcomes) != len(n.Objects) || tallyOf(n.Outcomes).handed > 0):
			return errors.New("the verdict has an item that is done without being so")
		}
		for _, o := range n.Objects {
			if o.Size < 0 || o.Size > mostBytes {
				return fmt.Errorf("the verdict has an object of %d bytes: %s", o.Size, work.Quote(o.Key))
			}
		}
		carried += len(n.Objects)
	}
	if row.Kind == work.Scan {
		return nil
	}
	t := tallyOf(v.Outcomes)
	switch {
	case v.State != work.Done:
		return fmt.Errorf("a copy cannot become %s", v.State)
	case len(v.Outcomes) != row.Amount:
		return fmt.Errorf("the verdict has %d outcomes for %d objects", len(v.Outcomes), row.Amount)
	case t.handed != carried:
		return fmt.Errorf("the verdict hands on %d objects in items of %d", t.handed, carried)
	case t.failed+t.handed > 0 && len(row.item.Objects) != row.Amount:
		return errors.New("the verdict makes a success become a failure")
	}
	return nil
}

// count adds final outcomes of objects of an item, or of one that it brings,
// to the job's counters. The objects may be missing if all of them were copied
// or skipped; bytes is the size of all.
func (b *batch) count(row *openItem, outcomes []work.ObjectOutcome, objects []work.Object, bytes int64, c *jobChange) {
	t := tallyOf(outcomes)
	c.copied += int64(t.copied)
	c.skipped += int64(t.skipped)
	c.failed += int64(t.failed)
	for i, o := range outcomes {
		switch {
		case o.Outcome == work.Skipped && i < len(objects):
			b.skip(row.Job, o.Reason, objects[i].Key)
		case o.Outcome == work.Skipped && i == 0:
			b.skip(row.Job, o.Reason, string(row.FirstKey))
		case o.Outcome == work.Skipped:
			b.skip(row.Job, o.Reason, "")
		case o.Outcome != work.Copied:
			bytes -= objects[i].Size
		}
	}
	c.doneBytes += bytes
}

// insert adds the items of a verdict and counts their objects.
func (b *batch) insert(row *openItem, v work.Verdict, c *jobChange) {
	for _, n := range v.Items {
		if row.Kind == work.Scan {
			c.planned += int64(len(n.Objects))
			c.plannedBytes += bytesOf(n.Objects)
		} else {
			c.retries += int64(len(n.Objects))
		}
		born := newRow{item: n, job: row.Job, site: row.Site}
		if n.Outcomes != nil {
			born.agent = row.agent
			b.count(row, n.Outcomes, n.Objects, bytesOf(n.Objects), c)
			b.addFailures(row.Job, 0, len(b.inserts), n.Outcomes, n.Objects, max(n.Attempt, 1), born.agent)
		}
		b.inserts = append(b.inserts, born)
	}
}
