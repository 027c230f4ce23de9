package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A mistake is one that somebody could make, or has made: a change of the
// product that must not go unnoticed.
type mistake struct {
	name   string
	edits  []edit
	broken string // part of what is said of it; any one of several, divided by |
}

// An edit replaces a text of a file that stands there once.
type edit struct{ file, old, new string }

// mistakes are caught by TestSeeds. Those that a Ledger makes in SQL and a
// Memory in Go are re-introduced in the Memory; that the two keep the same
// rules is tested with them.
var mistakes = []mistake{
	{"results are acknowledged before they are recorded", []edit{{
		"coordinator/collect/record.go",
		"	early, err := c.record(ctx, results)\n",
		"	if b.ack != nil {\n		c.acknowledge(ctx, b)\n	}\n	early, err := c.record(ctx, results)\n",
	}}, "is acknowledged before it is recorded"},
	{"a batch that could not be recorded is acknowledged", []edit{{
		"coordinator/collect/record.go",
		"	if err != nil {\n		c.early = nil\n",
		"	if err != nil {\n		if b.ack != nil {\n			c.acknowledge(ctx, b)\n		}\n		c.early = nil\n",
	}}, "is acknowledged before it is recorded"},
	{"items that the queue refused are not released", []edit{{
		"coordinator/dispatch/dispatch.go",
		"	if rerr := d.claimer.Release(settling, refused); rerr != nil {\n",
		"	if rerr := error(nil); rerr != nil {\n",
	}}, "neither published nor released"},
	{"lost items are looked for before the results are recorded", []edit{{
		"coordinator/reconcile/reconcile.go",
		"	if ok, err := r.settled(ctx, mark); err != nil || !ok {\n",
		"	if _, err := r.settled(ctx, mark); err != nil {\n",
	}}, "taken for lost while a result waits"},
	{"a failure of an old epoch counts", []edit{{
		"coordinator/ledger/batch.go",
		"	case !succeeded(r) && r.Epoch < row.Epoch:\n",
		"	case false:\n",
	}}, "counts though its epoch is"},
	{"a success of an old epoch does not count", []edit{{
		"coordinator/ledger/batch.go",
		"	case !succeeded(r) && r.Epoch < row.Epoch:\n",
		"	case r.Epoch < row.Epoch:\n",
	}}, "was not counted though the item is open"},
	{"a repeat in the same batch counts again", []edit{{
		"coordinator/ledger/batch.go",
		"	case row.State != work.Ready && row.State != work.Queued:\n",
		"	case false:\n",
	}}, "is decided on though it is closed|do not add up|the balance does not hold"},
	{"a copied object is counted twice", []edit{{
		"coordinator/ledger/batch.go",
		"	c.copied += int64(t.copied)\n",
		"	c.copied += 2 * int64(t.copied)\n",
	}}, "its counters do not add up|the balance does not hold"},
	{"a failed object has no failure", []edit{{
		"coordinator/ledger/batch.go",
		"		b.addFailures(row.Job, row.ID, -1, v.Outcomes, row.item.Objects, row.Attempt, agent)\n",
		"",
	}}, "and has the failure"},
	{"a result of a canceled job counts", []edit{
		{"coordinator/ledger/memoryrecord.go", "(closed || j.State.Open())", "(closed || j.ID > 0)"},
		{"coordinator/ledger/memoryrecord.go", "it == nil || !it.isOpen() ||", "it == nil || !it.isOpen() && it.job.State != work.Canceled ||"},
		{"coordinator/ledger/memoryrecord.go", "		case !it.job.State.Open() && it.kind != work.Abort:\n			continue\n", ""},
		{"coordinator/ledger/memoryrecord.go", "State: it.state, Amount", "State: max(it.state, work.Queued), Amount"},
	}, "its job is canceled"},
	{"an upload that a late result opened is forgotten", []edit{{
		"coordinator/ledger/memoryrecord.go",
		"		strays++\n",
		"		m.uploads = m.uploads[:len(m.uploads)-1]\n",
	}}, "is left at the target"},
	{"an item is released though it was handed out anew", []edit{{
		"coordinator/ledger/memoryclaim.go",
		"it.state == work.Queued && it.epoch == given.Epoch {\n",
		"it.state == work.Queued {\n",
	}}, "was not given back"},
	{"what is retried is still counted as failed", []edit{{
		"coordinator/ledger/memoryretry.go",
		"	j.Failed -= objects\n", "",
	}}, "do not add up|the balance does not hold"},
	{"a finish is ready one part early", []edit{{
		"coordinator/ledger/upload.go",
		"		if u.Left--; u.Left == 0 {\n",
		"		if u.Left--; u.Left == 1 {\n",
	}}, "parts of|does not come to its end"},
	{"an upload that was given up is taken for finished", []edit{{
		"coordinator/ledger/upload.go",
		"		u.State = uploadAbandoned\n",
		"		u.State = uploadFinished\n",
	}}, "is left at the target"},
	{"a range that could not be listed is forgotten", []edit{{
		"coordinator/ledger/finish.go",
		"	case dead != nil:\n",
		"	case dead != nil && dead.Fault == \"\":\n",
	}}, "was never planned"},
	{"a page that came early is applied", []edit{{
		"coordinator/plan/scan.go",
		"		r.Page != nil && r.Page.After > item.Range.After\n",
		"		r.Page != nil && r.Page.After == \"\" && item.Range.After == r.Page.Upto\n",
	}}, "was never planned"},
	{"the last page that came late is applied", []edit{{
		"coordinator/plan/scan.go",
		"	case Early(item, r) || late(*item.Range, *r.Page):\n",
		"	case Early(item, r):\n",
	}}, "outcomes:|failed twice"},
	{"what lies before the cursor is planned again", []edit{{
		"coordinator/plan/scan.go",
		"	for len(found) > 0 && found[0].Key <= cursor {\n",
		"	for false {\n",
	}}, "outcomes:|failed twice"},
	{"what a scan leaves over is dropped", []edit{{
		"coordinator/plan/scan.go",
		"		for _, r := range rest(*item.Range, page) {\n",
		"		for _, r := range rest(*item.Range, page)[:0] {\n",
	}}, "was never planned"},
	{"a scan that failed begins anew", []edit{{
		"coordinator/plan/scan.go",
		"	left := *item.Range\n",
		"	left := work.Range{Upto: item.Range.Upto}\n",
	}}, "outcomes:|failed twice"},
	{"a store that asks to slow down costs an attempt", []edit{{
		"coordinator/plan/plan.go",
		"	if f == work.Throttled {\n		return attempt\n	}\n",
		"",
	}}, "asked to slow down"},
	{"an object is given up an attempt early", []edit{{
		"coordinator/plan/plan.go",
		"return next(f, attempt) > maxAttempts }",
		"return next(f, attempt) >= maxAttempts }",
	}}, "was given up as"},
	{"an object is never given up", []edit{{
		"coordinator/plan/plan.go",
		"return next(f, attempt) > maxAttempts }",
		"return false }",
	}}, "does not come to its end"},
}

