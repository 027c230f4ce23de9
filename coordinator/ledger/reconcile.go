package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// Overdue returns up to limit items of running jobs, and aborts of any, that
// have been queued, or were last looked at, longer than olderThan ago, in the form in which they
// would be published anew: under their next epoch. It notes that they were
// looked at and changes nothing else. Publish them and tell Requeued which of
// them the queue took; those it refused are still there.
func (l *Ledger) Overdue(ctx context.Context, olderThan time.Duration, limit int) ([]work.Item, error) {
	const query = `
		WITH old AS (
			SELECT i.id
			FROM jobs j
			JOIN items i ON i.job_id = j.id
			WHERE j.state = 'running' AND i.state = 'queued' AND i.kind <> 'abort'
			AND i.looked_at <= now() - $1::bigint * interval '1 microsecond'
			ORDER BY i.looked_at, i.id
			LIMIT $2
			FOR UPDATE OF i SKIP LOCKED
		), aborts AS (
			SELECT id
			FROM items
			WHERE kind = 'abort' AND state = 'queued'
			AND looked_at <= now() - $1::bigint * interval '1 microsecond'
			ORDER BY looked_at, id
			LIMIT greatest($2 - (SELECT count(*) FROM old), 0)
			FOR UPDATE SKIP LOCKED
		)
		UPDATE items i
		SET looked_at = now()
		FROM jobs j
		WHERE i.id = ANY (ARRAY (SELECT id FROM old UNION ALL SELECT id FROM aborts)) AND j.id = i.job_id
		RETURNING i.epoch + 1 AS epoch,` + itemColumns

	var items []work.Item
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		var rows []itemRow
		err := tx.SelectContext(ctx, &rows, query, olderThan.Microseconds(), limit)
		if err != nil {
			return err
		}
		items, err = assemble(ctx, tx, inTurns(rows, map[work.JobID]int{}))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for overdue items: %w", err)
	}
	return items, nil
}

// Requeued notes that the queue took these items under their new epoch: they
// had been lost from it.
func (l *Ledger) Requeued(ctx context.Context, items []work.Item) error {
	const query = `
		WITH given AS (
			SELECT i.id, g.epoch
			FROM items i
			JOIN unnest($1::bigint[], $2::integer[]) AS g (id, epoch) ON i.id = g.id AND i.epoch < g.epoch
			WHERE i.state = 'queued'
			ORDER BY i.id
			FOR UPDATE OF i
		)
		UPDATE items i
		SET epoch = given.epoch, queued_at = now(), looked_at = now()
		FROM given
		WHERE i.id = given.id`

	return l.updateItems(ctx, "note the requeueing of", query, items)
}
