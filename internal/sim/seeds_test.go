package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) { ledgertest.Main(m) }

// setting returns a number from the environment.
func setting(t *testing.T, name string, usual uint64) (n uint64, set bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

func long() bool { return os.Getenv("TRANSHIP_LONG") == "1" }

// tell tells the story of a seed and says how to hear it again if it goes
// wrong.
func tell(t *testing.T, test string, seed uint64, l backend) *world {
	t.Helper()
	w, err := newWorld(t.Context(), seed, l)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := w.run(); wrong != "" {
		t.Errorf("seed %d: %s\n\nagain: TRANSHIP_SEED=%d go test -run '^%s$' ./internal/sim\n\n%s", seed, wrong, seed, test, w.tale())
	}
	return w
}

// each tells many stories, as many at once as there are processors, until one
// goes wrong.
func each(t *testing.T, usual uint64, tell func(t *testing.T, seed uint64)) {
	t.Helper()
	if seed, set := setting(t, "TRANSHIP_SEED", 0); set {
		tell(t, seed)
		return
	}
	first, _ := setting(t, "TRANSHIP_FIRST_SEED", 1)
	n, _ := setting(t, "TRANSHIP_SEEDS", usual)
	var next atomic.Uint64
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprintf("part %d", i+1), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1) - 1; seed < n && !t.Failed(); seed = next.Add(1) - 1 {
				if tell(t, first+seed); t.Failed() {
					next.Store(n) // the others need not go on
				}
			}
		})
	}
}

func TestSeeds(t *testing.T) {
	usual := uint64(300)
	if long() {
		usual = 10000
	}
	each(t, usual, func(t *testing.T, seed uint64) { tell(t, "TestSeeds", seed, ledger.NewMemory(nil)) })
}

// A seed is a story: told twice, it is the same.
func TestStoriesRepeat(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		first := tell(t, "TestStoriesRepeat", seed, ledger.NewMemory(nil)).events
		second := tell(t, "TestStoriesRepeat", seed, ledger.NewMemory(nil)).events
		for i := range max(len(first), len(second)) {
			if i >= min(len(first), len(second)) || first[i] != second[i] {
				t.Fatalf("seed %d: event %d differs:\n%s\n%s", seed, i, at(first, i), at(second, i))
			}
		}
	}
}

func at(events []string, i int) string {
	if i < len(events) {
		return events[i]
	}
	return "(the story is over)"
}

// The same stories on a real database, as many as time allows.
func TestPostgres(t *testing.T) {
	usual := uint64(2)
	if long() {
		usual = 24
	}
	each(t, usual, func(t *testing.T, seed uint64) { tell(t, "TestPostgres", seed, newPostgres(t)) })
}

// Where nothing goes wrong, nothing fails and nothing is written twice, however
// slow the agents are. An item whose result comes at the wrong moment may be
// handed out twice: that finds the objects at the target.
func TestNothingGoesWrong(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		w, err := newWorld(t.Context(), seed, ledger.NewMemory(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range w.source.objects {
			o.fault = ""
		}
		w.calmDown()
		if !w.settles() {
			t.Fatalf("seed %d: %s\n%s", seed, w.wrong, w.tale())
		}
		j, err := w.ledger.Job(t.Context(), w.job)
		if err != nil {
			t.Fatal(err)
		}
		if j.State != work.Succeeded {
			t.Errorf("seed %d: the job is %s", seed, j.State)
		}
		for key, c := range w.target.objects {
			if c.writes > 1 {
				t.Errorf("seed %d: %q was written %d times", seed, key, c.writes)
			}
		}
	}
}
