package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

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

// EventBefore returns the id of the newest event that is older than age; 0 if
// there is none.
func (l *Ledger) EventBefore(ctx context.Context, age time.Duration) (id int64, err error) {
	const query = `
		SELECT coalesce((
			SELECT id FROM events WHERE at < now() - $1::bigint * interval '1 microsecond' ORDER BY id DESC LIMIT 1), 0)`

	if err := l.db.GetContext(ctx, &id, query, age.Microseconds()); err != nil {
		return 0, fmt.Errorf("find the events of long ago: %w", err)
	}
	return id, nil
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

	events, err := l.readEvents(ctx, query, id, after, pageSize(limit))
	if err != nil {
		return nil, fmt.Errorf("list events of job %d: %w", id, err)
	}
	return events, nil
}

// LatestEvents lists the events before the one called before, newest first: of
// a job, or of all and of none if id is 0. A before of 0 begins with the newest.
func (l *Ledger) LatestEvents(ctx context.Context, id work.JobID, before int64, limit int) ([]work.Event, error) {
	const query = `
		SELECT id, job_id AS ofjob, at, who, what, note, remote AS "from"
		FROM events
		WHERE ($1::bigint = 0 OR job_id = $1) AND ($2::bigint = 0 OR id < $2)
		ORDER BY id DESC
		LIMIT $3`

	events, err := l.readEvents(ctx, query, id, before, pageSize(limit))
	if err != nil {
		return nil, fmt.Errorf("list the latest events of job %d: %w", id, err)
	}
	return events, nil
}

func (l *Ledger) readEvents(ctx context.Context, query string, args ...any) ([]work.Event, error) {
	var rows []struct {
		work.Event
		OfJob sql.NullInt64
	}
	if err := l.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	events := make([]work.Event, len(rows))
	for i, r := range rows {
		events[i] = r.Event
		events[i].Job = work.JobID(r.OfJob.Int64)
		events[i].At = r.At.UTC()
	}
	return events, nil
}
