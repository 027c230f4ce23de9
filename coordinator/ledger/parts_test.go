package ledger_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// TestTwoLedgersRecordParts of one upload side by side, each part twice: each
// counts once, and the finish is handed out once.
func TestTwoLedgersRecordParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // of two
	other, err := ledger.Open(b.ctx(), b.url, ledger.Options{})
	b.must(err)
	t.Cleanup(func() { other.Close() })
	const n = 120
	id, parts := b.begun(n)

	var mu sync.Mutex
	var finishes []work.Item
	changed := 0
	var wg sync.WaitGroup
	for w := range 4 {
		l := []*ledger.Ledger{b.Ledger, other}[w%2]
		order := rand.Perm(n)
		wg.Go(func() {
			for len(order) > 0 {
				some := min(7, len(order))
				var results []work.Result
				for _, i := range order[:some] {
					results = append(results, stored(parts[i]))
				}
				order = order[some:]
				did, err := l.Record(t.Context(), results, decide)
				if err != nil {
					t.Error(err)
					return
				}
				items, err := l.Claim(t.Context(), work.DefaultSite, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				changed += did
				finishes = append(finishes, items...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if changed != n || len(finishes) != 1 || len(finishes[0].Parts) != n {
		t.Fatalf("%d results changed something and %d items were handed out, want %d and the finish", changed, len(finishes), n)
	}
	b.uploads("u1 open 0")
	for i, p := range finishes[0].Parts {
		if p.N != i+1 {
			t.Fatalf("part %d stands in the place of %d", p.N, i+1)
		}
	}
	b.record(all(finishes[0], "copied"))
	b.finish(id, work.Succeeded)
}

// TestTwoLedgersEndAnUpload: parts that die, succeed and are released at the
// same time leave one end.
func TestTwoLedgersEndAnUpload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // of two
	other, err := ledger.Open(b.ctx(), b.url, ledger.Options{})
	b.must(err)
	t.Cleanup(func() { other.Close() })
	const n = 60
	id, parts := b.begun(n)
	var wg sync.WaitGroup
	for w := range 4 {
		l := []*ledger.Ledger{b.Ledger, other}[w%2]
		order := rand.Perm(n)
		wg.Go(func() {
			for _, i := range order {
				r := stored(parts[i])
				if i%7 == w {
					r = faulty(parts[i], work.Denied)
				}
				if _, err := l.Record(t.Context(), []work.Result{r}, decide); err != nil {
					t.Error(err)
				}
				if err := l.Release(t.Context(), []work.Item{parts[i], parts[n-1-i]}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.counts(id, 1, 0, 0, 1, 0)
	b.once(id, 1)
	b.finish(id, work.Incomplete)
	if state := b.text(`SELECT state FROM tranship.uploads`); state != "abandoned" {
		t.Errorf("the upload is %s", state)
	}
}

// TestMostParts: a begin with as many parts as there may be, and tags and
// checksums as they are, makes a finish that the queue takes.
func TestMostParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, begin := b.toBegin(work.MaxParts, func(n *work.NewJob) {
		n.Source, n.Target = "s3://source/"+strings.Repeat("p", 500), "s3://target/"+strings.Repeat("p", 500)
	})
	b.record(opens(begin, strings.Repeat("u", 300)))
	for {
		items := b.claim(2000)
		if len(items) == 1 && items[0].Kind == work.Finish {
			finish := items[0]
			body, err := finish.Encode()
			b.must(err)
			t.Logf("the finish takes %d bytes", len(body))
			if len(finish.Parts) != work.MaxParts || len(body) > 1<<20-16<<10 {
				t.Errorf("a finish of %d parts in %d bytes, want %d in less than a MiB", len(finish.Parts), len(body), work.MaxParts)
			}
			encodes(t, finish)
			b.record(all(finish, "copied"))
			b.finish(id, work.Succeeded)
			return
		}
		if len(items) == 0 {
			t.Fatal("nothing more is handed out")
		}
		results := make([]work.Result, len(items))
		for i, it := range items {
			results[i] = stored(it)
			results[i].Part.Tag = fmt.Sprintf(`"%032x"`, it.N)
			results[i].Part.CRC32C, results[i].Part.CRC64NVME = bytes.Repeat([]byte{0xff}, 4), bytes.Repeat([]byte{0xff}, 8)
		}
		b.record(results...)
	}
}

// TestPartThatCannotBeKept: what would make the finish too large for the queue
// is a failure of the part.
func TestPartThatCannotBeKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(200)
	bad := []func(*work.StoredPart){
		func(p *work.StoredPart) { p.Tag = strings.Repeat("x", 5000) },
		func(p *work.StoredPart) { p.Tag = "a\x00b" },
		func(p *work.StoredPart) { p.Tag = "" },
		func(p *work.StoredPart) { p.N++ },
	}
	for i, spoil := range bad {
		r := stored(parts[i])
		spoil(r.Part)
		b.record(r)
	}
	b.uploads("u1 open 200")
	for _, it := range b.claim(1000) {
		if it.Kind != work.Part || it.Attempt != 2 {
			t.Errorf("claimed %+v, want a second attempt", it)
		}
	}
	b.counts(id, 1, 0, 0, 0, 0)
}

// TestResultOfAnotherKind changes nothing.
func TestResultOfAnotherKind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(2)
	r := stored(parts[0])
	r.Kind = work.Copy
	b.recorded(0, r)
	b.uploads("u1 open 2")
	b.counts(id, 1, 0, 0, 0, 0)
}
