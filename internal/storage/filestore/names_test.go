package filestore

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// folding, in the environment, has this test binary take every folder for one
// that ignores case and how accents are written, but keeps names as they were
// first written. File systems that do so can hardly be had in a test.
const folding = "TRANSHIP_TEST_FOLDING"

func TestMain(m *testing.M) {
	if os.Getenv(folding) != "" {
		misled = func(dir *os.File, name string) string {
			if name == "." {
				return name
			}
			names, err := entries(dir)
			if err != nil {
				return name
			}
			for _, entry := range names {
				if strings.EqualFold(composed(entry), composed(name)) {
					return entry
				}
			}
			return name
		}
	}
	os.Exit(m.Run())
}

// composed writes accents in one of the two ways.
func composed(name string) string {
	return strings.NewReplacer("e\u0301", "\u00e9", "E\u0301", "\u00c9").Replace(name)
}

// TestFoldingFileSystem runs this test binary once more, with folders that fold
// names.
func TestFoldingFileSystem(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", "^TestFolded")
	cmd.Env = append(os.Environ(), folding+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start()) // before the others begin: a child holds their locks until it is this program
	t.Parallel()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: TestFoldedNames") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func onlyFolded(t *testing.T) {
	t.Helper()
	if misled == nil {
		t.Skip("TestFoldingFileSystem runs this")
	}
	t.Parallel()
}

func TestFoldedConformance(t *testing.T) {
	onlyFolded(t)
	const slow = "looking each name up takes too long here"
	storagetest.Run(t, storagetest.Harness{
		New:    func(t *testing.T) storage.Store { return open(t, t.TempDir(), "") },
		Checks: checks,
		Skip: map[string]string{
			"Keys": slow, "List": slow, "ListErrors": slow, "PutAtomic": slow, "Keeper": slow, "Concurrent": slow,
		},
		SetsModTime: true,
	})
}

// wantUnkept fails the test unless err says that the key cannot be kept.
func wantUnkept(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	wantFault(t, what, err, work.Unsupported, words...)
	if e, ok := err.(*storage.Error); !ok || e.Field != work.FieldKeys {
		t.Errorf("%s = %#v, want field %q", what, err, work.FieldKeys)
	}
}

// TestFoldedNames stores keys that differ in nothing but case or the way an
// accent is written: no object may take another's place, or stand for it.
func TestFoldedNames(t *testing.T) {
	onlyFolded(t)
	for name, poor := range map[string]func(*Store){
		"nameless": func(*Store) {},
		"named":    func(s *Store) { s.nameless = false },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			fresh := func() *Store { // as in another agent, which has not written anything yet
				s := open(t, folder, "")
				poor(s)
				return s
			}
			s := fresh()
			for _, key := range []string{"Read.me", "Dir/x", "caf\u00e9", "Sub/deep/x"} {
				put(t, s, key, "first", storage.PutOptions{})
				put(t, s, key, "first", storage.PutOptions{}) // again, under the very name
			}
			for _, key := range []string{"read.me", "READ.ME", "dir/y", "DIR/x", "dir/", "cafe\u0301", "Sub/DEEP/y", "sub/deep/y", "Dir/X"} {
				for _, s := range []*Store{s, fresh()} {
					_, err := s.Stat(t.Context(), key)
					wantFault(t, "Stat("+key+")", err, work.NotFound)
					_, _, err = s.Get(t.Context(), key, "", 0, -1)
					wantFault(t, "Get("+key+")", err, work.NotFound)
					must(t, s.Delete(t.Context(), key))
				}
				for _, s := range []*Store{fresh(), s} {
					content := strings.Repeat("x", 6)
					if strings.HasSuffix(key, "/") {
						content = ""
					}
					_, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), storage.PutOptions{})
					wantUnkept(t, "Put("+key+")", err, "another name that is there")
					if content == "" {
						continue
					}
					_, err = s.Begin(t.Context(), key, 6, 6, storage.PutOptions{})
					wantUnkept(t, "Begin("+key+")", err, "another name that is there")
				}
			}
			wantList(t, s, "Dir/x", "Read.me", "Sub/deep/x", "caf\u00e9")
			for _, key := range list(t, s) {
				if b, err := os.ReadFile(filepath.Join(folder, key)); string(b) != "first" || err != nil {
					t.Errorf("%s holds %q, %v, want what was put first", key, b, err)
				}
			}
		})
	}
}

