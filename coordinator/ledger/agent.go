package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Beat notes what agents say of themselves. The last word of each counts. Jobs
// of which bytes move have come on, though there may be no result for long: a
// part on a slow link takes its time.
func (l *Ledger) Beat(ctx context.Context, beats []work.Presence) error {
	const query = `
		INSERT INTO agents (
			agent, site, version, host, pid, started, state, trouble, items, streams, stream_limit, objects, bytes, rate,
			labels, stores, tuning)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (site, agent) DO UPDATE SET
			version = excluded.version, host = excluded.host, pid = excluded.pid, started = excluded.started,
			state = excluded.state, trouble = excluded.trouble, items = excluded.items, streams = excluded.streams,
			stream_limit = excluded.stream_limit, objects = excluded.objects, bytes = excluded.bytes,
			rate = excluded.rate, labels = excluded.labels, stores = excluded.stores, tuning = excluded.tuning,
			last_seen = now()`

	if len(beats) == 0 {
		return nil
	}
	// In one order everywhere, so that two coordinators do not wait for each other.
	beats = slices.Clone(beats)
	slices.SortStableFunc(beats, func(a, b work.Presence) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Agent, b.Agent))
	})
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		// The next beat makes up for one that is lost.
		if _, err := tx.ExecContext(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		for _, p := range beats {
			told, err := tell(p)
			if err != nil {
				return fmt.Errorf("of %s at %s: %w", p.Agent, p.Site, err)
			}
			_, err = tx.ExecContext(ctx, query, plain(p.Agent), plain(p.Site), plain(p.Version), plain(p.Host), p.PID,
				p.Started, plain(p.State), plain(work.Clip(p.Trouble)), p.Items, p.Streams, p.Limit, p.Objects, p.Bytes, p.Rate,
				told.Labels, told.Stores, told.Tuning)
			if err != nil {
				return fmt.Errorf("of %s at %s: %w", p.Agent, p.Site, err)
			}
		}
		return noteMoves(ctx, tx, beats)
	})
	if err != nil {
		return fmt.Errorf("note a sign of life: %w", err)
	}
	return nil
}

// noteMoves notes of which jobs bytes move, every few seconds at most. An agent
// that does not say which speaks for all of its site. A job that is locked is
// coming on, or about to be looked at again.
func noteMoves(ctx context.Context, tx *sqlx.Tx, beats []work.Presence) error {
	const query = `
		UPDATE jobs
		SET moved_at = now()
		WHERE id = ANY (ARRAY (
			SELECT id
			FROM jobs
			WHERE state = 'running' AND (id = ANY ($1) OR site = ANY ($2))
			AND (moved_at IS NULL OR moved_at <= now() - $3::bigint * interval '1 microsecond')
			FOR NO KEY UPDATE SKIP LOCKED
		))`
	const every = 5 * time.Second

	var jobs []int64
	var sites []string
	for _, p := range beats {
		for _, id := range p.Moving {
			jobs = append(jobs, int64(id))
		}
		if p.Moving == nil && p.Rate > 0 {
			sites = append(sites, plain(p.Site))
		}
	}
	if len(jobs)+len(sites) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, query, pq.Array(jobs), pq.Array(sites), every.Microseconds()); err != nil {
		return fmt.Errorf("note which jobs move: %w", err)
	}
	return nil
}

// Sample notes how far every running job has come, once a second at most.
func (l *Ledger) Sample(ctx context.Context) error {
	const query = `
		INSERT INTO samples (job_id, at, objects, failed, bytes)
		SELECT id, date_trunc('second', now()), copied + skipped + failed, failed, done_bytes
		FROM jobs
		WHERE state = 'running'
		ON CONFLICT DO NOTHING`

	if _, err := l.db.ExecContext(ctx, query); err != nil {
		return fmt.Errorf("sample the running jobs: %w", err)
	}
	return nil
}

// Samples lists the samples of a job after since, oldest first.
func (l *Ledger) Samples(ctx context.Context, id work.JobID, since time.Time) ([]work.Sample, error) {
	const query = `SELECT at, objects, failed, bytes FROM samples WHERE job_id = $1 AND at > $2 ORDER BY at`

	var rows []work.Sample
	if err := l.db.SelectContext(ctx, &rows, query, id, since); err != nil {
		return nil, fmt.Errorf("list samples of job %d: %w", id, err)
	}
	for i := range rows {
		rows[i].At = rows[i].At.UTC()
	}
	return rows, nil
}
