package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func (b *bench) cancel(id work.JobID) {
	b.t.Helper()
	j, err := b.Cancel(b.ctx(), id, "me")
	b.must(err)
	if j.State != work.Canceled || j.FinishedAt.IsZero() {
		b.t.Fatalf("Cancel = %+v, want it finished", j)
	}
	if n := b.text(`SELECT count(*) FROM tranship.items WHERE job_id = $1 AND state IN ('waiting', 'ready', 'queued')`, id); n != "0" {
		b.t.Errorf("%s items of a canceled job are open", n)
	}
	b.balanced(id)
}

// TestCancelBigObject at each of its stages: what is open at the target is
// aborted, and nothing else happens any more.
func TestCancelBigObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// to brings a job to the stage and returns results that come too late.
		to      func(b *bench) (work.JobID, []work.Result)
		uploads string // after the abort
	}{
		{"before the begin", func(b *bench) (work.JobID, []work.Result) {
			id, begin := b.toBegin(2)
			return id, []work.Result{faulty(begin, work.Transient), all(begin, "copied")}
		}, ""},
		{"parts on their way", func(b *bench) (work.JobID, []work.Result) {
			id, parts := b.begun(2)
			return id, []work.Result{stored(parts[0]), faulty(parts[1], work.Denied)}
		}, "u1 aborted 2"},
		{"a part is there", func(b *bench) (work.JobID, []work.Result) {
			id, parts := b.begun(2)
			b.record(stored(parts[0]))
			return id, []work.Result{stored(parts[1])}
		}, "u1 aborted 1"},
		{"parts not handed out", func(b *bench) (work.JobID, []work.Result) {
			id, begin := b.toBegin(2)
			b.record(opens(begin, "u1"))
			return id, nil
		}, "u1 aborted 2"},
		{"at the finish", func(b *bench) (work.JobID, []work.Result) {
			id, finish := b.toFinish(2)
			return id, []work.Result{all(finish, "copied"), faulty(finish, work.Denied), gone(finish)}
		}, "u1 aborted 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id, late := tt.to(b)
			b.cancel(id)
			b.recorded(0, late...)
			want := 0
			if tt.uploads != "" {
				want = 1
			}
			for _, abort := range b.tidy(want) {
				if abort.Job != id || abort.Upload.ID != "u1" || abort.Objects[0].Key != "big" {
					t.Errorf("the abort is %+v", abort)
				}
				encodes(t, abort)
				b.recorded(1, result(abort, work.Result{}), result(abort, work.Result{}), faulty(abort, work.Denied))
			}
			b.uploads(tt.uploads)
			b.tidy(0)
			if j := b.job(id); j.State != work.Canceled || j.Open != 1 {
				t.Errorf("the job is %s with %d open objects", j.State, j.Open)
			}
			b.balanced(id)
			b.once(id, 1)
			sites, err := b.ActiveSites(b.ctx())
			b.must(err)
			if len(sites) != 0 {
				t.Errorf("active sites %v of a job that is over", sites)
			}
		})
	}
}

// TestLateBegin: an upload that nobody waits for is aborted, whatever became
// of the item that opened it.
func TestLateBegin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		to      func(b *bench) work.Item // the begin
		uploads string
	}{
		{"canceled", func(b *bench) work.Item {
			id, begin := b.toBegin(2)
			b.cancel(id)
			return begin
		}, "late abandoned 0"},
		{"another came first", func(b *bench) work.Item {
			_, begin := b.toBegin(2)
			b.record(opens(begin, "u1"))
			return begin
		}, "u1 open 2, late abandoned 0"},
		{"copied meanwhile", func(b *bench) work.Item {
			id, begin := b.toBegin(2)
			b.record(all(begin, "copied"))
			b.finish(id, work.Succeeded)
			return begin
		}, "late abandoned 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			begin := tt.to(b)
			b.recorded(1, opens(begin, "late"), opens(begin, "late"))
			b.recorded(0, opens(begin, "late"))
			b.uploads(tt.uploads)
			abort := b.tidy(1)[0]
			if abort.Upload.ID != "late" || abort.Objects[0].Key != "big" {
				t.Errorf("the abort is %+v", abort)
			}
			encodes(t, abort)
			b.record(result(abort, work.Result{}))
			b.uploads(strings.Replace(tt.uploads, "late abandoned", "late aborted", 1))
		})
	}
}

