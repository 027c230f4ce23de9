package ledger_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestBigObject: begin, parts, finish, with results repeated and out of order.
func TestBigObject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(split)
	b.record(sized(b.claimOne(), map[string]int64{"a": 1, "big": 250, "z": 99}))
	b.counts(id, 3, 0, 0, 0, 0)
	items := b.claim(10)
	if len(items) != 2 || items[0].Kind != work.Begin || items[1].Kind != work.Copy || len(items[1].Objects) != 2 {
		t.Fatalf("claimed %+v, want the begin, then the copy of the others", items)
	}
	begin := items[0]
	b.record(all(items[1], "copied"))
	b.record(opens(begin, "u1"))
	b.recorded(0, opens(begin, "u1"), outcomes(begin, "failed denied"), faulty(begin, work.Transient))
	b.counts(id, 3, 2, 0, 0, 0)
	b.once(id, 3)
	b.uploads("u1 open 3")

	parts := b.claim(10)
	if len(parts) != 3 {
		t.Fatalf("claimed %d items, want 3 parts", len(parts))
	}
	want := begin.Objects[0]
	want.ETag = "pinned"
	for i, it := range parts {
		if it.Kind != work.Part || it.N != i+1 || it.Attempt != 1 || !reflect.DeepEqual(it.Objects, []work.Object{want}) ||
			*it.Upload != (work.Upload{ID: "u1", Part: partSize, Stood: "before"}) {
			t.Errorf("part %d is %+v", i+1, it)
		}
		encodes(t, it)
	}
	b.record(stored(parts[2]), stored(parts[0]))
	b.recorded(0, stored(parts[0]), stored(parts[2]), faulty(parts[0], work.Denied))
	b.uploads("u1 open 1")
	if items := b.claim(10); len(items) != 0 {
		t.Fatalf("claimed %+v while a part is missing", items)
	}
	b.finishNone()
	b.recorded(1, stored(parts[1]), stored(parts[1]))
	b.uploads("u1 open 0")
	b.counts(id, 3, 2, 0, 0, 0)

	finish := b.claimOne()
	if finish.Kind != work.Finish || finish.Attempt != 1 || finish.Upload.Stood != "before" || !reflect.DeepEqual(finish.Objects, []work.Object{want}) || len(finish.Parts) != 3 {
		t.Fatalf("the finish is %+v", finish)
	}
	for i, p := range finish.Parts {
		if !reflect.DeepEqual(p, *stored(parts[i]).Part) {
			t.Errorf("part %d is handed out as %+v", i+1, p)
		}
	}
	encodes(t, finish)
	b.recorded(1, all(finish, "copied"), all(finish, "copied"), all(finish, "failed denied"))
	b.uploads("u1 finished 0")
	b.counts(id, 3, 3, 0, 0, 0)
	j := b.finish(id, work.Succeeded)
	if j.DoneBytes != 350 || j.PlannedBytes != 350 || j.MovedBytes != 10+3*partSize+10 {
		t.Errorf("done %d of %d bytes, moved %d", j.DoneBytes, j.PlannedBytes, j.MovedBytes)
	}
	b.once(id, 3)
	rows := b.objects(work.ObjectQuery{Job: id, Outcome: work.Copied})
	if got := keysOf(rows); !slices.Equal(got, []string{"a", "z", "big"}) {
		t.Errorf("objects copied: %q", got)
	}
	if o := rows[2]; o.Item != finish.ID || o.Size != 250 || o.ETag != "pinned" || o.Proof != "crc32c" || o.Agent != "one" {
		t.Errorf("big is listed as %+v", o)
	}
	b.tidy(0)
}

// TestBigObjectInOneGo: a begin that needs no upload has an outcome.
func TestBigObjectInOneGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, begin := b.toBegin(3)
	b.record(all(begin, "retry transient"))
	b.counts(id, 1, 0, 0, 0, 1)
	again := b.claimOne()
	if again.Kind != work.Begin || again.Attempt != 2 || again.Objects[0].ETag == "" {
		t.Errorf("claimed %+v, want the begin again", again)
	}
	b.record(all(again, "changed"))
	afresh := b.claimOne()
	if afresh.Kind != work.Begin || afresh.Attempt != 3 || afresh.Objects[0].ETag != "" {
		t.Errorf("claimed %+v, want the begin to look afresh", afresh)
	}
	b.record(all(afresh, "copied"))
	b.counts(id, 1, 1, 0, 0, 2)
	b.once(id, 1)
	b.uploads("")
	b.finish(id, work.Succeeded)
}

