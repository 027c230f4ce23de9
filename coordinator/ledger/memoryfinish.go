package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// FinishJobs ends jobs as a Ledger does.
func (m *Memory) FinishJobs(context.Context) ([]work.Job, error) {
	now := m.begin()
	defer m.mu.Unlock()
	var ended []work.Job
	for _, j := range m.jobs {
		if j == nil || j.State != work.Running || !j.checkedAt.IsZero() && !j.checkedAt.Before(now.Add(-time.Minute)) {
			continue
		}
		if j.has(func(it *memoryItem) bool { return it.isOut() && it.kind != work.Abort }) {
			continue
		}
		b := j.balance()
		if !b.Holds() || b.Counted.Open != 0 {
			m.unbalanced(now, j, b)
			continue
		}
		j.State, j.Error = endOf(b.Kept, j.firstDead())
		j.FinishedAt, j.checkedAt = now, time.Time{}
		m.addEvent(now, j.ID, "", string(j.State), endNote(b.Kept, j.Error))
		ended = append(ended, j.read())
	}
	return ended, nil
}

// firstDead returns the first scan that was given up, nil if none was.
func (j *memoryJob) firstDead() *deadScan {
	for _, it := range j.items {
		if it.state == work.Dead && it.kind == work.Scan {
			return &deadScan{it.fault, it.reason}
		}
	}
	return nil
}

// unbalanced keeps a job open whose counters are wrong, and says so once.
func (m *Memory) unbalanced(now time.Time, j *memoryJob, b work.Balance) {
	before := j.Error
	j.Error, j.checkedAt = unbalancedText(b), now
	if j.Error == before {
		return
	}
	m.log.Error("counters do not add up", "job_id", j.ID, "err", j.Error)
	m.addEvent(now, j.ID, "", "unbalanced", j.Error)
}

// Balance counts the objects of a job from its items, beside the counters that
// were kept along the way.
func (m *Memory) Balance(_ context.Context, id work.JobID) (work.Balance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.job(id)
	if j == nil {
		return work.Balance{}, fmt.Errorf("balance job %d: %w", id, work.ErrNoJob)
	}
	return j.balance(), nil
}

func (j *memoryJob) balance() work.Balance {
	b := work.Balance{Job: j.ID, Kept: j.read().Counts}
	b.Counted = b.Kept
	c := &b.Counted
	c.Planned, c.Copied, c.Skipped, c.Failed, c.Open = 0, 0, 0, 0, 0
	for _, it := range j.items {
		c.Planned += int64(len(it.objects) - it.tally.handed)
		c.Copied += int64(it.tally.copied)
		c.Skipped += int64(it.tally.skipped)
		c.Failed += int64(it.tally.failed)
		if it.state != work.Done {
			c.Open += int64(len(it.objects))
		}
		if it.isOut() && it.kind != work.Abort {
			b.OpenItems++
		}
	}
	return b
}

// Janitor has uploads aborted that nothing will come of, as a Ledger does.
func (m *Memory) Janitor(_ context.Context, delay time.Duration) (uploads int, err error) {
	now := m.begin()
	defer m.mu.Unlock()
	var fresh []newRow
	for _, u := range m.uploads {
		j := m.job(u.Job)
		if u.State == uploadAbandoned || u.State == uploadOpen && !j.State.Open() {
			u.State = uploadAborting
			fresh = append(fresh, newRow{
				item: work.NewItem{Kind: work.Abort, Attempt: 1, Delay: delay},
				job:  u.Job, site: j.Site, upload: u,
			})
		}
	}
	m.insert(now, fresh)
	return len(fresh), nil
}

// Uploads counts the uploads that are not closed at the target, by state.
func (m *Memory) Uploads(context.Context) (map[string]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[string]int64{uploadOpen: 0, uploadAbandoned: 0, uploadAborting: 0, uploadOrphaned: 0}
	for _, u := range m.uploads {
		if _, ok := counts[u.State]; ok {
			counts[u.State]++
		}
	}
	return counts, nil
}