// TestTwoBeginsAtOnce: an item handed out twice opens two uploads, told of in
// one batch; and a begin that cannot be recorded leaves one behind, too.
func TestTwoBeginsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, begin := b.toBegin(2)
	wrong := opens(begin, "wrong")
	wrong.Object.Key = "other"
	b.recorded(2, wrong) // as a failure and as an upload to abort
	b.uploads("wrong abandoned 0")
	b.counts(id, 1, 0, 0, 0, 1)
	begin = b.claimOne()
	b.recorded(2, opens(begin, "u1"), opens(begin, "u2"))
	b.uploads("wrong abandoned 0", "u1 open 2", "u2 abandoned 0")

	foreign := opens(begin, "foreign")
	foreign.Item = 999
	b.recorded(0, foreign)
	foreign = opens(begin, "foreign")
	foreign.Job = 999
	b.recorded(0, foreign)
}

func TestAbortIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.begun(2, func(n *work.NewJob) { n.Options.MaxAttempts = 2 })
	b.cancel(id)
	first := b.tidy(1)[0]
	b.must(b.Release(b.ctx(), []work.Item{first}))
	first = b.claimOne()
	if first.Epoch != 2 {
		t.Errorf("the abort has epoch %d, want 2", first.Epoch)
	}
	overdue, err := b.Overdue(b.ctx(), 0, 10)
	b.must(err)
	if len(overdue) != 1 || overdue[0].ID != first.ID || overdue[0].Upload == nil {
		t.Errorf("overdue: %+v, want the abort", overdue)
	}
	b.record(faulty(first, work.Transient))
	b.uploads("u1 aborting 2")
	second := b.claimOne()
	if second.Kind != work.Abort || second.Attempt != 2 || second.Upload.ID != "u1" {
		t.Errorf("claimed %+v, want the abort again", second)
	}
	b.recorded(1, faulty(second, work.Transient), result(second, work.Result{}))
	b.uploads("u1 orphaned 2")
	events, err := b.Events(b.ctx(), id, 0, 100)
	b.must(err)
	last := events[len(events)-1]
	want := "upload u1 of big was given up and could not be aborted (transient): after 2 attempts: because of transient; abort it at the target"
	if last.What != "orphaned" || last.Note != want {
		t.Errorf("event %+v, want it orphaned: %s", last, want)
	}
	counts, err := b.Uploads(b.ctx())
	b.must(err)
	if counts["orphaned"] != 1 || counts["aborting"] != 0 || counts["open"] != 0 {
		t.Errorf("Uploads = %v, want one orphaned", counts)
	}
	if j := b.job(id); j.State != work.Canceled || j.StartedAt.IsZero() {
		t.Errorf("the job is %+v", j)
	}
}

// TestJanitorLeavesOpenJobsAlone, also paused ones; aborts of abandoned
// uploads go on while their job is paused, and wait for the agents to hear.
func TestJanitorLeavesOpenJobsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(2)
	b.tidy(0)
	b.record(gone(parts[0]))
	_, err := b.Pause(b.ctx(), id, "me")
	b.must(err)
	n, err := b.Janitor(b.ctx(), time.Hour)
	b.must(err)
	if items := b.claim(10); n != 1 || len(items) != 0 {
		t.Errorf("Janitor took up %d uploads and %+v is handed out at once", n, items)
	}
	b.exec(`UPDATE tranship.items SET not_before = now() WHERE kind = 'abort'`)
	abort := b.claimOne()
	b.record(result(abort, work.Result{}))
	b.uploads("u1 aborted 2")
	_, err = b.Resume(b.ctx(), id, "me")
	b.must(err)
	if it := b.claimOne(); it.Kind != work.Begin {
		t.Errorf("claimed %+v, want the begin", it)
	}
}

// TestAbortsHaveAWindowOfTheirOwn: they take no place from what moves bytes.
func TestAbortsHaveAWindowOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(split)
	b.record(sized(b.claimOne(), map[string]int64{"a": 100, "b": 100, "c": 100, "d": 100}))
	for i, it := range b.claim(10) {
		b.record(opens(it, string(rune('p'+i))))
	}
	b.cancel(id)
	n, err := b.Janitor(b.ctx(), 0)
	b.must(err)
	b.ready(50)
	kinds := map[work.Kind]int{}
	for _, it := range b.claim(16) {
		kinds[it.Kind]++
	}
	if n != 4 || kinds[work.Abort] != 2 || kinds[work.Copy] != 16 {
		t.Errorf("%d uploads to abort; claimed %v, want 16 copies and 2 aborts", n, kinds)
	}
	if items := b.claim(16); len(items) != 0 {
		t.Errorf("claimed %d more", len(items))
	}
}
