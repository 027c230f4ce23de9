package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemo lives through an agent's death.
func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "demo", "--objects", "1200")
	for _, want := range []string{
		"counters    1200 planned = 1200 copied + 0 skipped + 0 failed + 0 open",
		"invariant   holds",
		"comparison  1200 of 1200 objects are equal",
	} {
		if !strings.Contains(w.stdout.String(), want) {
			t.Errorf("the demo did not say %q:\n%s%s", want, w.stdout.String(), w.stderr.String())
		}
	}
	if !strings.Contains(w.stderr.String(), "killed agent-1 (process ") {
		t.Errorf("nobody was killed:\n%s", w.stderr.String())
	}
	wantNothingLeft(t)
}

func TestDemoInterrupted(t *testing.T) {
	w := newWorld(t).withDatabase(t) // its server's folder is not the demo's
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for !strings.Contains(w.stderr.String(), "agent-2 is process") {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	if got := w.run(ctx, "demo"); got != ExitCanceled {
		t.Errorf("exit status %d, want %d\n%s", got, ExitCanceled, w.stderr.String())
	}
	wantNothingLeft(t)
}

// wantNothingLeft checks that the demo's folder is gone. Its processes are as
// well: the agents are waited for, and Postgres could not have let go of the
// folder.
func wantNothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("the demo left %q", left)
	}
}

// The judge must see every difference, or its verdict is worth nothing.
func TestCompareFolders(t *testing.T) {
	t.Parallel()
	a := tree(t, map[string]string{"same": "1", "empty": "", "missing": "1", "different": "12", "sub/longer": "1"})
	b := tree(t, map[string]string{"same": "1", "empty": "", "extra": "1", "different": "13", "sub/longer": "11"})
	same, differences, err := compareFolders(t.Context(), a, b)
	if err != nil || same != 2 || len(differences) != 4 {
		t.Errorf("compareFolders = %d, %q, %v, want 2 equal and 4 differences", same, differences, err)
	}
	for _, want := range []string{`missing at the target: "missing"`, `different: "different"`, `different: "sub/longer"`, `only at the target: "extra"`} {
		if !strings.Contains(strings.Join(differences, "\n"), want) {
			t.Errorf("%q is not among %q", want, differences)
		}
	}
	if _, _, err := compareFolders(t.Context(), a, filepath.Join(b, "none")); err == nil {
		t.Error("a folder that is not there compares without an error")
	}
}

func TestMakeObjectsIsRepeatable(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if _, err := makeObjects(t.Context(), dir, 60); err != nil {
			t.Fatal(err)
		}
	}
	same, differences, err := compareFolders(t.Context(), a, b)
	if err != nil || same != 60 || len(differences) != 0 {
		t.Errorf("two runs have %d objects in common of 60: %q, %v", same, differences, err)
	}
}
