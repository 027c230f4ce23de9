package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// Issued returns how far the ledger has come. Its ids are the last that were
// given out, also to what was never committed; whatever is written from now on has an id beyond them.
func (l *Ledger) Issued(ctx context.Context) (work.Issued, error) {
	const query = `
		SELECT
			(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM items_id_seq) AS item,
			(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM jobs_id_seq) AS job,
			(SELECT ticks FROM clock) AS tick`

	var i work.Issued
	if err := l.db.GetContext(ctx, &i, query); err != nil {
		return i, fmt.Errorf("read the last ids: %w", err)
	}
	return i, nil
}

// Tick moves the ledger's clock on and returns what is written then. It returns
// work.ErrSetBack if the clock stands before what is expected of it.
func (l *Ledger) Tick(ctx context.Context) (work.Issued, error) {
	const query = `UPDATE clock SET ticks = ticks + 1 WHERE ticks >= $1`

	moved, err := l.db.ExecContext(ctx, query, l.expected.tick.Load())
	if err != nil {
		return work.Issued{}, fmt.Errorf("move the ledger's clock on: %w", err)
	}
	if n, err := moved.RowsAffected(); err != nil || n == 0 {
		return work.Issued{}, cmp.Or(err, fmt.Errorf("%w: its clock", work.ErrSetBack))
	}
	return l.Newest(ctx)
}

// Newest returns what is written of how far the ledger has come. Unlike ids
// that were only given out it outlasts a crash of the database.
func (l *Ledger) Newest(ctx context.Context) (work.Issued, error) {
	const query = `SELECT coalesce((SELECT max(id) FROM items), 0) AS item, coalesce((SELECT max(id) FROM jobs), 0) AS job,
		(SELECT ticks FROM clock) AS tick`

	var i work.Issued
	if err := l.db.GetContext(ctx, &i, query); err != nil {
		return i, fmt.Errorf("read the newest ids: %w", err)
	}
	return i, nil
}

// Skip has no id given out from now on that is not beyond those of i, and sets
// the clock to no less than that of i. On return that is durable. It never goes
// back.
func (l *Ledger) Skip(ctx context.Context, i work.Issued) error {
	const query = `
		WITH later AS (UPDATE clock SET ticks = $3 WHERE ticks < $3)
		SELECT setval('items_id_seq', greatest($1::bigint, (SELECT last_value FROM items_id_seq))),
			setval('jobs_id_seq', greatest($2::bigint, (SELECT last_value FROM jobs_id_seq)))`

	if _, err := l.db.ExecContext(ctx, query, i.Item, i.Job, i.Tick); err != nil {
		return fmt.Errorf("skip the ids up to job %d and item %d: %w", i.Job, i.Item, err)
	}
	return nil
}

// Doubt has agents compare whatever is open before they copy it, because it
// may have been done: every open item looks as if it had been handed out
// before. It writes what happened to the history of each open job and returns
// how many there are. Doing so again is harmless.
func (l *Ledger) Doubt(ctx context.Context, what, note string) (jobs int, err error) {
	const query = `SELECT id FROM jobs WHERE state IN ('running', 'paused') ORDER BY id`

	var open []work.JobID
	if err := l.db.SelectContext(ctx, &open, query); err != nil {
		return 0, fmt.Errorf("list open jobs: %w", err)
	}
	for _, id := range open {
		if err := l.doubtItems(ctx, id); err != nil {
			return 0, fmt.Errorf("doubt the items of job %d: %w", id, err)
		}
		err := l.inTx(ctx, func(tx *sqlx.Tx) error { return addEvent(ctx, tx, id, "", what, note) })
		if err != nil {
			return 0, err
		}
	}
	return len(open), nil
}

// doubtBatch is how many items are doubted in one statement.
const doubtBatch = 10_000

// doubtItems raises the epoch of items that were never handed out. The two
// states have an index each, and there may be many more items in others.
func (l *Ledger) doubtItems(ctx context.Context, job work.JobID) error {
	const waiting = `UPDATE items SET epoch = 1 WHERE job_id = $1 AND state = 'waiting' AND epoch = 0`

	if err := l.doubtReady(ctx, job); err != nil {
		return err
	}
	_, err := l.db.ExecContext(ctx, waiting, job) // one for each upload: there are not many
	return err
}

// doubtReady goes through the items in the order of their index, items_ready,
// so that none is looked at twice.
func (l *Ledger) doubtReady(ctx context.Context, job work.JobID) error {
	const query = `
		WITH page AS (
			SELECT kind, not_before, id
			FROM items
			WHERE job_id = $1 AND state = 'ready' AND (kind, not_before, id) > ($2, $3::timestamptz, $4)
			ORDER BY kind, not_before, id
			LIMIT $5
		), doubted AS (
			UPDATE items i
			SET epoch = 1
			FROM page
			WHERE i.id = page.id AND i.epoch = 0 AND i.state = 'ready'
		)
		SELECT kind, not_before::text AS due, id FROM page ORDER BY kind DESC, not_before DESC, id DESC LIMIT 1`

	last := struct {
		Kind work.Kind
		Due  string
		ID   work.ItemID
	}{Due: "-infinity"}
	for {
		err := l.db.GetContext(ctx, &last, query, job, last.Kind, last.Due, last.ID, doubtBatch)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
