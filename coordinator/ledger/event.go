package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// nobody is who did what no user asked for.
const nobody = "tranship"

// addEvent writes a line of the audit log in the transaction of the change
// that it tells of. A job of 0 means that it is about none. The address is that
// of the context's caller.
func addEvent(ctx context.Context, tx *sqlx.Tx, job work.JobID, who, what, note string) error {
	const query = `
		INSERT INTO events (job_id, who, what, note, remote)
		VALUES (nullif($1::bigint, 0), $2, $3, $4, $5)`

	if who == "" {
		who = nobody
	}
	if _, err := tx.ExecContext(ctx, query, job, plain(who), what, plain(note), work.CallerOf(ctx).Remote); err != nil {
		return fmt.Errorf("write the event %q: %w", what, err)
	}
	return nil
}

// Events lists the events after the one called after, oldest first: of a job,
// or of all if id is 0.
func (l *Ledger) Events(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	const query = `
		SELECT id, job_id AS ofjob, at, who, what, note, remote AS "from"
		FROM events
		WHERE ($1::bigint = 0 OR job_id = $1) AND id > $2
		ORDER BY id
		LIMIT $3`

	var rows []struct {
		work.Event
		OfJob sql.NullInt64
	}
	if err := l.db.SelectContext(ctx, &rows, query, id, after, pageSize(limit)); err != nil {
		return nil, fmt.Errorf("list events of job %d: %w", id, err)
	}
	events := make([]work.Event, len(rows))
	for i, r := range rows {
		events[i] = r.Event
		events[i].Job = work.JobID(r.OfJob.Int64)
		events[i].At = r.At.UTC()
	}
	return events, nil
}