// TestBeginFindsAnotherSize: the source changed before it was pinned.
func TestBeginFindsAnotherSize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, begin := b.toBegin(3)
	r := opens(begin, "u1")
	r.Object.Size = 120
	b.record(r)
	for _, it := range b.claim(10) {
		b.record(stored(it))
	}
	b.record(all(b.claimOne(), "copied"))
	if j := b.finish(id, work.Succeeded); j.PlannedBytes != 120 || j.DoneBytes != 120 {
		t.Errorf("done %d of %d bytes, want 120", j.DoneBytes, j.PlannedBytes)
	}
}

func TestPartIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(2)
	b.must(b.Release(b.ctx(), parts[1:]))
	second := b.claimOne()
	b.recorded(0, faulty(parts[1], work.Transient)) // of an epoch that is over
	b.record(faulty(second, work.Transient), stored(parts[0]))
	b.uploads("u1 open 1")
	again := b.claimOne()
	if again.Kind != work.Part || again.N != 2 || again.Attempt != 2 || again.Epoch != 1 || again.Upload.ID != "u1" {
		t.Fatalf("claimed %+v, want part 2 again", again)
	}
	b.recorded(0, stored(second)) // it is another item's by now
	b.recorded(1, stored(again), stored(second))
	finish := b.claimOne()
	b.record(all(finish, "copied"))
	b.counts(id, 1, 1, 0, 0, 0)
	b.finish(id, work.Succeeded)
}

// TestPartDies: what no attempt can heal is the end of the object.
func TestPartDies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(4)
	b.record(stored(parts[0]))
	b.must(b.Release(b.ctx(), parts[3:])) // one is ready, one is with an agent
	b.recorded(1, faulty(parts[1], work.Denied), stored(parts[2]))
	b.recorded(0, stored(parts[2]), faulty(parts[3], work.Denied), stored(parts[3]))
	b.uploads("u1 abandoned 3")
	b.counts(id, 1, 0, 0, 1, 0)
	b.once(id, 1)
	failures, _, err := b.Failures(b.ctx(), work.FailureQuery{Job: id})
	b.must(err)
	if len(failures) != 1 || failures[0].Key != "big" || failures[0].Fault != work.Denied ||
		failures[0].Message != "part 2: because of denied" || failures[0].Agent != "one" {
		t.Errorf("failures = %+v", failures)
	}
	b.finish(id, work.Incomplete)
	if states := b.text(`SELECT string_agg(state, ' ' ORDER BY n) FROM tranship.items WHERE kind = 'part'`); states != "done dead canceled canceled" {
		t.Errorf("the parts are %s", states)
	}

	b.record(result(b.tidy(1)[0], work.Result{}))
	b.uploads("u1 aborted 3")
	b.retry(1, work.RetryQuery{Job: id})
	begin := b.claimOne()
	if begin.Kind != work.Begin || begin.Attempt != 1 || begin.Objects[0].Key != "big" || !begin.Objects[0].Check {
		t.Fatalf("claimed %+v, want the begin of big", begin)
	}
	b.record(opens(begin, "u2"))
	for _, it := range b.claim(10) {
		b.record(stored(it))
	}
	b.record(all(b.claimOne(), "copied"))
	b.counts(id, 1, 1, 0, 0, 1)
	b.once(id, 1)
	b.finish(id, work.Succeeded)
	b.uploads("u1 aborted 3", "u2 finished 0")
}

// TestPartUsesUpItsAttempts, and a job of which another part died does not
// become one that could not list its source.
func TestPartUsesUpItsAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, parts := b.begun(2, func(n *work.NewJob) { n.Options.MaxAttempts = 2 })
	b.record(faulty(parts[0], work.Corrupt))
	b.record(faulty(b.claimOne(), work.Corrupt))
	b.counts(id, 1, 0, 0, 1, 0)
	rows := b.objects(work.ObjectQuery{Job: id, Outcome: work.Failed})
	if len(rows) != 1 || rows[0].Error != "part 1: after 2 attempts: because of corrupt" {
		t.Errorf("failed objects: %+v", rows)
	}
	b.finish(id, work.Incomplete)
}

