package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// attempts returns what is told of an object, or of the listing if key is "",
// one word for each: its kind and part, attempt, outcome or state, and error.
func (b *bench) attempts(q work.AttemptQuery) []string {
	b.t.Helper()
	list, _, err := b.Attempts(b.ctx(), q)
	b.must(err)
	var words []string
	for _, a := range list {
		word := string(a.Kind)
		if a.N > 0 {
			word += fmt.Sprint(a.N)
		}
		what := string(a.Outcome)
		if what == "" {
			what = string(a.State)
		}
		words = append(words, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", word, a.Attempt, what, a.Error)))
		done := a.State == work.Done || a.State == work.Dead
		if done != !a.At.IsZero() || done != (a.Agent == "one") || (a.State == work.Ready) != !a.Due.IsZero() || a.Item == 0 {
			b.t.Errorf("an attempt that is not whole: %+v", a)
		}
	}
	return words
}

func (b *bench) tells(q work.AttemptQuery, want ...string) {
	b.t.Helper()
	if got := b.attempts(q); strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("attempts of job %d at %q:\n%s\nwant\n%s", q.Job, q.Key, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAttempts follows an object over failing attempts, to its failure and over
// a retry.
func TestAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create() // another job with the same keys
	other := b.claimOne()
	b.record(page(other, true, odd...))
	b.claimOne()
	id := b.create(func(n *work.NewJob) { n.Options.MaxAttempts = 3 })
	b.record(page(b.claimOne(), true, odd...))
	for _, key := range odd {
		b.tells(work.AttemptQuery{Job: id, Key: key}, "copy 1 ready")
	}
	b.record(all(b.claimOne(), "retry transient"))
	b.tells(work.AttemptQuery{Job: id, Key: odd[0]}, "copy 1 retry because of transient", "copy 2 ready")
	words := make([]string, len(odd))
	for i := range odd {
		words[i] = []string{"retry corrupt", "copied", "failed denied"}[i%3]
	}
	b.record(outcomes(b.claimOne(), words...))
	b.record(all(b.claimOne(), "retry throttled")) // costs no attempt
	b.record(all(b.claimOne(), "retry internal"))
	for i, key := range odd {
		b.tells(work.AttemptQuery{Job: id, Key: key}, [][]string{
			{"copy 1 retry because of transient", "copy 2 retry because of corrupt", "copy 3 retry because of throttled",
				"copy 3 failed after 3 attempts: because of internal"},
			{"copy 1 retry because of transient", "copy 2 copied"},
			{"copy 1 retry because of transient", "copy 2 failed because of denied"},
		}[i%3]...)
	}
	key := odd[len(odd)-1]
	b.retry(1, work.RetryQuery{Job: id, Prefix: key})
	b.tells(work.AttemptQuery{Job: id, Key: key}, "copy 1 retry because of transient", "copy 2 retry because of denied", "copy 1 ready")
	again := b.claimOne()
	b.tells(work.AttemptQuery{Job: id, Key: key}, "copy 1 retry because of transient", "copy 2 retry because of denied", "copy 1 queued")
	b.record(all(again, "copied"))
	b.tells(work.AttemptQuery{Job: id, Key: key}, "copy 1 retry because of transient", "copy 2 retry because of denied", "copy 1 copied")

	list, older, err := b.Attempts(b.ctx(), work.AttemptQuery{Job: id, Key: odd[0], Limit: 2})
	b.must(err)
	if !older || len(list) != 2 || list[1].Outcome != work.Failed || list[1].Fault != work.Internal || list[1].At.After(time.Now().Add(time.Hour)) {
		t.Errorf("the last two attempts: %+v, older %v", list, older)
	}
	if _, older, err = b.Attempts(b.ctx(), work.AttemptQuery{Job: id, Key: odd[0], Limit: 4}); err != nil || older {
		t.Errorf("of four attempts, all four: older %v, %v", older, err)
	}
	for _, key := range []string{"", "plai", "plain2", "\xff"} {
		if _, _, err := b.Attempts(b.ctx(), work.AttemptQuery{Job: id, Key: key}); !errors.Is(err, work.ErrNoObject) {
			t.Errorf("attempts at %q, which is no object: %v, want %v", key, err, work.ErrNoObject)
		}
	}
}

// An object that a listing cannot hand to anybody has one attempt.
func TestAttemptsAtBirth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	p := page(b.claimOne(), true, "archived")
	p.Page.Found[0].Fail = "it must be restored first"
	b.record(p)
	b.tells(work.AttemptQuery{Job: id, Key: "archived"}, "copy 1 failed it must be restored first")
}

// TestAttemptsInParts follows a big object one of whose parts is given up.
func TestAttemptsInParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(3, func(n *work.NewJob) { n.Options.MaxAttempts = 2 })
	big := work.AttemptQuery{Job: id, Key: "big"}
	b.tells(big, "begin 1 begun", "finish 1 waiting")
	b.record(stored(parts[0]))
	b.record(faulty(parts[1], work.Transient), faulty(parts[2], work.Corrupt))
	b.tells(big, "begin 1 begun", "part2 1 retry because of transient", "part3 1 retry because of corrupt",
		"part2 2 ready", "part3 2 ready", "finish 1 waiting")
	again := b.claim(10)
	b.record(stored(again[0]))
	b.record(faulty(again[1], work.Corrupt))
	b.tells(big, "begin 1 begun", "part2 1 retry because of transient", "part3 1 retry because of corrupt", "part2 2 done",
		"part3 2 failed part 3: after 2 attempts: because of corrupt", "finish 1 failed part 3: after 2 attempts: because of corrupt")

	b.retry(1, work.RetryQuery{Job: id})
	begin := b.claimOne()
	b.record(opens(begin, "u2"))
	for _, it := range b.claim(10) {
		b.record(stored(it))
	}
	finish := b.claimOne()
	b.record(faulty(finish, work.Transient))
	b.record(gone(b.claimOne()))
	got := b.attempts(big)
	want := []string{"begin 1 begun", "finish 1 retry because of transient", "finish 2 failed after 2 attempts: because of transient"}
	if len(got) != 9 || strings.Join(got[6:], "\n") != strings.Join(want, "\n") {
		t.Errorf("after a retry:\n%s\nwant at the end\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAttemptsToList follows ranges that cannot be listed.
func TestAttemptsToList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(func(n *work.NewJob) { n.Options.MaxAttempts = 2 })
	listing := work.AttemptQuery{Job: id, Listing: true}
	b.tells(listing)
	first := b.claimOne()
	b.record(page(first, false, "a", "b"))
	var copies work.Item
	for _, it := range b.claim(10) {
		copies = it
	}
	b.record(all(copies, "copied"))
	b.tells(listing) // all is well
	b.record(faulty(first, work.Transient))
	b.tells(listing, "scan 1 retry because of transient", "scan 2 ready")
	b.record(faulty(b.claimOne(), work.Throttled))
	b.record(faulty(b.claimOne(), work.Denied))
	history := []string{"scan 1 retry because of transient", "scan 2 retry because of throttled", "scan 2 failed because of denied"}
	b.tells(listing, history...)
	b.finish(id, work.JobFailed)

	if objects, ranges, err := b.Retryable(b.ctx(), work.RetryQuery{Job: id}); err != nil || objects != 0 || ranges != 1 {
		t.Errorf("to retry: %d objects, %d ranges, %v, want the range", objects, ranges, err)
	}
	if _, ranges, err := b.Retryable(b.ctx(), work.RetryQuery{Job: id, Fault: work.Denied}); err != nil || ranges != 0 {
		t.Errorf("to retry of a fault: %d ranges, %v, want none", ranges, err)
	}
	b.retry(0, work.RetryQuery{Job: id})
	history[2] = "scan 2 retry because of denied"
	b.tells(listing, append(history, "scan 1 ready")...)
	again := b.claimOne()
	if again.Range.After != "b" || again.Attempt != 1 {
		t.Errorf("what is listed again is %+v, want what was left after b", again)
	}
	list, _, err := b.Attempts(b.ctx(), listing)
	b.must(err)
	if r := list[3].Range; r == nil || *r != (work.Range{After: "b"}) {
		t.Errorf("the open attempt lists %+v", r)
	}
	b.recorded(0, page(first, true, "c")) // too late
	b.record(page(again, true, "c"))
	b.record(all(b.claimOne(), "copied"))
	b.counts(id, 3, 3, 0, 0, 0)
	b.finish(id, work.Succeeded)
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.incomplete()
	for _, q := range []struct {
		work.RetryQuery
		want int64
	}{
		{work.RetryQuery{}, 4}, {work.RetryQuery{Fault: work.Denied}, 2}, {work.RetryQuery{Prefix: "dir/"}, 2},
		{work.RetryQuery{Fault: work.Denied, Prefix: "dir/"}, 1}, {work.RetryQuery{Prefix: "\xff"}, 0},
	} {
		q.Job = id
		if n, ranges, err := b.Retryable(b.ctx(), q.RetryQuery); err != nil || n != q.want || ranges != 0 {
			t.Errorf("Retryable(%+v) = %d, %d, %v, want %d", q.RetryQuery, n, ranges, err, q.want)
		}
	}
	if j := b.job(id); j.State != work.Incomplete || j.Failed != 4 {
		t.Errorf("counting changed the job: %+v", j)
	}
	if _, _, err := b.Retryable(b.ctx(), work.RetryQuery{Job: id + 1}); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("of no job: %v", err)
	}
	open := b.create()
	_, err := b.Cancel(b.ctx(), open, "me")
	b.must(err)
	if _, _, err := b.Retryable(b.ctx(), work.RetryQuery{Job: open}); !errors.Is(err, work.ErrState) {
		t.Errorf("of a canceled job: %v", err)
	}
}
