package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// Pause keeps a running job from being handed out. It is no error if the job
// is paused already, and work.ErrState if it has ended.
func (l *Ledger) Pause(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	return l.control(ctx, "pause", id, func(tx *sqlx.Tx, state work.JobState) error {
		if state != work.Running {
			return nothingIf(state, work.Paused)
		}
		if err := setState(ctx, tx, id, work.Paused); err != nil {
			return err
		}
		return addEvent(ctx, tx, id, who, "paused", "")
	})
}

// Resume lets a paused job go on, at once: nothing of it waits any longer. It is no error if the job is running
// already, and work.ErrState if it has ended.
func (l *Ledger) Resume(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	const (
		// What was queued may have been removed from the queue during the pause:
		// have Overdue see to it at once.
		overdue = `UPDATE items SET looked_at = '-infinity' WHERE job_id = $1 AND state = 'queued'`
		// Agents have given back what they held, and whoever resumes a job does not
		// want to wait.
		due = `UPDATE items SET not_before = now() WHERE job_id = $1 AND state = 'ready' AND not_before > now()`
	)

	return l.control(ctx, "resume", id, func(tx *sqlx.Tx, state work.JobState) error {
		if state != work.Paused {
			return nothingIf(state, work.Running)
		}
		if err := setState(ctx, tx, id, work.Running); err != nil {
			return err
		}
		for _, query := range []string{overdue, due} {
			if _, err := tx.ExecContext(ctx, query, id); err != nil {
				return err
			}
		}
		return addEvent(ctx, tx, id, who, "resumed", "")
	})
}

// Cancel ends an open job: nothing of it is handed out any more, and results
// that still come in change nothing. It is no error if the job is canceled
// already, and work.ErrState if it has ended otherwise.
func (l *Ledger) Cancel(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	_, err := l.control(ctx, "cancel", id, func(tx *sqlx.Tx, state work.JobState) error {
		if !state.Open() {
			return nothingIf(state, work.Canceled)
		}
		if err := setState(ctx, tx, id, work.Canceled); err != nil {
			return err
		}
		return addEvent(ctx, tx, id, who, "canceled", "")
	})
	if err != nil {
		return work.Job{}, err
	}
	if err := l.closeCanceled(ctx, id); err != nil {
		return work.Job{}, err
	}
	return l.Job(ctx, id)
}

// SetClass makes a job more urgent, or less. What of it is on the queue stays
// there as it was, for its class is in its subject: under another the same item
// would be there twice. All else is handed out in the new class. It is no error
// if the job is in the class already, and work.ErrState if it has ended.
func (l *Ledger) SetClass(ctx context.Context, id work.JobID, class work.Class, who string) (work.Job, error) {
	const (
		read  = `SELECT class FROM jobs WHERE id = $1`
		stays = `UPDATE items SET class = $2 WHERE job_id = $1 AND state = 'queued' AND class IS NULL`
		set   = `UPDATE jobs SET class = $2 WHERE id = $1`
	)
	return l.control(ctx, "set the priority of", id, func(tx *sqlx.Tx, state work.JobState) error {
		if !state.Open() {
			return fmt.Errorf("%w: it is %s", work.ErrState, state)
		}
		var old work.Class
		if err := tx.GetContext(ctx, &old, read, id); err != nil || old == class {
			return err
		}
		if _, err := tx.ExecContext(ctx, stays, id, string(old)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, set, id, string(class)); err != nil {
			return err
		}
		return addEvent(ctx, tx, id, who, "priority set", string(old)+", now "+string(class))
	})
}

func nothingIf(state, want work.JobState) error {
	if state == want {
		return nil
	}
	return fmt.Errorf("%w: it is %s", work.ErrState, state)
}

// control changes the state of a job that it holds the lock of, and returns
// the job as it then is.
func (l *Ledger) control(ctx context.Context, what string, id work.JobID, change func(*sqlx.Tx, work.JobState) error) (work.Job, error) {
	var job work.Job
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		state, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, state); err != nil {
			return err
		}
		job, err = getJob(ctx, tx, id)
		return err
	})
	if err != nil {
		return work.Job{}, fmt.Errorf("%s job %d: %w", what, id, err)
	}
	return job, nil
}

// lockJob keeps everybody else from changing a job and returns its state.
func lockJob(ctx context.Context, tx *sqlx.Tx, id work.JobID) (work.JobState, error) {
	const query = `SELECT state FROM jobs WHERE id = $1 FOR NO KEY UPDATE`

	var state work.JobState
	err := tx.GetContext(ctx, &state, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", work.ErrNoJob
	}
	return state, err
}

// setState changes the state of a job that is locked. One that is let go on has
// not stood still meanwhile: it was held.
func setState(ctx context.Context, tx *sqlx.Tx, id work.JobID, state work.JobState) error {
	const query = `
		UPDATE jobs
		SET state = $2, stalled = NULL, noticed = noticed - 'job.stalled',
			moved_at = CASE WHEN $2 = 'running' THEN now() ELSE moved_at END
		WHERE id = $1`

	_, err := tx.ExecContext(ctx, query, id, string(state))
	return err
}

// closeCanceled closes the open items of a canceled job in steps, for there
// may be very many, and notes when it is finished. Claim and Record leave the
// items of canceled jobs alone, so there will be no new ones. Their uploads are
// left to Janitor.
func (l *Ledger) closeCanceled(ctx context.Context, id work.JobID) error {
	// An item may go back from queued to ready between two steps: hence the loop.
	for {
		for _, state := range []work.ItemState{work.Waiting, work.Ready, work.Queued} {
			if err := l.cancelItems(ctx, id, state); err != nil {
				return fmt.Errorf("cancel the items of job %d: %w", id, err)
			}
		}
		finished, err := l.finishCanceled(ctx, id)
		if err != nil {
			return fmt.Errorf("finish canceled job %d: %w", id, err)
		}
		if finished {
			return nil
		}
	}
}

func (l *Ledger) cancelItems(ctx context.Context, id work.JobID, state work.ItemState) error {
	const query = `
		WITH few AS (
			SELECT id FROM items WHERE job_id = $1 AND state = $2 AND kind <> 'abort' LIMIT 10000
		), locked AS (
			SELECT id FROM items WHERE id = ANY (ARRAY (SELECT id FROM few)) AND state = $2 ORDER BY id FOR UPDATE
		)
		UPDATE items
		SET state = 'canceled', done_at = now()
		WHERE id = ANY (ARRAY (SELECT id FROM locked))`

	for {
		var n int64
		err := l.inTx(ctx, func(tx *sqlx.Tx) error {
			res, err := tx.ExecContext(ctx, query, id, string(state))
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// finishCanceled notes the end of a canceled job that has no open item. It
// reports false if it has one.
func (l *Ledger) finishCanceled(ctx context.Context, id work.JobID) (bool, error) {
	const query = `
		UPDATE jobs j
		SET finished_at = coalesce(j.finished_at, now())
		WHERE j.id = $1 AND j.state = 'canceled'` + noOpenItem + `
		AND NOT EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'waiting')`

	var n int64
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, query, id)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n > 0, err
}
