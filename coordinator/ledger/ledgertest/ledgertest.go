// Package ledgertest gives each test a ledger of its own on a real Postgres.
//
// A test binary runs one private server (see pgserver), started by the first
// test that needs it. The schema is migrated once, into a template; each test
// gets a copy of it, which takes milliseconds, so tests may run in parallel.
// The server does not wait for the disk: it is for tests alone.
//
// A package that uses it says
//
//	func TestMain(m *testing.M) { ledgertest.Main(m) }
//
// A machine without PostgreSQL fails the tests and says what to install:
// skipping them would hide that nothing was tested.
package ledgertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/pgserver"
)

// template is the database that every test's is copied from.
const template = "template_tranship"

var shared struct {
	sync.Mutex
	main   bool // Main runs: somebody will clean up
	dir    string
	server *pgserver.Server
	err    error // why there is no server

	databases atomic.Int64
}

// Main runs the tests of a package and removes the server that they used.
func Main(m *testing.M) {
	shared.Lock()
	shared.main = true
	shared.Unlock()
	defer stop()
	m.Run()
}

// New returns a ledger on a database of the test's own.
func New(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), URL(t), ledger.Options{Connections: 4, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// URL returns the address of a migrated database of the test's own, dropped at
// the end of the test.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, template)
}

// Copy returns the address of a copy of the test's database as it stands now,
// dropped at the end of the test. Connections to it are cut, as by a crash;
// new ones are refused for the moment that the copy takes.
func Copy(t testing.TB, address string) string {
	t.Helper()
	cut(t, address)
	twin := database(t, nameIn(t, address))
	run(t, "ALTER DATABASE "+nameIn(t, address)+" ALLOW_CONNECTIONS true")
	return twin
}

// Replace puts the copy in the place of the test's database, as a restore or a
// failover does.
func Replace(t testing.TB, address, by string) {
	t.Helper()
	cut(t, address)
	cut(t, by)
	name := nameIn(t, address)
	run(t, "DROP DATABASE "+name, "CREATE DATABASE "+name+" TEMPLATE "+nameIn(t, by))
}

// Drop removes the test's database.
func Drop(t testing.TB, address string) {
	t.Helper()
	cut(t, address)
	run(t, "DROP DATABASE "+nameIn(t, address))
}

// cut ends all connections to a database and refuses new ones.
func cut(t testing.TB, address string) {
	t.Helper()
	name := nameIn(t, address)
	run(t, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '"+name+"'")
}

// nameIn returns the name of a test's database.
func nameIn(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// run runs statements outside of any test's database.
func run(t testing.TB, statements ...string) {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if err := admin(s, statement); err != nil {
			t.Fatal(err)
		}
	}
}

// EmptyURL returns the address of a database of the test's own without a
// schema.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return database(t, "template0")
}

func database(t testing.TB, from string) string {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", shared.databases.Add(1))
	create := fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, from)
	err = admin(s, create+" STRATEGY file_copy") // several times faster than the default
	if pq.As(err, pqerror.SyntaxError) != nil {
		err = admin(s, create) // before PostgreSQL 15 it is the only one
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin(s, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name)); err != nil {
			t.Error(err)
		}
	})
	return s.URL(name)
}

// server returns the binary's server and starts it if it does not run.
func server() (*pgserver.Server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.err = start()
	}
	return shared.server, shared.err
}

// start is called with shared locked.
func start() (err error) {
	if !shared.main {
		return errors.New("ledgertest: the package's TestMain does not call ledgertest.Main")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if shared.dir, err = os.MkdirTemp("", "ledgertest-"); err != nil {
		return err
	}
	s, err := pgserver.Start(ctx, pgserver.Options{
		Dir: shared.dir, NoSync: true,
		// Tests run in parallel, each with some connections.
		Settings: map[string]string{"max_connections": "200", "autovacuum": "off"},
	})
	if err != nil {
		return err
	}
	shared.server = s
	if err := s.CreateDatabase(ctx, template); err != nil {
		return err
	}
	_, err = ledger.Migrate(ctx, s.URL(template))
	return err
}

func stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "ledgertest:", err)
		}
	}
	if shared.dir != "" {
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, "ledgertest:", err)
		}
	}
}

// admin runs a statement outside of any test's database.
func admin(s *pgserver.Server, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("postgres", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
