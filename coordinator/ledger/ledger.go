package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/tranship/tranship/internal/work"
)

// Options say how to use the database. The zero value is good.
type Options struct {
	Connections int           // at most at once, and one for Ping; 8 if zero
	Timeout     time.Duration // of one statement; 30 s if zero
	Log         *slog.Logger  // nil: silent
}

// A Ledger is the durable record of all jobs.
type Ledger struct {
	db       *sqlx.DB
	probe    *sqlx.DB // of Ping
	log      *slog.Logger
	expected *expected // see Expect
	timeout  time.Duration
	used     usage // see NoteUse
}

// Open connects to the database. It refuses a schema older than this program.
func Open(ctx context.Context, url string, o Options) (*Ledger, error) {
	if o.Connections == 0 {
		o.Connections = 8
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := newConnector(url, "tranship", o.Timeout)
	if err != nil {
		return nil, err
	}
	seen := new(expected)
	db := sqlx.NewDb(sql.OpenDB(wary{c, seen}), "postgres")
	probe := sqlx.NewDb(sql.OpenDB(wary{c, seen}), "postgres")
	probe.SetMaxOpenConns(1)
	db.SetMaxOpenConns(o.Connections)
	db.SetMaxIdleConns(o.Connections)
	db.SetConnMaxLifetime(30 * time.Minute) // after a failover, find the new primary
	db.SetConnMaxIdleTime(5 * time.Minute)

	current, target, err := schemaVersion(ctx, db)
	if err == nil && current < target {
		err = fmt.Errorf("the database has schema version %d and this program needs %d: run tranship migrate", current, target)
	}
	if err != nil {
		db.Close()
		probe.Close()
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return &Ledger{db: db, probe: probe, log: o.Log, expected: seen, timeout: o.Timeout}, nil
}

// Close gives the connections up.
func (l *Ledger) Close() error { return errors.Join(l.db.Close(), l.probe.Close()) }

// Ping reports whether the database answers, and returns work.ErrSetBack if it
// has not come as far as is expected of it. It has a connection of its own and
// does not wait for others that use the ledger.
func (l *Ledger) Ping(ctx context.Context) error {
	seen := l.expected.get() // before what it is compared with
	var found work.Issued
	if err := l.probe.GetContext(ctx, &found, expectedQuery); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return compare(found, seen)
}

// inTx runs f in a transaction and commits it. If the database asks for it, f
// is run again in a new one: it must begin from nothing each time.
func (l *Ledger) inTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	const tries = 6
	for i := 1; ; i++ {
		err := l.tryTx(ctx, f)
		if pq.As(err, pqerror.TRSerializationFailure, pqerror.TRDeadlockDetected) == nil || i == tries {
			return err
		}
		pause := time.Duration(i) * 20 * time.Millisecond
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (l *Ledger) tryTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	tx, err := l.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the error of f says why
		return err
	}
	return tx.Commit()
}
