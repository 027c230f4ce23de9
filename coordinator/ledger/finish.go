package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// noOpenItem is a condition on jobs AS j. Aborts outlive their job. A finish
// that waits is open with its parts; without any it must not hold up the
// balance, which would show it.
const noOpenItem = `
		AND NOT EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind <> 'abort')
		AND NOT EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'queued' AND i.kind <> 'abort')`

// FinishJobs ends the running jobs of which nothing is open and returns them:
// failed if a range could not be listed, incomplete if objects failed,
// succeeded otherwise. A job ends only if its counters are proved by its
// items. If they are not, the job stays open with the reason in its error and
// in an event, and is looked at again a minute later.
func (l *Ledger) FinishJobs(ctx context.Context) ([]work.Job, error) {
	const idle = `
		SELECT j.id, j.state
		FROM jobs j
		WHERE j.state = 'running' AND j.finished_at IS NULL
		AND (j.checked_at IS NULL OR j.checked_at < now() - interval '1 minute')` + noOpenItem + `
		UNION ALL
		SELECT j.id, j.state
		FROM jobs j
		WHERE j.state = 'canceled' AND j.finished_at IS NULL -- the one who canceled it died
		ORDER BY id`

	var idles []struct {
		ID    work.JobID
		State work.JobState
	}
	if err := l.db.SelectContext(ctx, &idles, idle); err != nil {
		return nil, fmt.Errorf("look for finished jobs: %w", err)
	}
	var ended []work.Job
	for _, j := range idles {
		if j.State == work.Canceled {
			if err := l.closeCanceled(ctx, j.ID); err != nil {
				return ended, err
			}
			continue
		}
		job, ok, err := l.finishJob(ctx, j.ID)
		if err != nil {
			return ended, fmt.Errorf("finish job %d: %w", j.ID, err)
		}
		if ok {
			ended = append(ended, job)
		}
	}
	return ended, nil
}

func (l *Ledger) finishJob(ctx context.Context, id work.JobID) (job work.Job, ended bool, err error) {
	const query = `
		UPDATE jobs
		SET state = $2, error = $3, finished_at = now(), checked_at = NULL
		WHERE id = $1`

	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		ended = false
		state, err := lockJob(ctx, tx, id)
		if err != nil || state != work.Running {
			return err
		}
		b, err := balance(ctx, tx, id)
		if err != nil || b.OpenItems > 0 {
			return err
		}
		if !b.Holds() || b.Counted.Open != 0 {
			return l.unbalanced(ctx, tx, b)
		}
		dead, err := firstDead(ctx, tx, id)
		if err != nil {
			return err
		}
		state, reason := endOf(b.Kept, dead)
		if _, err := tx.ExecContext(ctx, query, id, string(state), reason); err != nil {
			return err
		}
		if err := addEvent(ctx, tx, id, "", string(state), endNote(b.Kept, reason)); err != nil {
			return err
		}
		job, err = getJob(ctx, tx, id)
		ended = err == nil
		return err
	})
	return job, ended, err
}

// A deadScan is why a range could not be listed.
type deadScan struct {
	Fault work.Fault
	Error string
}

