package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// janitorBatch bounds the uploads that one transaction has aborted.
const janitorBatch = 500

// Janitor has uploads aborted that nothing will come of: those that were
// abandoned, and those that are open though their job has ended. It makes an
// abort item for each, to be handed out after delay, in which agents may hear
// that what they still send is in vain, and says how many.
func (l *Ledger) Janitor(ctx context.Context, delay time.Duration) (uploads int, err error) {
	for {
		n, err := l.abortSome(ctx, delay)
		uploads += n
		if err != nil {
			return uploads, fmt.Errorf("abort uploads: %w", err)
		}
		if n == 0 {
			return uploads, nil
		}
	}
}

// abortSome takes up some uploads. The jobs are locked first, so that none of
// the uploads can change; what has changed before that is not taken.
func (l *Ledger) abortSome(ctx context.Context, delay time.Duration) (n int, err error) {
	const useless = `(u.state = 'abandoned' OR u.state = 'open' AND j.state NOT IN ('running', 'paused'))`
	const find = `
		SELECT u.id, u.job_id AS job
		FROM uploads u
		JOIN jobs j ON j.id = u.job_id
		WHERE u.state IN ('open', 'abandoned') AND ` + useless + `
		LIMIT $1`
	const lockJobs = `SELECT id FROM jobs WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`
	const lockUploads = `
		SELECT u.id, u.job_id AS job, j.site
		FROM uploads u
		JOIN jobs j ON j.id = u.job_id
		WHERE u.id = ANY ($1) AND ` + useless + `
		ORDER BY u.id
		FOR UPDATE OF u`
	const mark = `UPDATE uploads SET state = 'aborting', changed_at = now() WHERE id = ANY ($1)`

	var found []struct {
		ID  int64
		Job work.JobID
	}
	if err := l.db.SelectContext(ctx, &found, find, janitorBatch); err != nil || len(found) == 0 {
		return 0, err
	}
	ids, jobs := make([]int64, len(found)), make([]int64, len(found))
	for i, f := range found {
		ids[i], jobs[i] = f.ID, int64(f.Job)
	}
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		n = 0
		if _, err := tx.ExecContext(ctx, lockJobs, pq.Array(jobs)); err != nil {
			return err
		}
		var rows []struct {
			ID   int64
			Job  work.JobID
			Site string
		}
		if err := tx.SelectContext(ctx, &rows, lockUploads, pq.Array(ids)); err != nil {
			return err
		}
		fresh, taken := make([]newRow, len(rows)), make([]int64, len(rows))
		for i, r := range rows {
			fresh[i] = newRow{
				item: work.NewItem{Kind: work.Abort, Attempt: 1, Delay: delay},
				job:  r.Job, site: r.Site, upload: &upload{ID: r.ID},
			}
			taken[i] = r.ID
		}
		if err := insertItems(ctx, tx, fresh); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, mark, pq.Array(taken))
		n = len(rows)
		return err
	})
	return n, err
}

// Uploads counts the uploads that are not closed at the target, by state:
// open, abandoned, aborting, and orphaned, which could not be aborted.
func (l *Ledger) Uploads(ctx context.Context) (map[string]int64, error) {
	const query = `
		SELECT state, count(*) AS n
		FROM uploads
		WHERE state IN ('open', 'abandoned', 'aborting', 'orphaned')
		GROUP BY state`

	var rows []struct {
		State string
		N     int64
	}
	if err := l.db.SelectContext(ctx, &rows, query); err != nil {
		return nil, fmt.Errorf("count uploads: %w", err)
	}
	counts := map[string]int64{uploadOpen: 0, uploadAbandoned: 0, uploadAborting: 0, uploadOrphaned: 0}
	for _, r := range rows {
		counts[r.State] = r.N
	}
	return counts, nil
}
