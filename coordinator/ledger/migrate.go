package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var embedded embed.FS

const (
	// migrationLimit bounds one statement of a migration, and how long a step
	// tries to have its tables to itself.
	migrationLimit = time.Hour
	// migrationPause is between two tries, for those who waited behind the last.
	migrationPause = 3 * time.Second
)

// Migrate brings the schema up to what this program needs and says how many
// steps that took. Any number of processes may do so at once: one works, the
// others wait. Steps go forward only, and each leaves the program before it
// working.
func Migrate(ctx context.Context, url string) (applied int, err error) {
	db, err := connect(url, "tranship migrate", migrationLimit)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := createSchema(ctx, db); err != nil {
		return 0, err
	}
	p, err := provider(db.DB)
	if err != nil {
		return 0, err
	}
	for end := time.Now().Add(migrationLimit); ; {
		n, err := up(ctx, p)
		applied += n
		busy := pq.As(err, pqerror.LockNotAvailable, pqerror.TRDeadlockDetected) != nil
		if err == nil || !busy || time.Now().After(end) || sleep(ctx, migrationPause) != nil {
			return applied, err
		}
	}
}

// up applies what is left to apply.
func up(ctx context.Context, p *goose.Provider) (applied int, err error) {
	done, err := p.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		return len(partial.Applied), fmt.Errorf("migrate the schema: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("migrate the schema: %w", err)
	}
	return len(done), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// MigrateStatus says which version the schema has (0: none) and which one
// Migrate would bring it to. It changes nothing.
func MigrateStatus(ctx context.Context, url string) (current, target int64, err error) {
	db, err := connect(url, "tranship migrate", time.Minute)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	return schemaVersion(ctx, db)
}

func schemaVersion(ctx context.Context, db *sqlx.DB) (current, target int64, err error) {
	p, err := provider(db.DB)
	if err != nil {
		return 0, 0, err
	}
	for _, s := range p.ListSources() {
		target = max(target, s.Version)
	}
	var migrated bool
	if err := db.GetContext(ctx, &migrated, `SELECT to_regclass('tranship.goose_db_version') IS NOT NULL`); err != nil {
		return 0, 0, fmt.Errorf("look for the schema: %w", err)
	}
	if !migrated {
		return 0, target, nil
	}
	const query = `SELECT coalesce(max(version_id), 0) FROM tranship.goose_db_version WHERE is_applied`
	if err := db.GetContext(ctx, &current, query); err != nil {
		return 0, 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return current, target, nil
}

// createSchema makes the schema that even goose's own table lies in. Two
// processes that do so at once would collide without the lock.
func createSchema(ctx context.Context, db *sqlx.DB) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer tx.Rollback() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('tranship schema'))`); err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	var there bool
	if err := tx.GetContext(ctx, &there, `SELECT to_regnamespace('tranship') IS NOT NULL`); err != nil {
		return fmt.Errorf("look for the schema: %w", err)
	}
	if there { // asking to create it needs a right that a later migration does not
		return nil
	}
	const comment = `
		COMMENT ON SCHEMA tranship IS
		'Tranship''s ledger: the only truth about jobs and their objects. In psql: SET search_path = tranship;'`
	for _, statement := range []string{`CREATE SCHEMA tranship`, comment} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the schema tranship: %w", err)
		}
	}
	return tx.Commit()
}

func provider(db *sql.DB) (*goose.Provider, error) {
	// Try every second, for as long as another process's migration may take.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(math.Ceil(migrationLimit.Seconds()))))
	if err != nil {
		return nil, fmt.Errorf("prepare the lock of migrations: %w", err)
	}
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}