// firstDead returns the first scan of a job that was given up, nil if none was.
func firstDead(ctx context.Context, tx *sqlx.Tx, id work.JobID) (*deadScan, error) {
	const query = `SELECT fault, error FROM items WHERE job_id = $1 AND state = 'dead' AND kind = 'scan' ORDER BY id LIMIT 1`

	var dead deadScan
	err := tx.GetContext(ctx, &dead, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &dead, err
}

// endOf returns how a job without open items ends, and why if it failed.
func endOf(kept work.Counts, dead *deadScan) (state work.JobState, reason string) {
	switch {
	case dead != nil:
		return work.JobFailed, fmt.Sprintf("the job could not be planned to its end (%s): %s", dead.Fault, dead.Error)
	case kept.Failed > 0:
		return work.Incomplete, ""
	}
	return work.Succeeded, ""
}

// endNote is the note of the event that a job ended.
func endNote(kept work.Counts, reason string) string {
	note := fmt.Sprintf("%d objects: %d copied, %d skipped, %d failed", kept.Planned, kept.Copied, kept.Skipped, kept.Failed)
	if reason != "" {
		note += "; " + reason
	}
	return note
}

// unbalanced keeps a job open whose counters are wrong, and says so once.
func (l *Ledger) unbalanced(ctx context.Context, tx *sqlx.Tx, b work.Balance) error {
	const query = `
		UPDATE jobs j
		SET error = $2, checked_at = now()
		FROM (SELECT id, error FROM jobs WHERE id = $1) old
		WHERE j.id = old.id
		RETURNING old.error`

	text := unbalancedText(b)
	var before string
	if err := tx.GetContext(ctx, &before, query, b.Job, text); err != nil {
		return err
	}
	if before == text {
		return nil
	}
	l.log.ErrorContext(ctx, "counters do not add up", "job_id", b.Job, "err", text)
	return addEvent(ctx, tx, b.Job, "", "unbalanced", text)
}

func unbalancedText(b work.Balance) string {
	k, c := b.Kept, b.Counted
	return fmt.Sprintf("the job cannot be finished: its counters do not add up: "+
		"kept %d planned = %d copied + %d skipped + %d failed + %d open, counted %d = %d + %d + %d + %d",
		k.Planned, k.Copied, k.Skipped, k.Failed, k.Open, c.Planned, c.Copied, c.Skipped, c.Failed, c.Open)
}

// Balance counts the objects of a job from its items, beside the counters that
// were kept along the way, at one moment.
func (l *Ledger) Balance(ctx context.Context, id work.JobID) (work.Balance, error) {
	b, err := balance(ctx, l.db, id)
	if err != nil {
		return b, fmt.Errorf("balance job %d: %w", id, err)
	}
	return b, nil
}

func balance(ctx context.Context, q sqlx.QueryerContext, id work.JobID) (work.Balance, error) {
	const query = `
		SELECT
			j.planned, j.copied, j.skipped, j.failed, j.open, j.retries,
			j.planned_bytes AS plannedbytes, j.done_bytes AS donebytes, j.moved_bytes AS movedbytes,
			c.planned AS c_planned, c.copied AS c_copied, c.skipped AS c_skipped, c.failed AS c_failed, c.open AS c_open,
			c.openitems
		FROM jobs j
		CROSS JOIN LATERAL (
			SELECT
				coalesce(sum(i.objects_count - i.handed), 0) AS planned,
				coalesce(sum(i.copied), 0) AS copied,
				coalesce(sum(i.skipped), 0) AS skipped,
				coalesce(sum(i.failed), 0) AS failed,
				coalesce(sum(i.objects_count) FILTER (WHERE i.state <> 'done'), 0) AS open,
				count(*) FILTER (WHERE i.state IN ('ready', 'queued') AND i.kind <> 'abort') AS openitems
			FROM items i
			WHERE i.job_id = j.id
		) c
		WHERE j.id = $1`

	var row struct {
		work.Counts
		CPlanned  int64 `db:"c_planned"`
		CCopied   int64 `db:"c_copied"`
		CSkipped  int64 `db:"c_skipped"`
		CFailed   int64 `db:"c_failed"`
		COpen     int64 `db:"c_open"`
		OpenItems int64
	}
	err := sqlx.GetContext(ctx, q, &row, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Balance{}, work.ErrNoJob
	}
	if err != nil {
		return work.Balance{}, err
	}
	b := work.Balance{Job: id, Kept: row.Counts, Counted: row.Counts, OpenItems: row.OpenItems}
	b.Counted.Planned, b.Counted.Copied, b.Counted.Skipped = row.CPlanned, row.CCopied, row.CSkipped
	b.Counted.Failed, b.Counted.Open = row.CFailed, row.COpen
	return b, nil
}
