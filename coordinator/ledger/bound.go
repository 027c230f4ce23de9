package ledger

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// mayAdd returns work.ErrTooMany if the query counts as many as there may be.
// Until the transaction ends no other is told under the same name that it may
// add one: together they add no more than that.
func mayAdd(ctx context.Context, tx *sqlx.Tx, name string, most int, query string, args ...any) error {
	const lock = `SELECT pg_advisory_xact_lock(hashtext('tranship ' || $1))`

	if _, err := tx.ExecContext(ctx, lock, name); err != nil {
		return err
	}
	var n int
	if err := tx.GetContext(ctx, &n, query, args...); err != nil {
		return err
	}
	if n >= most {
		return work.ErrTooMany
	}
	return nil
}
