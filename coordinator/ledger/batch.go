package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// A batch is the part of the ledger that a batch of results is about: open
// items of open jobs, locked, and what is to be changed.
type batch struct {
	rows map[work.ItemID]*openItem
	jobs map[work.JobID]*jobChange
	bigObjects

	inserts  []newRow
	failures []failureRow
	remarks  map[remark]*remarkCount
	reports  map[work.JobID]string // JSON
}

// An openItem is an item's row, with the changes made to it so far.
type openItem struct {
	itemRow
	State    work.ItemState
	Amount   int    // objects
	Bytes    int64  // of them
	FirstKey []byte // of them

	item    work.Item // the row decoded, its range moved on
	upload  *upload   // that it belongs to; nil: none
	touched bool
	delay   time.Duration // of one that is ready again
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

// loadBatch locks the jobs of the results, then their items and those that may
// change with them, then the uploads, and reads what is open. Whoever locks
// several does it in this order and by id.
func loadBatch(ctx context.Context, tx *sqlx.Tx, results []work.Result) (*batch, error) {
	const lockJobs = `SELECT id FROM jobs WHERE id = ANY ($1)`
	const ordered = ` ORDER BY id FOR NO KEY UPDATE`
	const lockItems = `
		SELECT i.job_id AS job, i.id, i.kind, j.class, i.site, i.attempt, i.epoch,
			j.source, j.target, j.options, i.spec, i.upload, coalesce(i.n, 0) AS n, i.suspect,
			i.state, i.objects_count AS amount, i.bytes, i.first_key AS firstkey
		FROM items i
		JOIN jobs j ON j.id = i.job_id
		WHERE i.id = ANY ($1) AND i.job_id = ANY ($2) AND i.state IN ('waiting', 'ready', 'queued')`
	const orderedItems = ` ORDER BY i.id FOR UPDATE OF i`

	b := &batch{
		rows:    map[work.ItemID]*openItem{},
		jobs:    map[work.JobID]*jobChange{},
		remarks: map[remark]*remarkCount{},
	}
	var jobs, items []int64
	ofJobs, ofItems := ` AND state IN ('running', 'paused')`, ``
	for _, r := range results {
		jobs, items = append(jobs, int64(r.Job)), append(items, int64(r.Item))
		if r.Kind == work.Abort || opened(r) {
			// An upload may have to be given up when its job is long over.
			ofJobs, ofItems = ``, ` AND (j.state IN ('running', 'paused') OR i.kind = 'abort')`
		}
	}
	var locked []int64
	if err := tx.SelectContext(ctx, &locked, lockJobs+ofJobs+ordered, pq.Array(jobs)); err != nil || len(locked) == 0 {
		return b, err
	}
	family, err := familyOf(ctx, tx, results)
	if err != nil {
		return nil, err
	}
	var rows []*openItem
	if err := tx.SelectContext(ctx, &rows, lockItems+ofItems+orderedItems, pq.Array(append(items, family...)), pq.Array(locked)); err != nil {
		return nil, err
	}
	for _, row := range rows {
		var err error
		if row.item, err = row.itemRow.item(); err != nil {
			return nil, err
		}
		b.rows[row.ID] = row
	}
	return b, b.loadUploads(ctx, tx)
}

// wanting returns the items whose objects decide will need.
func (b *batch) wanting(results []work.Result) []int64 {
	var ids []int64
	for _, r := range results {
		row := b.open(r)
		switch {
		case row == nil, r.Returned:
		case row.Kind == work.Part && r.Fault != "":
			ids = append(ids, b.finishOf(row)...)
		case row.carries() && (!succeeded(r) || opened(r)):
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
	if v.State == work.Ready {
		row.touched, row.agent, row.State, row.delay = true, plain(r.Agent), work.Ready, v.Delay
		return true, nil // nothing has moved on: not the job either
	}
	end, err := b.endOf(row, r, v, decide)
	if err != nil {
		return false, err
	}
	result, err := row.resultOf(v)
	if err != nil {
		return false, fmt.Errorf("write what became of the item: %w", err)
	}
	b.take(row, plain(r.Agent), v, result)
	if end != nil {
		b.giveUp(row.upload, plain(r.Agent), *end)
	}
	if row.Kind != work.Abort { // whose job may be over and is not to change
		b.change(row.Job).movedBytes += r.Moved
	}
	return true, nil
}

// resultOf returns the JSON of what is kept with the row.
func (row *openItem) resultOf(v work.Verdict) (string, error) {
	if row.Kind == work.Part {
		return jsonOf(v.Part, v.Part != nil)
	}
	return jsonOf(plainOutcomes(v.Outcomes), row.carries())
}

// take makes a verdict's changes.
func (b *batch) take(row *openItem, agent string, v work.Verdict, result string) {
	row.touched, row.agent, row.result = true, agent, result
	if v.State != work.Queued { // going on leaves it where it is: ready, if it was made ready again
		row.State = v.State
	}
	if v.State == work.Dead {
		row.fault, row.reason = v.Fault, work.Clip(plain(v.Error))
	}
	if row.Kind == work.Scan {
		row.item.Range.After = max(row.item.Range.After, v.Cursor)
		b.report(row, v.Report)
	}
	u := b.takeUpload(row, v)
	if row.Kind == work.Abort {
		b.insert(row, v, u, nil)
		return
	}
	c := b.change(row.Job)
	if row.carries() {
		row.tally = tallyOf(v.Outcomes)
		b.count(row, v.Outcomes, row.item.Objects, row.Bytes, c)
		b.addFailures(row.Job, row.ID, -1, v.Outcomes, row.item.Objects, row.Attempt, agent)
	}
	if v.Upload != nil {
		c.plannedBytes += v.Object.Size - row.Bytes // it may have changed since it was listed
	}
	b.insert(row, v, u, c)
}

func (b *batch) change(job work.JobID) *jobChange {
	c := b.jobs[job]
	if c == nil {
		c = new(jobChange)
		b.jobs[job] = c
	}
	return c
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
		if o.Outcome != work.Copied && o.Outcome != work.Skipped {
			bytes -= objects[i].Size
			continue
		}
		key := ""
		switch {
		case i < len(objects):
			key = objects[i].Key
		case i == 0:
			key = string(row.FirstKey)
		}
		b.remark(row.Job, o, key)
	}
	c.doneBytes += bytes
}

// insert adds the items of a verdict, of which those of a big object belong to
// u, and counts their objects. Aborts have none to count.
func (b *batch) insert(row *openItem, v work.Verdict, u *upload, c *jobChange) {
	for _, n := range v.Items {
		born := newRow{item: n, job: row.Job, site: row.Site, parent: row.ID}
		switch n.Kind {
		case work.Finish:
			born.upload, born.waits = u, v.Upload != nil
			u.finish = len(b.inserts)
		case work.Part, work.Abort:
			born.upload = u
		}
		switch {
		case row.Kind == work.Scan:
			c.planned += int64(len(n.Objects))
			c.plannedBytes += bytesOf(n.Objects)
		case len(n.Objects) > 0 && !born.waits:
			c.retries += int64(len(n.Objects))
		}
		if n.Outcomes != nil {
			born.agent = row.agent
			b.count(row, n.Outcomes, n.Objects, bytesOf(n.Objects), c)
			b.addFailures(row.Job, 0, len(b.inserts), n.Outcomes, n.Objects, max(n.Attempt, 1), born.agent)
		}
		b.inserts = append(b.inserts, born)
	}
}
