package ledger_test

import (
	"context"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// What follows are the methods of the ledger, done to its twin too.

func (b *bench) Job(ctx context.Context, id work.JobID) (work.Job, error) {
	b.t.Helper()
	v, err := b.Ledger.Job(ctx, id)
	return both(b, "Job", v, err, func(m *ledger.Memory) (work.Job, error) { return m.Job(ctx, id) })
}

func (b *bench) ActiveSites(ctx context.Context) ([]string, error) {
	b.t.Helper()
	v, err := b.Ledger.ActiveSites(ctx)
	return both(b, "ActiveSites", v, err, func(m *ledger.Memory) ([]string, error) { return m.ActiveSites(ctx) })
}

func (b *bench) OpenControls(ctx context.Context) (map[work.JobID]work.JobControl, error) {
	b.t.Helper()
	v, err := b.Ledger.OpenControls(ctx)
	return both(b, "OpenControls", v, err, func(m *ledger.Memory) (map[work.JobID]work.JobControl, error) { return m.OpenControls(ctx) })
}

func (b *bench) Pause(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	b.t.Helper()
	v, err := b.Ledger.Pause(ctx, id, who)
	return both(b, "Pause", v, err, func(m *ledger.Memory) (work.Job, error) { return m.Pause(ctx, id, who) })
}

func (b *bench) Resume(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	b.t.Helper()
	v, err := b.Ledger.Resume(ctx, id, who)
	return both(b, "Resume", v, err, func(m *ledger.Memory) (work.Job, error) { return m.Resume(ctx, id, who) })
}

func (b *bench) Cancel(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	b.t.Helper()
	v, err := b.Ledger.Cancel(ctx, id, who)
	return both(b, "Cancel", v, err, func(m *ledger.Memory) (work.Job, error) { return m.Cancel(ctx, id, who) })
}

func (b *bench) Claim(ctx context.Context, site string, window int) ([]work.Item, error) {
	b.t.Helper()
	v, err := b.Ledger.Claim(ctx, site, window)
	return both(b, "Claim", v, err, func(m *ledger.Memory) ([]work.Item, error) { return m.Claim(ctx, site, window) })
}

func (b *bench) Overdue(ctx context.Context, olderThan time.Duration, limit int) ([]work.Item, error) {
	b.t.Helper()
	v, err := b.Ledger.Overdue(ctx, olderThan, limit)
	return both(b, "Overdue", v, err, func(m *ledger.Memory) ([]work.Item, error) { return m.Overdue(ctx, olderThan, limit) })
}

func (b *bench) Record(ctx context.Context, results []work.Result, decide decider) (int, error) {
	b.t.Helper()
	v, err := b.Ledger.Record(ctx, results, decide)
	return both(b, "Record", v, err, func(m *ledger.Memory) (int, error) { return m.Record(ctx, results, decide) })
}

func (b *bench) FinishJobs(ctx context.Context) ([]work.Job, error) {
	b.t.Helper()
	v, err := b.Ledger.FinishJobs(ctx)
	return both(b, "FinishJobs", v, err, func(m *ledger.Memory) ([]work.Job, error) { return m.FinishJobs(ctx) })
}

func (b *bench) Balance(ctx context.Context, id work.JobID) (work.Balance, error) {
	b.t.Helper()
	v, err := b.Ledger.Balance(ctx, id)
	return both(b, "Balance", v, err, func(m *ledger.Memory) (work.Balance, error) { return m.Balance(ctx, id) })
}

func (b *bench) Janitor(ctx context.Context, delay time.Duration) (int, error) {
	b.t.Helper()
	v, err := b.Ledger.Janitor(ctx, delay)
	return both(b, "Janitor", v, err, func(m *ledger.Memory) (int, error) { return m.Janitor(ctx, delay) })
}

func (b *bench) Uploads(ctx context.Context) (map[string]int64, error) {
	b.t.Helper()
	v, err := b.Ledger.Uploads(ctx)
	return both(b, "Uploads", v, err, func(m *ledger.Memory) (map[string]int64, error) { return m.Uploads(ctx) })
}

func (b *bench) Retry(ctx context.Context, q work.RetryQuery, who string) (int64, error) {
	b.t.Helper()
	v, err := b.Ledger.Retry(ctx, q, who)
	return both(b, "Retry", v, err, func(m *ledger.Memory) (int64, error) { return m.Retry(ctx, q, who) })
}

func (b *bench) Remarks(ctx context.Context, id work.JobID, about work.About) ([]work.Tally, error) {
	b.t.Helper()
	v, err := b.Ledger.Remarks(ctx, id, about)
	return both(b, "Remarks", v, err, func(m *ledger.Memory) ([]work.Tally, error) { return m.Remarks(ctx, id, about) })
}

func (b *bench) Events(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	b.t.Helper()
	v, err := b.Ledger.Events(ctx, id, after, limit)
	return both(b, "Events", v, err, func(m *ledger.Memory) ([]work.Event, error) { return m.Events(ctx, id, after, limit) })
}

func (b *bench) Release(ctx context.Context, items []work.Item) error {
	b.t.Helper()
	err := b.Ledger.Release(ctx, items)
	_, err = both(b, "Release", 0, err, func(m *ledger.Memory) (int, error) { return 0, m.Release(ctx, items) })
	return err
}

func (b *bench) Requeued(ctx context.Context, items []work.Item) error {
	b.t.Helper()
	err := b.Ledger.Requeued(ctx, items)
	_, err = both(b, "Requeued", 0, err, func(m *ledger.Memory) (int, error) { return 0, m.Requeued(ctx, items) })
	return err
}

func (b *bench) Objects(ctx context.Context, q work.ObjectQuery) ([]work.ObjectRow, string, error) {
	b.t.Helper()
	rows, next, err := b.Ledger.Objects(ctx, q)
	_, err = both(b, "Objects", listing{rows, next}, err, func(m *ledger.Memory) (listing, error) {
		rows, next, err := m.Objects(ctx, q)
		return listing{rows, next}, err
	})
	return rows, next, err
}

func (b *bench) Failures(ctx context.Context, q work.FailureQuery) ([]work.Failure, string, error) {
	b.t.Helper()
	rows, next, err := b.Ledger.Failures(ctx, q)
	_, err = both(b, "Failures", listing{rows, next}, err, func(m *ledger.Memory) (listing, error) {
		rows, next, err := m.Failures(ctx, q)
		return listing{rows, next}, err
	})
	return rows, next, err
}

func (b *bench) CreateJob(ctx context.Context, n work.NewJob, idem work.Idempotency) (work.Job, bool, error) {
	b.t.Helper()
	job, created, err := b.Ledger.CreateJob(ctx, n, idem)
	job, err = both(b, "CreateJob", job, err, func(m *ledger.Memory) (work.Job, error) {
		job, again, err := m.CreateJob(ctx, n, idem)
		if again != created {
			b.t.Fatalf("CreateJob in memory: created %t, want %t", again, created)
		}
		return job, err
	})
	return job, created, err
}
