package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaultsAreProven: every line of the table names a test, and every test
// that it names is there and runs where the line says.
func TestFaultsAreProven(t *testing.T) {
	t.Parallel()
	tests := testsByFolder(t)
	named := regexp.MustCompile("`([a-z0-9/]+)` ((?:`Test[A-Za-z0-9]+`(?:, )?)+)")
	name := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	b, err := os.ReadFile("FAULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| fault") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 3 {
			t.Errorf("a line of %d cells, not 3: %s", len(cells), line)
			continue
		}
		proofs := named.FindAllStringSubmatch(cells[2], -1)
		if len(proofs) == 0 {
			t.Errorf("no test named by: %s", line)
		}
		for _, proof := range proofs {
			for _, m := range name.FindAllStringSubmatch(proof[2], -1) {
				if !tests[proof[1]][m[1]] {
					t.Errorf("%s is not a test of %s", m[1], proof[1])
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d lines: is this the table?", rows)
	}
}

// testsByFolder returns the names of the repository's tests.
func testsByFolder(t *testing.T) map[string]map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(t \*testing\.T\)`)
	found := map[string]map[string]bool{}
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if found[folder] == nil {
			found[folder] = map[string]bool{}
		}
		for _, m := range declared.FindAllSubmatch(b, -1) {
			found[folder][string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
