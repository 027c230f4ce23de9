package ledger

import (
	"context"
	"log/slog"
	"slices"
	"time"

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
	kept    kept
	agent   string
	fault   work.Fault
	reason  string // why it is dead, or tried again
}

// A jobChange is what the results add to a job's counters.
type jobChange struct {
	planned, copied, skipped, failed, retries int64
	plannedBytes, doneBytes, movedBytes       int64
	came                                      bool // on: more became of it than that something is to be tried again
}

// newBatch returns a batch without rows.
func newBatch() *batch {
	return &batch{
		rows:    map[work.ItemID]*openItem{},
		jobs:    map[work.JobID]*jobChange{},
		remarks: map[remark]*remarkCount{},
	}
}

// reachesClosed reports whether results may change what belongs to a job that
// is over: an upload may have to be given up then.
func reachesClosed(results []work.Result) bool {
	return slices.ContainsFunc(results, func(r work.Result) bool { return r.Kind == work.Abort || opened(r) })
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
// nothing: a repeat, a late one, a stale failure, or one from an agent of a site
// that the item was never handed out at.
func (b *batch) open(r work.Result) *openItem {
	row := b.rows[r.Item]
	switch {
	case row == nil, row.Job != r.Job:
		return nil
	case r.Site != "" && r.Site != row.Site && row.Site != work.AnySite:
		return nil
	case row.State != work.Ready && row.State != work.Queued:
		return nil
	case !succeeded(r) && r.Epoch < row.Epoch:
		return nil
	}
	return row
}

// A decider says what becomes of an item in view of a result.
type decider = func(work.Item, work.Result) work.Verdict

// applyAll applies results to the rows in memory, in their order, and reports
// how many of them changed something. One that cannot be applied becomes a
// failure of its item. load fills in the objects of rows.
func (b *batch) applyAll(ctx context.Context, log *slog.Logger, results []work.Result, decide decider, load func(ids []int64) error) (changed int, err error) {
	if err := load(b.wanting(results)); err != nil {
		return 0, err
	}
	for _, r := range results {
		did, err := b.apply(r, decide)
		if err != nil {
			log.ErrorContext(ctx, "result refused", "job_id", r.Job, "item", r.Item, "agent", r.Agent, "epoch", r.Epoch, "err", err)
			bad := poisoned(r, err)
			if err := load(b.wanting([]work.Result{bad})); err != nil {
				return 0, err
			}
			if did, err = b.apply(bad, decide); err != nil {
				log.ErrorContext(ctx, "result dropped", "job_id", r.Job, "item", r.Item, "agent", r.Agent, "epoch", r.Epoch, "err", err)
			}
		}
		if did {
			changed++
		}
	}
	return changed, nil
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
	b.take(row, plain(r.Agent), v)
	if end != nil {
		b.giveUp(row.upload, plain(r.Agent), *end)
	}
	if row.Kind != work.Abort { // whose job may be over and is not to change
		c := b.change(row.Job)
		c.movedBytes += r.Moved
		c.came = c.came || row.bringsOn(v)
	}
	return true, nil
}

// bringsOn reports whether a verdict brings the job on: it does not if
// everything is only to be tried again.
func (row *openItem) bringsOn(v work.Verdict) bool {
	switch {
	case v.State == work.Dead, v.Part != nil, v.Upload != nil:
		return true
	case row.Kind == work.Scan:
		return v.Fault == ""
	}
	t := tallyOf(v.Outcomes)
	return t.copied+t.skipped+t.failed > 0
}

// A kept is what is kept with a closed item: what became of its objects, or
// the part that is there.
type kept struct {
	outcomes []work.ObjectOutcome
	part     *work.StoredPart
}

// keptOf returns what a verdict has to be kept with the row.
func (row *openItem) keptOf(v work.Verdict) kept {
	switch {
	case row.Kind == work.Part:
		return kept{part: v.Part}
	case row.carries():
		return kept{outcomes: plainOutcomes(v.Outcomes)}
	}
	return kept{}
}

// take makes a verdict's changes.
func (b *batch) take(row *openItem, agent string, v work.Verdict) {
	row.touched, row.agent, row.kept = true, agent, row.keptOf(v)
	if v.State != work.Queued { // going on leaves it where it is: ready, if it was made ready again
		row.State = v.State
	}
	row.fault, row.reason = v.Fault, work.Clip(plain(v.Error))
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
