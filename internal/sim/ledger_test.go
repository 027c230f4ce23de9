package sim

import (
	"context"
	"database/sql"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// A backend is the ledger of a story.
type backend interface {
	CreateJob(ctx context.Context, n work.NewJob, idem work.Idempotency) (work.Job, bool, error)
	Job(ctx context.Context, id work.JobID) (work.Job, error)
	ActiveSites(ctx context.Context) ([]string, error)
	Claim(ctx context.Context, site string, window int) ([]work.Item, error)
	Release(ctx context.Context, items []work.Item) error
	Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (int, error)
	Overdue(ctx context.Context, olderThan time.Duration, limit int) ([]work.Item, error)
	Requeued(ctx context.Context, items []work.Item) error
	FinishJobs(ctx context.Context) ([]work.Job, error)
	Janitor(ctx context.Context, delay time.Duration) (int, error)
	OpenControls(ctx context.Context) (map[work.JobID]work.JobControl, error)
	Pause(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Resume(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Cancel(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Retry(ctx context.Context, q work.RetryQuery, who string) (int64, error)
	Balance(ctx context.Context, id work.JobID) (work.Balance, error)
	Objects(ctx context.Context, q work.ObjectQuery) ([]work.ObjectRow, string, error)
	Failures(ctx context.Context, q work.FailureQuery) ([]work.Failure, string, error)
	Uploads(ctx context.Context) (map[string]int64, error)

	// Advance lets d pass on the ledger's clock.
	Advance(d time.Duration)
}

// onPostgres is a ledger whose clock is moved by moving the times that it has
// noted: as late as possible, for there are many small steps.
type onPostgres struct {
	*ledger.Ledger
	t    testing.TB
	db   *sql.DB
	owed time.Duration
}

func newPostgres(t testing.TB) *onPostgres {
	t.Helper()
	url := ledgertest.URL(t)
	l, err := ledger.Open(t.Context(), url, ledger.Options{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &onPostgres{Ledger: l, t: t, db: db}
}

func (p *onPostgres) Advance(d time.Duration) { p.owed += d }

// settle moves the times by what has passed.
func (p *onPostgres) settle() {
	const query = `
		WITH moved AS (
			UPDATE tranship.items
			SET not_before = not_before - $1::bigint * interval '1 microsecond', looked_at = looked_at - $1::bigint * interval '1 microsecond'
			WHERE state IN ('ready', 'queued', 'waiting')
		)
		UPDATE tranship.jobs SET checked_at = checked_at - $1::bigint * interval '1 microsecond'`

	if p.owed == 0 {
		return
	}
	if _, err := p.db.Exec(query, p.owed.Microseconds()); err != nil {
		p.t.Errorf("move the ledger's clock: %v", err)
	}
	p.owed = 0
}

func (p *onPostgres) Claim(ctx context.Context, site string, window int) ([]work.Item, error) {
	p.settle()
	return p.Ledger.Claim(ctx, site, window)
}

func (p *onPostgres) Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (int, error) {
	p.settle() // before new items get their times
	return p.Ledger.Record(ctx, results, decide)
}

func (p *onPostgres) Overdue(ctx context.Context, olderThan time.Duration, limit int) ([]work.Item, error) {
	p.settle()
	return p.Ledger.Overdue(ctx, olderThan, limit)
}

func (p *onPostgres) Requeued(ctx context.Context, items []work.Item) error {
	p.settle()
	return p.Ledger.Requeued(ctx, items)
}

func (p *onPostgres) FinishJobs(ctx context.Context) ([]work.Job, error) {
	p.settle()
	return p.Ledger.FinishJobs(ctx)
}

func (p *onPostgres) Janitor(ctx context.Context, delay time.Duration) (int, error) {
	p.settle()
	return p.Ledger.Janitor(ctx, delay)
}

func (p *onPostgres) Retry(ctx context.Context, q work.RetryQuery, who string) (int64, error) {
	p.settle()
	return p.Ledger.Retry(ctx, q, who)
}