// TestFoldedCommit has the other spelling come between Begin and Commit.
func TestFoldedCommit(t *testing.T) {
	onlyFolded(t)
	s := open(t, t.TempDir(), "")
	u, err := s.Begin(t.Context(), "big", 1, 1, storage.PutOptions{})
	must(t, err)
	p, err := s.PutPart(t.Context(), u, 1, strings.NewReader("x"), 1, storage.Sums{})
	must(t, err)
	put(t, s, "BIG", "first", storage.PutOptions{})
	_, err = s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{})
	wantUnkept(t, "Commit", err, "another name that is there")
	wantList(t, s, "BIG")
	must(t, s.Delete(t.Context(), "BIG"))
	_, err = s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{})
	must(t, err)
	wantList(t, s, "big")
}

func TestFoldedProbe(t *testing.T) {
	onlyFolded(t)
	facts, err := open(t, t.TempDir(), "").Probe(t.Context(), true)
	must(t, err)
	if got := fact(facts, "names"); !strings.Contains(got, "several spellings count as one") {
		t.Errorf("Probe says of names %q, want that they are folded", got)
	}
}

func fact(facts []work.Fact, name string) string {
	for _, f := range facts {
		if f.Name == name {
			return f.Text
		}
	}
	return ""
}

// TestChangedNames refuses what a file system would write another way.
func TestChangedNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		habits habits
		key    string
		kept   bool
	}{
		{habits{}, "d/caf\u00e9", true},
		{habits{changes: true}, "d/Cafe", true},
		{habits{changes: true}, "d/caf\u00e9", false},
		{habits{changes: true}, "\u00fcber/x", false},
		{habits{changes: true}, "a\xff", false},
		{habits{spoils: true}, "Cafe", false},
	} {
		s := open(t, t.TempDir(), "")
		s.habits.Store(&tt.habits)
		keeps := s.Keeps(t.Context(), tt.key)
		_, err := s.Put(t.Context(), tt.key, strings.NewReader("x"), 1, storage.PutOptions{})
		if tt.kept && (keeps != nil || err != nil) {
			t.Errorf("%+v: Keeps(%q) = %v, Put = %v, want it kept", tt.habits, tt.key, keeps, err)
		}
		if !tt.kept {
			wantUnkept(t, "Keeps", keeps, "file system changes")
			wantUnkept(t, "Put", err, "file system changes")
			wantList(t, s)
		}
	}
}

// TestLiteral goes by the names that are in a folder.
func TestLiteral(t *testing.T) {
	if misled != nil {
		t.Skip("names are folded")
	}
	t.Parallel()
	for _, tt := range []struct {
		files []string
		want  bool
	}{
		{nil, false},
		{[]string{"123", "\u65e5\u672c"}, false},
		{[]string{"123", "name"}, true},
		{[]string{"NAME", "name"}, true},
	} {
		folder := t.TempDir()
		for _, name := range tt.files {
			must(t, os.WriteFile(filepath.Join(folder, name), nil, 0o644))
		}
		if got := open(t, folder, "").literal; got != tt.want {
			t.Errorf("with %q the folder is literal: %v, want %v", tt.files, got, tt.want)
		}
	}
	linked := t.TempDir() // what it looks like on a file system that folds
	must(t, os.WriteFile(filepath.Join(linked, "name"), []byte("x"), 0o644))
	must(t, os.Link(filepath.Join(linked, "name"), filepath.Join(linked, "NAME")))
	s := open(t, linked, "")
	if s.literal {
		t.Error("a folder where two spellings lead to one file passes for literal")
	}
	for _, key := range []string{"name", "NAME"} {
		if _, err := s.Stat(t.Context(), key); err != nil {
			t.Errorf("Stat(%s) = %v, want it found under both of its names", key, err)
		}
	}
}
