package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Claim hands out items of a site as a Ledger does.
func (m *Memory) Claim(_ context.Context, site string, window int) ([]work.Item, error) {
	now := m.begin()
	defer m.mu.Unlock()
	claimed := m.dueAborts(now, site, abortsAtOnce(window))
	waiting, free := m.waitingJobs(now, site, window)
	share(waiting, free)
	level := map[work.JobID]int{} // of the window, per job
	for _, w := range waiting {
		level[w.Job] = w.Queued
		for _, g := range w.grants() {
			if g.n > 0 {
				claimed = append(claimed, m.job(w.Job).due(now, g.kind)[:g.n]...)
			}
		}
	}
	rows := make([]itemRow, len(claimed))
	for i, it := range claimed {
		it.state, it.lookedAt = work.Queued, now
		it.epoch++
		rows[i] = it.row()
	}
	return m.assemble(inTurns(rows, level)), nil
}

// dueAborts returns ready aborts of a site, so that most are on the queue.
func (m *Memory) dueAborts(now time.Time, site string, most int) (due []*memoryItem) {
	for _, it := range m.items {
		switch {
		case it.kind != work.Abort || it.site != site:
		case it.state == work.Queued:
			most--
		case it.isDue(now):
			due = append(due, it)
		}
	}
	sortDue(due)
	return due[:max(0, min(most, len(due)))]
}

// due returns the items of a kind that may be handed out, in their order.
func (j *memoryJob) due(now time.Time, kind work.Kind) (due []*memoryItem) {
	for _, it := range j.items {
		if it.kind == kind && it.isDue(now) {
			due = append(due, it)
		}
	}
	sortDue(due)
	return due
}

func sortDue(items []*memoryItem) {
	slices.SortStableFunc(items, func(a, b *memoryItem) int {
		return cmp.Or(a.notBefore.Compare(b.notBefore), cmp.Compare(a.id, b.id))
	})
}

// waitingJobs returns the running jobs of the site and what is free of the
// window.
func (m *Memory) waitingJobs(now time.Time, site string, window int) (jobs []waitingJob, free int) {
	free = window
	for _, j := range m.jobs {
		if j == nil || j.State != work.Running || j.Site != site {
			continue
		}
		w := waitingJob{Job: j.ID, Class: j.Class}
		due := map[work.Kind]int{}
		for _, it := range j.items {
			switch {
			case it.state == work.Queued && it.kind != work.Abort:
				w.Queued++
			case it.isDue(now):
				due[it.kind]++
			}
		}
		w.Scans, w.Copies = min(due[work.Scan], window), min(due[work.Copy], window)
		w.Finishes = min(due[work.Finish], window, finishesAtOnce)
		w.Begins, w.Parts = min(due[work.Begin], window), min(due[work.Part], window)
		w.holdBegins(window)
		jobs = append(jobs, w)
		free -= w.Queued
	}
	return jobs, free
}

// assemble makes items of rows that are to be published.
func (m *Memory) assemble(rows []itemRow) []work.Item {
	items := make([]work.Item, len(rows))
	for i, r := range rows {
		it := m.item(r.ID)
		items[i] = it.item()
		if it.upload == nil {
			items[i].Objects = slices.Clone(it.objects)
			continue
		}
		it.upload.of(&items[i])
		if it.kind == work.Finish {
			items[i].Parts = it.job.partsOf(it.upload)
		}
	}
	return items
}

// partsOf returns the parts of an upload that are there, in order.
func (j *memoryJob) partsOf(u *upload) (parts []work.StoredPart) {
	for _, it := range j.items {
		if it.upload == u && it.kept.part != nil {
			parts = append(parts, *it.kept.part)
		}
	}
	slices.SortFunc(parts, func(a, b work.StoredPart) int { return cmp.Compare(a.N, b.N) })
	return parts
}

// Release makes queued items ready again, as a Ledger does.
func (m *Memory) Release(_ context.Context, items []work.Item) error {
	m.begin()
	defer m.mu.Unlock()
	for _, given := range items {
		it := m.item(given.ID)
		if it != nil && it.state == work.Queued && it.epoch == given.Epoch {
			it.state, it.lookedAt = work.Ready, time.Time{}
		}
	}
	return nil
}

// Overdue returns items to be published anew, as a Ledger does.
func (m *Memory) Overdue(_ context.Context, olderThan time.Duration, limit int) ([]work.Item, error) {
	now := m.begin()
	defer m.mu.Unlock()
	until := now.Add(-olderThan.Truncate(time.Microsecond))
	var old, aborts []*memoryItem
	for _, it := range m.items {
		switch {
		case it.state != work.Queued || it.lookedAt.After(until):
		case it.kind == work.Abort:
			aborts = append(aborts, it)
		case it.job.State == work.Running:
			old = append(old, it)
		}
	}
	var rows []itemRow
	for _, some := range [][]*memoryItem{old, aborts} {
		slices.SortStableFunc(some, func(a, b *memoryItem) int {
			return cmp.Or(a.lookedAt.Compare(b.lookedAt), cmp.Compare(a.id, b.id))
		})
		for _, it := range some[:min(len(some), limit-len(rows))] {
			it.lookedAt = now
			rows = append(rows, it.row())
		}
	}
	found := m.assemble(inTurns(rows, map[work.JobID]int{}))
	for i := range found {
		found[i].Epoch++
	}
	return found, nil
}

// Requeued notes that the queue took items under their new epoch.
func (m *Memory) Requeued(_ context.Context, items []work.Item) error {
	now := m.begin()
	defer m.mu.Unlock()
	for _, given := range items {
		it := m.item(given.ID)
		if it != nil && it.state == work.Queued && it.epoch < given.Epoch {
			it.epoch, it.lookedAt = given.Epoch, now
		}
	}
	return nil
}
