package ledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) { ledgertest.Main(m) }

// odd are keys that text columns and JSON like to damage.
var odd = []string{
	"a\x00b", "back\\slash", "dir/", "plain", "quote\"'", "tab\tline\n", "ünï/日本", "\xed\xa0\x80", "\xff\xfe",
}

// A bench is a ledger with what tests do to it.
type bench struct {
	*ledger.Ledger
	twin *twin // nil: none
	t    testing.TB
	url  string
	sql  *sql.DB // beside the ledger
}

func setup(t testing.TB) *bench {
	t.Helper()
	url := ledgertest.URL(t)
	l, err := ledger.Open(t.Context(), url, ledger.Options{Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &bench{Ledger: l, t: t, url: url}
	b.open()
	b.pair()
	return b
}

// open connects beside the ledger.
func (b *bench) open() {
	b.t.Helper()
	db, err := sql.Open("postgres", b.url)
	b.must(err)
	b.t.Cleanup(func() { db.Close() })
	b.sql = db
}

type decider = func(work.Item, work.Result) work.Verdict

// decide is the real planner, without delays.
var decide decider = plan.Planner{Jitter: func() float64 { return 0 }}.Decide

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// ctx outlasts the test: its twin is compared after it.
func (b *bench) ctx() context.Context { return context.WithoutCancel(b.t.Context()) }

// exec runs a statement behind the ledger's back, and so alone.
func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	b.alone()
	_, err := b.sql.ExecContext(b.ctx(), query, args...)
	b.must(err)
}

// text returns the one value of a query, as text.
func (b *bench) text(query string, args ...any) string {
	b.t.Helper()
	var v sql.NullString
	b.must(b.sql.QueryRowContext(b.ctx(), query, args...).Scan(&v))
	return v.String
}

func newJob() work.NewJob {
	return work.NewJob{Name: "n", Source: "mem://a", Target: "mem://b", Options: work.DefaultOptions(), SubmittedBy: "me"}
}

// create makes a job; change may alter it first.
func (b *bench) create(change ...func(*work.NewJob)) work.JobID {
	b.t.Helper()
	n := newJob()
	for _, f := range change {
		f(&n)
	}
	j, created, err := b.CreateJob(b.ctx(), n, work.Idempotency{})
	b.must(err)
	if !created {
		b.t.Fatal("a new job was not created")
	}
	return j.ID
}

func (b *bench) claim(window int) []work.Item {
	b.t.Helper()
	items, err := b.Claim(b.ctx(), work.DefaultSite, window)
	b.must(err)
	return items
}

// claimOne claims the one item that is there.
func (b *bench) claimOne() work.Item {
	b.t.Helper()
	items := b.claim(1000)
	if len(items) != 1 {
		b.t.Fatalf("claimed %d items, want 1", len(items))
	}
	return items[0]
}

// record records results that must all change something.
func (b *bench) record(results ...work.Result) {
	b.t.Helper()
	b.recorded(len(results), results...)
}

// recorded records results of which want must change something.
func (b *bench) recorded(want int, results ...work.Result) {
	b.t.Helper()
	n, err := b.Record(b.ctx(), results, decide)
	b.must(err)
	if n != want {
		b.t.Fatalf("Record changed %d, want %d", n, want)
	}
}

func (b *bench) job(id work.JobID) work.Job {
	b.t.Helper()
	j, err := b.Job(b.ctx(), id)
	b.must(err)
	return j
}

// counts fails the test unless the job's counters are these and are proved.
func (b *bench) counts(id work.JobID, planned, copied, skipped, failed, retries int64) {
	b.t.Helper()
	got := b.job(id).Counts
	want := got
	want.Planned, want.Copied, want.Skipped, want.Failed, want.Retries = planned, copied, skipped, failed, retries
	want.Open = planned - copied - skipped - failed
	if got != want {
		b.t.Errorf("counters are %+v, want %+v", got, want)
	}
	b.balanced(id)
}

func (b *bench) balanced(id work.JobID) {
	b.t.Helper()
	balance, err := b.Balance(b.ctx(), id)
	b.must(err)
	if !balance.Holds() {
		b.t.Fatalf("job %d is not balanced: %+v", id, balance)
	}
}

// finish ends jobs and returns the only one that was to end.
func (b *bench) finish(id work.JobID, want work.JobState) work.Job {
	b.t.Helper()
	jobs, err := b.FinishJobs(b.ctx())
	b.must(err)
	if len(jobs) != 1 || jobs[0].ID != id || jobs[0].State != want || jobs[0].FinishedAt.IsZero() {
		b.t.Fatalf("FinishJobs = %+v, want job %d %s", jobs, id, want)
	}
	return jobs[0]
}

func (b *bench) finishNone() {
	b.t.Helper()
	jobs, err := b.FinishJobs(b.ctx())
	b.must(err)
	if len(jobs) != 0 {
		b.t.Fatalf("FinishJobs = %+v, want none", jobs)
	}
}

// objects lists all objects of a query, page by page.
func (b *bench) objects(q work.ObjectQuery) []work.ObjectRow {
	b.t.Helper()
	var all []work.ObjectRow
	for {
		rows, next, err := b.Objects(b.ctx(), q)
		b.must(err)
		all = append(all, rows...)
		if q.Cursor = next; next == "" {
			return all
		}
	}
}

// page is the result of a scan: the keys found after the item's range begins,
// up to the last of them, or to the end of the range if last.
func page(it work.Item, last bool, keys ...string) work.Result {
	p := &work.Page{Range: *it.Range, Last: last}
	if !last {
		p.Upto = keys[len(keys)-1]
	}
	for i, k := range keys {
		p.Found = append(p.Found, work.Found{Object: work.Object{Key: k, Size: int64(i + 1), ETag: "e-" + strconv.Itoa(i)}})
	}
	return result(it, work.Result{Page: p})
}

// result completes a result of the item.
func result(it work.Item, r work.Result) work.Result {
	r.Job, r.Item, r.Kind, r.Epoch, r.Agent, r.At = it.Job, it.ID, it.Kind, it.Epoch, "one", time.Now()
	return r
}

// outcomes is the result of a copy: one word per object, such as "copied" or
// "failed denied".
func outcomes(it work.Item, words ...string) work.Result {
	r := work.Result{Moved: 10}
	for _, w := range words {
		var o work.ObjectOutcome
		var fault string
		if n, _ := fmt.Sscan(w, (*string)(&o.Outcome), &fault); n == 2 {
			o.Fault, o.Error = work.Fault(fault), "because of "+fault
		}
		switch o.Outcome {
		case work.Skipped:
			o.Reason = "etag"
		case work.Copied:
			o.Proof, o.Checksum = "crc32c", "crc32c:00000000"
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	return result(it, r)
}

// all is the result of a copy with the same outcome for each object.
func all(it work.Item, word string) work.Result {
	words := make([]string, len(it.Objects))
	for i := range words {
		words[i] = word
	}
	return outcomes(it, words...)
}

// scanned makes a job whose source has the keys, and returns the item that
// copies them.
func (b *bench) scanned(keys ...string) (work.JobID, work.Item) {
	b.t.Helper()
	id := b.create()
	b.record(page(b.claimOne(), true, keys...))
	return id, b.claimOne()
}