// TestMistakes re-introduces mistakes, one at a time, and wants each of them
// caught within the first stories.
func TestMistakes(t *testing.T) {
	if !long() {
		t.Skip("builds the simulator once for each mistake: set TRANSHIP_LONG=1, as .ci/run does")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if out, failed := stories(t, nil); failed {
			t.Errorf("without a mistake the stories go wrong:\n%s", out)
		}
	})
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, failed := stories(t, m.make(t, root))
			said := regexp.MustCompile(`seed \d+: .*`).FindString(out)
			switch {
			case !failed:
				t.Error("nobody noticed")
			case said == "":
				t.Errorf("the stories were not told:\n%s", out)
			case !regexp.MustCompile(m.broken).MatchString(said):
				t.Errorf("noticed as %q, want %q", said, m.broken)
			default:
				t.Log(said)
			}
		})
	}
}

// make writes the files with the mistake and returns where they are.
func (m mistake) make(t *testing.T, root string) map[string]string {
	t.Helper()
	dir, wrong := t.TempDir(), map[string]string{}
	for _, e := range m.edits {
		file := filepath.Join(root, e.file)
		from := file
		if wrong[file] != "" {
			from = wrong[file] // it has an edit already
		}
		is, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(is), e.old); n != 1 {
			t.Fatalf("%s has this text %d times, want once:\n%s", e.file, n, e.old)
		}
		wrong[file] = filepath.Join(dir, filepath.Base(e.file))
		if err := os.WriteFile(wrong[file], []byte(strings.Replace(string(is), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return wrong
}

// stories runs TestSeeds with some files replaced and reports whether it
// failed.
func stories(t *testing.T, replace map[string]string) (out string, failed bool) {
	t.Helper()
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-timeout=3m", "-overlay", file, "-run", "^TestSeeds$", ".")
	cmd.Env = append(os.Environ(), "TRANSHIP_SEED=", "TRANSHIP_FIRST_SEED=1", "TRANSHIP_SEEDS=400")
	b, err := cmd.CombinedOutput()
	return string(b), err != nil
}
