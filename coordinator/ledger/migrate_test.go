package ledger_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
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
}
