package ledger_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// ready makes a running job with n copy items of one object each, and nothing
// else to do.
func (b *bench) ready(n int, change ...func(*work.NewJob)) work.JobID {
	b.t.Helper()
	id := b.create(change...)
	b.exec(`UPDATE tranship.items SET state = 'done' WHERE job_id = $1`, id)
	b.exec(`
		INSERT INTO tranship.items (job_id, kind, site, state, objects_count, first_key, last_key, objects)
		SELECT $1, 'copy', j.site, 'ready', 1, 'k', 'k', '[{"key":"k","size":1}]'
		FROM generate_series(1, $2) JOIN tranship.jobs j ON j.id = $1`, id, n)
	b.exec(`UPDATE tranship.jobs SET planned = $2 WHERE id = $1`, id, n)
	return id
}

func jobsOf(items []work.Item) []work.JobID {
	jobs := make([]work.JobID, len(items))
	for i, it := range items {
		jobs[i] = it.Job
	}
	return jobs
}

func (b *bench) wantJobs(items []work.Item, want ...work.JobID) {
	b.t.Helper()
	if got := jobsOf(items); !slices.Equal(got, want) {
		b.t.Errorf("items of jobs %v, want %v", got, want)
	}
}

func TestClaimTakesTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	big, small := b.ready(20), b.ready(2)
	b.wantJobs(b.claim(3), big, small, big)
	b.wantJobs(b.claim(3)) // the window is full
	// Who comes later gets its share first.
	late := b.ready(20)
	b.wantJobs(b.claim(8), late, small, late, big, late)
	// A job that has no more leaves its share to the others.
	b.wantJobs(b.claim(12), big, late, big, late)
}

func TestClaimByClass(t *testing.T) {
	t.Parallel()
	b := setup(t)
	class := func(c work.Class) func(*work.NewJob) { return func(n *work.NewJob) { n.Class = c } }
	lo, norm, hi := b.ready(2, class(work.Lo)), b.ready(2, class(work.Norm)), b.ready(2, class(work.Hi))
	b.wantJobs(b.claim(3), hi, hi, norm)
	b.wantJobs(b.claim(100), norm, lo, lo)
}

func TestClaimOnlyWhatIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	here := b.ready(2)
	paused := b.ready(2)
	b.ready(2, func(n *work.NewJob) { n.Site = "elsewhere" })
	_, err := b.Pause(b.ctx(), paused, "me")
	b.must(err)
	b.exec(`UPDATE tranship.items SET not_before = now() + interval '1 hour'
		WHERE id = (SELECT min(id) FROM tranship.items WHERE job_id = $1 AND state = 'ready')`, here)
	b.wantJobs(b.claim(100), here)

	sites, err := b.ActiveSites(b.ctx())
	b.must(err)
	if want := []string{work.DefaultSite, "elsewhere"}; !reflect.DeepEqual(sites, want) {
		t.Errorf("active sites = %v, want %v", sites, want)
	}
	_, err = b.Resume(b.ctx(), paused, "me")
	b.must(err)
	b.wantJobs(b.claim(100), paused, paused)
}

// TestWindowOfPausedJob: what a paused job has on the queue takes no place
// from others.
func TestWindowOfPausedJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	paused := b.ready(5)
	b.claim(5)
	_, err := b.Pause(b.ctx(), paused, "me")
	b.must(err)
	other := b.ready(3)
	b.wantJobs(b.claim(2), other, other)
}

func TestClaimScansFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create()
	last := page(b.claimOne(), true, "a", "b")
	last.Page.Upto = "b"
	last.Page.Rest = []work.Range{{After: "b"}}
	b.record(last)
	items := b.claim(10)
	if len(items) != 2 || items[0].Kind != work.Scan || items[1].Kind != work.Copy {
		t.Fatalf("claimed %+v, want the scan before the copy", items)
	}
	if want := (work.Range{After: "b"}); *items[0].Range != want {
		t.Errorf("the scan's range = %+v, want %+v", *items[0].Range, want)
	}
}

