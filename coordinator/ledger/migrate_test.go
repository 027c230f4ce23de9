package ledger_test

import (
	"database/sql"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

func status(t *testing.T, url string) (current, target int64) {
	t.Helper()
	current, target, err := ledger.MigrateStatus(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return current, target
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	url := ledgertest.EmptyURL(t)
	b := &bench{t: t, url: url}
	b.open()

	current, target := status(t, url)
	if current != 0 || target < 1 {
		t.Errorf("status of an empty database = %d of %d", current, target)
	}
	if n := b.text(`SELECT count(*) FROM pg_namespace WHERE nspname = 'tranship'`); n != "0" {
		t.Error("asking for the status made the schema")
	}
	if _, err := ledger.Open(t.Context(), url, ledger.Options{}); err == nil || !strings.Contains(err.Error(), "tranship migrate") {
		t.Errorf("Open without a schema: %v, want it to say tranship migrate", err)
	}
	for i, want := range []int{int(target), 0} {
		if n, err := ledger.Migrate(t.Context(), url); n != want || err != nil {
			t.Errorf("Migrate, time %d = %d, %v, want %d", i+1, n, err, want)
		}
	}
	if current, target := status(t, url); current != target {
		t.Errorf("status after Migrate = %d of %d", current, target)
	}
	// A newer schema is no obstacle: migrations keep the program before them working.
	b.exec(`INSERT INTO tranship.goose_db_version (version_id, is_applied) VALUES ($1, true)`, target+1)
	l, err := ledger.Open(t.Context(), url, ledger.Options{})
	b.must(err)
	b.must(l.Ping(t.Context()))
	b.must(l.Close())
}

// migrateURL, when set, makes the test binary migrate that database and end.
const migrateURL = "LEDGER_TEST_MIGRATE_URL"

func TestMigrateInProcesses(t *testing.T) {
	t.Parallel()
	if url := os.Getenv(migrateURL); url != "" {
		if _, err := ledger.Migrate(t.Context(), url); err != nil {
			t.Error(err)
		}
		return
	}
	url := ledgertest.EmptyURL(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			cmd := exec.Command(self, "-test.run=^TestMigrateInProcesses$")
			cmd.Env = append(os.Environ(), migrateURL+"="+url)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			if _, err := ledger.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if current, target := status(t, url); current != target {
		t.Errorf("status = %d of %d", current, target)
	}
}

// TestMigrateFromTheFirstVersion keeps what is there, and lets a program of
// that version count on.
func TestMigrateFromTheFirstVersion(t *testing.T) {
	t.Parallel()
	b, conn := firstVersion(t)
	run := func(query string) {
		t.Helper()
		_, err := conn.ExecContext(t.Context(), query)
		b.must(err)
	}
	run(`
		INSERT INTO jobs (name, source, target, options, site, class, planned, skipped)
		VALUES ('n', 'mem://a', 'mem://b', '{"verify":"checksum","compare":"content","max_attempts":5}', 'default', 'norm', 3, 2)`)
	run(`
		INSERT INTO items (job_id, kind, site, state, objects_count, skipped, bytes, first_key, last_key, objects, result)
		VALUES
			(1, 'copy', 'default', 'done', 2, 2, 2, 'a', 'b', '[{"key":"a","size":1},{"key":"b","size":1}]',
				'[{"outcome":"skipped","reason":"etag"},{"outcome":"skipped","reason":"etag"}]'),
			(1, 'copy', 'default', 'ready', 1, 0, 1, 'c', 'c', '[{"key":"c","size":1}]', NULL)`)
	run(`INSERT INTO skips VALUES (1, 'etag', 2, 'a'), (1, 'size', 7, '')`)

	if _, target, err := ledger.MigrateStatus(t.Context(), b.url); err != nil {
		t.Fatal(err)
	} else if n, err := ledger.Migrate(t.Context(), b.url); n != int(target)-1 || err != nil {
		t.Fatalf("Migrate = %d, %v, want %d steps", n, err, target-1)
	}
	var err error
	if b.Ledger, err = ledger.Open(t.Context(), b.url, ledger.Options{}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.remarks(1, work.AboutSkipped, work.Tally{Name: "size", Count: 7}, work.Tally{Name: "etag", Count: 2, Key: "a"})

	// What a program of the version before writes.
	const count = `
		INSERT INTO skips AS s (job_id, reason, objects, example)
		SELECT * FROM unnest(ARRAY[1,1]::bigint[], ARRAY['etag','new'], ARRAY[10,1]::bigint[], ARRAY['x','y']::bytea[])
		ON CONFLICT (job_id, reason) DO UPDATE SET
			objects = s.objects + excluded.objects,
			example = CASE WHEN s.example = '' THEN excluded.example ELSE s.example END`
	run(count)
	b.remarks(1, work.AboutSkipped, work.Tally{Name: "etag", Count: 12, Key: "a"}, work.Tally{Name: "size", Count: 7}, work.Tally{Name: "new", Count: 1, Key: "y"})
	if n := b.text(`SELECT objects FROM tranship.skips WHERE reason = 'etag'`); n != "12" {
		t.Errorf("the program before counts %s, want 12", n)
	}
	b.must(conn.Close())

	b.record(all(b.claimOne(), "copied"))
	b.counts(1, 3, 1, 2, 0, 0)
	b.once(1, 3)
	b.finish(1, work.Succeeded)
}

// firstVersion returns a database with the schema of the first version, and a
// connection to it.
func firstVersion(t *testing.T) (*bench, *sql.Conn) {
	t.Helper()
	b := &bench{t: t, url: ledgertest.EmptyURL(t)}
	b.open()
	first, err := os.ReadFile("migrations/0001_ledger.sql")
	b.must(err)
	conn, err := b.sql.Conn(t.Context())
	b.must(err)
	for _, query := range []string{`CREATE SCHEMA tranship`, `SET search_path = tranship`, string(first), `
		CREATE TABLE goose_db_version (
			id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL,
			is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now());
		INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true)`} {
		_, err := conn.ExecContext(t.Context(), query)
		b.must(err)
	}
	return b, conn
}

// A migration gives way while somebody reads the ledger for long, as a dump
// does, so that the program before goes on working meanwhile.
func TestMigrateGivesWay(t *testing.T) {
	t.Parallel()
	b, _ := firstVersion(t)
	dump, err := b.sql.BeginTx(t.Context(), nil)
	b.must(err)
	defer dump.Rollback()
	_, err = dump.ExecContext(t.Context(), `SELECT count(*) FROM tranship.items`)
	b.must(err)

	migrated := make(chan error, 1)
	go func() {
		_, err := ledger.Migrate(t.Context(), b.url)
		migrated <- err
	}()
	const waiting = `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	for b.text(waiting) == "0" {
		select {
		case err := <-migrated:
			t.Fatalf("Migrate = %v, although the ledger is being read", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	tx, err := b.sql.BeginTx(t.Context(), nil) // of the program before: jobs, then items
	b.must(err)
	for _, query := range []string{`SET LOCAL statement_timeout = '20s'`, `SELECT FROM tranship.jobs FOR NO KEY UPDATE`, `UPDATE tranship.items SET epoch = 1`} {
		_, err := tx.ExecContext(t.Context(), query)
		b.must(err)
	}
	b.must(tx.Commit())
	b.must(dump.Commit())
	b.must(<-migrated)
}

// TestSchemaIsDocumented: operators meet the schema in psql.
func TestSchemaIsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const undocumented = `
		SELECT string_agg(c.relname, ', ')
		FROM pg_class c
		LEFT JOIN pg_constraint k ON k.conindid = c.oid
		WHERE c.relnamespace = 'tranship'::regnamespace AND c.relkind IN ('r', 'v', 'i')
		AND k.oid IS NULL AND c.relname NOT LIKE 'goose%'
		AND obj_description(c.oid, 'pg_class') IS NULL`
	if names := b.text(undocumented); names != "" {
		t.Errorf("without a comment: %s", names)
	}
	const columns = `
		SELECT string_agg(a.attname, ', ')
		FROM pg_attribute a
		WHERE a.attrelid IN ('tranship.uploads'::regclass, 'tranship.remarks'::regclass) AND a.attnum > 0
		AND col_description(a.attrelid, a.attnum) IS NULL`
	if names := b.text(columns); names != "" {
		t.Errorf("columns without a comment: %s", names)
	}
}
