package ledger_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// incomplete makes a job that ended with failures: a denied, b corrupt, c
// copied, dir/d denied, dir/e changed.
func (b *bench) incomplete() (work.JobID, work.Item) {
	b.t.Helper()
	id := b.create()
	p := page(b.claimOne(), true, "a", "b", "c", "dir/d", "dir/e")
	for i := range p.Page.Found {
		p.Page.Found[i].ModTime = time.Unix(1700000000, 0)
	}
	b.record(p)
	it := b.claimOne()
	b.exec(`UPDATE tranship.jobs SET options = options || '{"max_attempts":1}'`)
	b.record(outcomes(it, "failed denied", "failed corrupt", "copied", "failed denied", "changed changed"))
	b.counts(id, 5, 1, 0, 4, 0)
	b.finish(id, work.Incomplete)
	return id, it
}

func (b *bench) retry(want int64, q work.RetryQuery) {
	b.t.Helper()
	n, err := b.Retry(b.ctx(), q, "me")
	b.must(err)
	if n != want {
		b.t.Fatalf("Retry(%+v) = %d objects, want %d", q, n, want)
	}
}

func TestRetryByFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, old := b.incomplete()
	b.retry(0, work.RetryQuery{Job: id, Fault: work.NotFound})
	if j := b.job(id); j.State != work.Incomplete {
		t.Errorf("retrying nothing made the job %s", j.State)
	}
	b.retry(2, work.RetryQuery{Job: id, Fault: work.Denied})
	b.counts(id, 5, 1, 0, 2, 2)
	j := b.job(id)
	if j.State != work.Running || !j.FinishedAt.IsZero() {
		t.Errorf("the job is %s, ended %v, want it running", j.State, j.FinishedAt)
	}
	it := b.claimOne()
	if it.Attempt != 1 || it.Epoch != 1 || len(it.Objects) != 2 || it.Objects[0].Key != "a" || it.Objects[1].Key != "dir/d" ||
		!it.Objects[0].Check || it.Objects[0].ETag == "" {
		t.Errorf("to retry: %+v, want a and dir/d, to be compared first", it)
	}
	b.recorded(0, outcomes(old, "copied", "copied", "copied", "copied", "copied")) // too late
	b.record(all(it, "copied"))
	b.counts(id, 5, 3, 0, 2, 2)
	b.finish(id, work.Incomplete)
	if got := len(b.objects(work.ObjectQuery{Job: id})); got != 5 {
		t.Errorf("the job has %d objects, want 5", got)
	}
	tally, err := b.FailureTally(b.ctx(), id)
	b.must(err)
	want := []work.Tally{
		{Name: "changed", Count: 1, Key: "dir/e", Text: "after 1 attempt: because of changed"},
		{Name: "corrupt", Count: 1, Key: "b", Text: "after 1 attempt: because of corrupt"},
	}
	if !reflect.DeepEqual(tally, want) {
		t.Errorf("FailureTally = %+v, want %+v", tally, want)
	}
	events, err := b.Events(b.ctx(), id, 0, 100)
	b.must(err)
	if e := events[2]; e.What != "retried" || e.Who != "me" || e.Note != "2 failed objects with fault denied" {
		t.Errorf("event = %+v", e)
	}
}

func TestRetryByPrefix(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.incomplete()
	b.retry(2, work.RetryQuery{Job: id, Prefix: "dir/"})
	it := b.claimOne()
	changed := it.Objects[1]
	if changed.Key != "dir/e" || changed.ETag != "" || !changed.ModTime.IsZero() {
		t.Errorf("a changed object is to be retried as %+v, want it without the version that is gone", changed)
	}
	b.record(all(it, "copied"))
	b.counts(id, 5, 3, 0, 2, 2)
}

func TestRetryAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.incomplete()
	b.retry(4, work.RetryQuery{Job: id})
	it := b.claimOne()
	b.record(all(it, "failed denied")) // again
	b.counts(id, 5, 1, 0, 4, 4)
	b.finish(id, work.Incomplete)
	b.retry(4, work.RetryQuery{Job: id})
	b.record(all(b.claimOne(), "skipped"))
	b.counts(id, 5, 1, 4, 0, 8)
	b.finish(id, work.Succeeded)
	b.retry(0, work.RetryQuery{Job: id})
	if j := b.job(id); j.State != work.Succeeded {
		t.Errorf("retrying nothing made the job %s", j.State)
	}
}

func TestRetryInOtherStates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b")
	b.record(outcomes(it, "failed denied", "retry transient"))
	b.retry(1, work.RetryQuery{Job: id}) // while it runs
	b.counts(id, 2, 0, 0, 0, 2)
	items := b.claim(10)
	if len(items) != 2 {
		t.Fatalf("claimed %+v, want an item each", items)
	}
	for _, it := range items {
		b.record(all(it, "failed denied"))
	}

	_, err := b.Pause(b.ctx(), id, "me")
	b.must(err)
	b.retry(2, work.RetryQuery{Job: id})
	if j := b.job(id); j.State != work.Paused {
		t.Errorf("a retry made a paused job %s", j.State)
	}
	if n := len(b.claim(10)); n != 0 {
		t.Errorf("%d items of a paused job were claimed", n)
	}
	_, err = b.Cancel(b.ctx(), id, "me")
	b.must(err)
	if _, err := b.Retry(b.ctx(), work.RetryQuery{Job: id}, "me"); !errors.Is(err, work.ErrState) {
		t.Errorf("Retry of a canceled job: %v, want ErrState", err)
	}
	if _, err := b.Retry(b.ctx(), work.RetryQuery{Job: 999}, "me"); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("Retry of an unknown job: %v, want ErrNoJob", err)
	}
	b.counts(id, 2, 0, 0, 0, 4)
}

func TestRetryDeadScan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(page(scan, false, "a"), result(scan, work.Result{Fault: work.Denied, Error: "no"}))
	b.record(all(b.claimOne(), "copied"))
	b.finish(id, work.JobFailed)

	b.retry(0, work.RetryQuery{Job: id, Fault: work.Denied}) // of objects
	if j := b.job(id); j.State != work.JobFailed {
		t.Errorf("the job is %s, want failed", j.State)
	}
	b.retry(0, work.RetryQuery{Job: id})
	j := b.job(id)
	if j.State != work.Running || j.Error != "" || !j.Scanning {
		t.Errorf("the job is %+v, want it to scan again", j)
	}
	again := b.claimOne()
	if again.ID == scan.ID || again.Epoch != 1 || again.Attempt != 1 || again.Range.After != "a" {
		t.Errorf("the scan is %+v from %q, want another that goes on behind a", again, again.Range.After)
	}
	b.record(page(again, true, "b"))
	b.record(all(b.claimOne(), "copied"))
	b.counts(id, 2, 2, 0, 0, 0)
	b.finish(id, work.Succeeded)
}

// TestRetryMany: more than one step takes.
func TestRetryMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	const n = 5200
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%05d", i)
	}
	b.record(page(scan, true, keys...))
	for _, it := range b.claim(1000) {
		b.record(all(it, "failed denied"))
	}
	b.counts(id, n, 0, 0, n, 0)
	b.retry(n, work.RetryQuery{Job: id})
	b.counts(id, n, 0, 0, 0, n)
	for _, it := range b.claim(1000) {
		b.record(all(it, "copied"))
	}
	b.counts(id, n, n, 0, 0, n)
	b.finish(id, work.Succeeded)
}
