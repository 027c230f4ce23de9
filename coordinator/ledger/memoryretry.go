package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Retry has failed objects tried again as a Ledger does.
func (m *Memory) Retry(_ context.Context, q work.RetryQuery, who string) (objects int64, err error) {
	now := m.begin()
	defer m.mu.Unlock()
	for {
		n, err := m.retrySome(now, q, who, objects == 0)
		if err != nil {
			return objects, fmt.Errorf("retry failures of job %d: %w", q.Job, err)
		}
		if n == 0 {
			return objects, nil
		}
		objects += n
	}
}

// retrySome takes up some failures, and at the first step dead scans.
func (m *Memory) retrySome(now time.Time, q work.RetryQuery, who string, first bool) (objects int64, err error) {
	j := m.job(q.Job)
	switch {
	case j == nil:
		return 0, work.ErrNoJob
	case j.State == work.Canceled:
		return 0, fmt.Errorf("%w: it is %s", work.ErrState, j.State)
	}
	var scans int64
	if first && q.Fault == "" && q.Prefix == "" {
		scans = m.reviveScans(now, j)
	}
	failed := j.takeFailures(q)
	objects = int64(len(failed))
	if scans+objects == 0 {
		return 0, nil
	}
	if err := m.handOn(now, j, failed); err != nil {
		return 0, err
	}
	j.Failed -= objects
	j.Retries += objects
	j.Error, j.checkedAt, j.FinishedAt = "", time.Time{}, time.Time{}
	if j.State != work.Paused {
		j.State = work.Running
	}
	m.addEvent(now, j.ID, who, "retried", retryNote(q, objects, scans))
	return objects, nil
}

// reviveScans has what dead scans left of their ranges listed by new ones.
func (m *Memory) reviveScans(now time.Time, j *memoryJob) int64 {
	var fresh []newRow
	for _, it := range j.items {
		if it.state != work.Dead || it.kind != work.Scan {
			continue
		}
		it.state = work.Done
		left := *it.span
		fresh = append(fresh, newRow{item: work.NewItem{Kind: work.Scan, Attempt: 1, Range: &left}, job: j.ID, site: it.site, parent: it.id})
	}
	m.insert(now, fresh)
	return int64(len(fresh))
}

// takeFailures removes some failures that the query selects and returns them
// by item and position.
func (j *memoryJob) takeFailures(q work.RetryQuery) (failed []takenFailure) {
	j.failures = slices.DeleteFunc(j.failures, func(f memoryFailure) bool {
		if len(failed) == retryBatch || q.Fault != "" && f.Fault != q.Fault || !strings.HasPrefix(f.Key, q.Prefix) {
			return false
		}
		failed = append(failed, takenFailure{f.Item, f.position, f.Fault})
		return true
	})
	slices.SortFunc(failed, func(a, b takenFailure) int {
		return cmp.Or(cmp.Compare(a.Item, b.Item), cmp.Compare(a.Position, b.Position))
	})
	return failed
}

// handOn marks the failed objects in their done items as handed on and inserts
// the items that carry them.
func (m *Memory) handOn(now time.Time, j *memoryJob, failed []takenFailure) error {
	var fresh []newRow
	for len(failed) > 0 {
		it := m.item(failed[0].Item)
		n := 1
		for n < len(failed) && failed[n].Item == it.id {
			n++
		}
		d := doneItem{options: j.Options, objects: it.objects, outcomes: it.kept.outcomes}
		outcomes, objects, err := d.without(failed[:n])
		if err != nil {
			return fmt.Errorf("take objects out of item %d: %w", it.id, err)
		}
		it.kept.outcomes = outcomes
		it.tally.failed -= n
		it.tally.handed += n
		for _, c := range d.carriers(objects) {
			fresh = append(fresh, newRow{item: c, job: j.ID, site: it.site, parent: it.id})
		}
		failed = failed[n:]
	}
	m.insert(now, fresh)
	return nil
}
