package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Alone runs f while no other coordinator runs one under the same name. If the
// database is lost meanwhile, or this program is stopped for longer than a
// statement may take, another may begin, and f's context ends as soon as that is
// known: what f does must be harmless to repeat.
func (l *Ledger) Alone(ctx context.Context, name string, f func(context.Context) error) error {
	tx, err := l.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer tx.Rollback() // gives the lock up; nothing was written
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('tranship ' || $1))`, name); err != nil {
		return fmt.Errorf("wait for other coordinators that %s: %w", name, err)
	}
	alone, end := context.WithCancel(ctx)
	held := make(chan error, 1)
	go func() {
		defer end()
		held <- l.hold(alone, tx)
	}()
	err = f(alone)
	end()
	if lost := <-held; lost != nil {
		return fmt.Errorf("stay the only coordinator that may %s: %w", name, lost)
	}
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("stay the only coordinator that may %s: %w", name, err)
	}
	return nil
}

// hold keeps a transaction from being idle for longer than the database allows,
// until ctx ends or the transaction is lost.
func (l *Ledger) hold(ctx context.Context, tx *sqlx.Tx) error {
	tick := time.NewTicker(l.timeout / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := tx.ExecContext(context.WithoutCancel(ctx), `SELECT 1`); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