// TestUploadIsBegunAnew: the object goes on in another upload.
func TestUploadIsBegunAnew(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		ending func(part, finish work.Item) work.Result // of one of the two
		finish bool
		etag   string
	}{
		{"gone under a part", func(part, _ work.Item) work.Result { return gone(part) }, false, "pinned"},
		{"changed under a part", func(part, _ work.Item) work.Result { return faulty(part, work.SrcChanged) }, false, ""},
		{"gone at the finish", func(_, finish work.Item) work.Result { return gone(finish) }, true, "pinned"},
		{"changed at the finish", func(_, finish work.Item) work.Result { return faulty(finish, work.SrcChanged) }, true, ""},
		{"changed, as an outcome", func(_, finish work.Item) work.Result { return outcomes(finish, "changed changed") }, true, ""},
		{"corrupt", func(_, finish work.Item) work.Result { return outcomes(finish, "retry corrupt") }, true, "pinned"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var id work.JobID
			left := 0
			if tt.finish {
				var finish work.Item
				id, finish = b.toFinish(2)
				b.recorded(1, tt.ending(work.Item{}, finish), tt.ending(work.Item{}, finish), all(finish, "copied"))
			} else {
				var parts []work.Item
				id, parts = b.begun(2)
				left = 2
				b.recorded(1, tt.ending(parts[1], work.Item{}), stored(parts[0]))
			}
			b.uploads(fmt.Sprintf("u1 abandoned %d", left))
			b.counts(id, 1, 0, 0, 0, 1)
			b.once(id, 1)
			begin := b.claimOne()
			if begin.Kind != work.Begin || begin.Attempt != 2 || begin.Objects[0].ETag != tt.etag {
				t.Fatalf("claimed %+v, want a begin with ETag %q", begin, tt.etag)
			}
			abort := b.tidy(1)[0] // the job runs meanwhile
			b.record(result(abort, work.Result{}))
			b.record(all(begin, "copied"))
			b.finish(id, work.Succeeded)
			b.counts(id, 1, 1, 0, 0, 1)
			b.once(id, 1)
		})
	}
}

// TestFinishIsTriedAgain on the same upload.
func TestFinishIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, finish := b.toFinish(3, func(n *work.NewJob) { n.Options.MaxAttempts = 3 })
	b.record(faulty(finish, work.Transient))
	b.uploads("u1 open 0")
	b.counts(id, 1, 0, 0, 0, 1)
	again := b.claimOne()
	if again.Kind != work.Finish || again.ID == finish.ID || again.Attempt != 2 || !reflect.DeepEqual(again.Parts, finish.Parts) ||
		!reflect.DeepEqual(again.Objects, finish.Objects) {
		t.Fatalf("claimed %+v, want the finish again", again)
	}
	if item := b.text(`SELECT item_id FROM tranship.uploads`); item != again.ID.String() {
		t.Errorf("the upload's finish is %s, want %d", item, again.ID)
	}
	b.record(outcomes(again, "retry transient"))
	b.once(id, 1)
	last := b.claimOne()
	b.record(outcomes(last, "retry transient"))
	b.uploads("u1 abandoned 0")
	b.counts(id, 1, 0, 0, 1, 2)
	b.finish(id, work.Incomplete)
	b.once(id, 1)
}

func TestFinishFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, finish := b.toFinish(1)
	b.record(faulty(finish, work.Denied))
	b.uploads("u1 abandoned 0")
	b.counts(id, 1, 0, 0, 1, 0)
	b.finish(id, work.Incomplete)
}

// What a begin had to drop is told to the finish, and an object that is skipped
// there leaves an upload to be aborted.
func TestFinishKnowsWhatWasDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, begin := b.toBegin(2)
	r := opens(begin, "u1")
	r.Upload.Dropped = "tags"
	b.record(r)
	for _, it := range b.claim(1000) {
		if it.Upload.Dropped != "tags" {
			t.Errorf("part %d belongs to an upload without %q, want tags", it.N, it.Upload.Dropped)
		}
		b.record(stored(it))
	}
	finish := b.claimOne()
	if finish.Kind != work.Finish || finish.Upload.Dropped != "tags" {
		t.Fatalf("claimed %+v, want a finish of an upload without tags", finish)
	}
	b.record(result(finish, work.Result{Outcomes: []work.ObjectOutcome{{Outcome: work.Skipped, Reason: "metadata"}}}))
	b.uploads("u1 abandoned 0")
	b.counts(id, 1, 0, 1, 0, 0)
}
