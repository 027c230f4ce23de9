package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// asProgram makes the test binary behave as the product does: the demo starts
// its agents from the program that it is itself.
const asProgram = "CLI_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if err := os.Setenv(asProgram, "1"); err != nil { // for children only
		panic(err)
	}
	ledgertest.Main(m)
}

// A safeBuffer may be written and read at once.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A world is a program with an environment of its own.
type world struct {
	env            map[string]string
	stdin          string
	stdout, stderr safeBuffer
}

// newWorld returns a program that sees nothing of the real environment.
func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{env: map[string]string{
		"XDG_STATE_HOME": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir(),
		"TRANSHIP_HTTP_OPEN": "true", "TRANSHIP_NATS_AUTH": "open", // most tests are about something else than access
	}}
}

// withDatabase gives the program a database that is there already, which saves
// the time that a private Postgres takes.
func (w *world) withDatabase(t *testing.T) *world {
	t.Helper()
	w.env["TRANSHIP_DATABASE_URL"] = ledgertest.EmptyURL(t)
	return w
}

// run runs a command and returns its exit status.
func (w *world) run(ctx context.Context, args ...string) int {
	p := &program{
		stdin: strings.NewReader(w.stdin), stdout: &w.stdout, stderr: newConsole(&w.stderr),
		lookup: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
	}
	return p.run(ctx, args)
}

// wantStatus runs a command and checks how it ended.
func (w *world) wantStatus(t *testing.T, want int, args ...string) {
	t.Helper()
	if got := w.run(t.Context(), args...); got != want {
		t.Fatalf("tranship %q: exit status %d, want %d\n%s%s", args, got, want, w.stdout.String(), w.stderr.String())
	}
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", name, got)
	}
}

// tree writes files below a new folder and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
