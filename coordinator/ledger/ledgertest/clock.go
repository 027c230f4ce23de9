package ledgertest

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Advance lets d pass for the ledger in db: every time in it becomes older by
// d, to the microsecond. A negative d sets the ledger's clock back. Samples
// stay as they are, for their times are their keys.
func Advance(ctx context.Context, db *sql.DB, d time.Duration) error {
	const shift = `
		DO $$
		DECLARE
			t record;
		BEGIN
			FOR t IN
				SELECT c.relname AS name, string_agg(format('%%1$I = %%1$I - interval ''%[1]d microseconds''', a.attname), ', ') AS changes
				FROM pg_class c
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid = 'timestamptz'::regtype
				WHERE c.relnamespace = 'tranship'::regnamespace AND c.relkind = 'r' AND c.relname <> 'samples'
				GROUP BY c.relname
			LOOP
				EXECUTE format('UPDATE tranship.%%I SET %%s', t.name, t.changes);
			END LOOP;
		END
		$$`

	if _, err := db.ExecContext(ctx, fmt.Sprintf(shift, d.Microseconds())); err != nil {
		return fmt.Errorf("let %s pass for the ledger: %w", d, err)
	}
	return nil
}