func TestTwoLedgersClaim(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := ledger.Open(b.ctx(), b.url, ledger.Options{})
	b.must(err)
	t.Cleanup(func() { other.Close() })
	const n = 500
	b.ready(n / 2)
	b.ready(n / 2)

	var mu sync.Mutex
	taken := map[work.ItemID]int{}
	var wg sync.WaitGroup
	for i := range 8 {
		l := b.Ledger
		if i%2 == 1 {
			l = other
		}
		wg.Go(func() {
			for window := 10; window <= n; window += 10 {
				items, err := l.Claim(t.Context(), work.DefaultSite, window)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, it := range items {
					taken[it.ID]++
				}
				if len(taken) > n {
					t.Errorf("more items than there are")
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, times := range taken {
		if times != 1 {
			t.Errorf("item %d was handed out %d times", id, times)
		}
	}
	if len(taken) != n {
		t.Errorf("%d items were handed out, want %d", len(taken), n)
	}
}

// TestWindowIsNeverOverfilled: two who fill one window at once.
func TestWindowIsNeverOverfilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := b.Claim(t.Context(), work.DefaultSite, 7); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := b.text(`SELECT count(*) FROM tranship.items WHERE state = 'queued'`); n != "7" {
		t.Errorf("%s items are queued, want 7", n)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(3)
	first := b.claim(3)
	stale := first[0]
	stale.Epoch--
	b.must(b.Release(b.ctx(), []work.Item{stale, first[1]}))
	again := b.claim(3)
	if len(again) != 1 || again[0].ID != first[1].ID || again[0].Epoch != 2 {
		t.Errorf("claimed %+v after the release, want item %d under epoch 2", again, first[1].ID)
	}
	b.must(b.Release(b.ctx(), first[1:2])) // of an epoch that is over
	if n := len(b.claim(3)); n != 0 {
		t.Errorf("a late release made %d items ready", n)
	}
	b.record(all(first[2], "copied"))
	b.must(b.Release(b.ctx(), first[2:]))
	if n := len(b.claim(3)); n != 0 {
		t.Errorf("the release of a done item made %d items ready", n)
	}
	b.must(b.Release(b.ctx(), nil))
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.ready(3)
	queued := b.claim(3)
	overdue := func(olderThan time.Duration, limit int) []work.Item {
		t.Helper()
		items, err := b.Overdue(b.ctx(), olderThan, limit)
		b.must(err)
		return items
	}
	if n := len(overdue(time.Hour, 10)); n != 0 {
		t.Fatalf("%d items are overdue at once", n)
	}
	b.exec(`UPDATE tranship.items SET looked_at = now() - interval '2 hours' WHERE id = ANY (ARRAY[$1, $2]::bigint[])`,
		queued[0].ID, queued[1].ID)
	one := overdue(time.Hour, 1)
	two := overdue(time.Hour, 10)
	if len(one) != 1 || len(two) != 1 || one[0].ID == two[0].ID {
		t.Fatalf("overdue: %+v, then %+v, want one each", one, two)
	}
	it := one[0]
	if it.Epoch != 2 || len(it.Objects) != 1 || it.Job != id {
		t.Errorf("overdue item = %+v, want it whole under epoch 2", it)
	}
	if n := len(overdue(time.Hour, 10)); n != 0 {
		t.Errorf("%d items are overdue though they were just looked at", n)
	}
	// The queue refuses one and takes the other.
	b.must(b.Requeued(b.ctx(), []work.Item{it}))
	b.recorded(0, all(queued[0], "failed denied")) // its epoch is over now
	if got := b.text(`SELECT epoch FROM tranship.items WHERE id = $1`, two[0].ID); got != "1" {
		t.Errorf("the item that was still there has epoch %s, want 1", got)
	}

	// Nothing of a paused job is; all of a resumed one at once.
	_, err := b.Pause(b.ctx(), id, "me")
	b.must(err)
	if n := len(overdue(0, 10)); n != 0 {
		t.Errorf("%d items of a paused job are overdue", n)
	}
	_, err = b.Resume(b.ctx(), id, "me")
	b.must(err)
	if n := len(overdue(24*time.Hour, 10)); n != 3 {
		t.Errorf("%d items of a resumed job are overdue, want 3", n)
	}
	// A requeueing that comes after the result changes nothing.
	b.record(all(it, "copied"))
	it.Epoch = 9
	b.must(b.Requeued(b.ctx(), []work.Item{it}))
	if got := b.text(`SELECT state || epoch FROM tranship.items WHERE id = $1`, it.ID); got != "done2" {
		t.Errorf("the item is %s, want done2", got)
	}
}

// TestClaimBigObjects: finishes and begins go first, parts and copies take
// turns, and nothing new is begun while there are parts to move.
func TestClaimBigObjects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(split)
	sizes := map[string]int64{"one": 100, "big1": 500, "big2": 500}
	b.record(sized(b.claimOne(), sizes))
	begins := b.claim(10)
	b.record(opens(begins[0], "u0"), opens(begins[1], "u1"), opens(begins[2], "u2"))
	one := b.claim(11)
	kinds := func(items []work.Item) string {
		words := make([]string, len(items))
		for i, it := range items {
			words[i] = string(it.Kind)
		}
		return strings.Join(words, " ")
	}
	if got := kinds(one); got != strings.TrimSpace(strings.Repeat("part ", 11)) {
		t.Fatalf("claimed %s, want 11 parts", got)
	}
	b.must(b.Release(b.ctx(), one))

	id := b.ready(3)
	b.exec(`UPDATE tranship.items SET job_id = 1 WHERE job_id = $1`, id) // beside the parts
	b.exec(`UPDATE tranship.jobs SET state = 'paused' WHERE id = $1`, id)
	b.exec(`INSERT INTO tranship.items (job_id, kind, site, state, objects_count, first_key, last_key, objects)
		VALUES (1, 'begin', 'default', 'ready', 1, 'k', 'k', '[{"key":"k","size":500}]')`)
	items := b.claim(6)
	if got := kinds(items); got != "part copy part copy part copy" && got != "copy part copy part copy part" {
		t.Errorf("claimed %s, want parts and copies by turns, and no begin", got)
	}
	items = append(items, b.claim(20)...)
	if got := kinds(items[6:]); got != "begin part part part part part part part part" {
		t.Errorf("claimed %s, want the begin and the other parts", got)
	}
	for _, it := range items {
		if it.Kind == work.Part && it.Upload.ID == one[0].Upload.ID {
			b.record(stored(it))
		}
	}
	b.must(b.Release(b.ctx(), items))
	if got := kinds(b.claim(2)); !strings.HasPrefix(got, "finish ") {
		t.Errorf("claimed %s, want the finish first", got)
	}
}
