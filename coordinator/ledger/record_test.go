package ledger_test

import (
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	at := func(after string, last bool, keys ...string) work.Result {
		it := scan
		it.Range = &work.Range{After: after}
		return page(it, last, keys...)
	}
	b.recorded(0, at("b", false, "c", "d")) // before its predecessor
	b.record(at("", false, "a", "b"))
	b.counts(id, 2, 0, 0, 0, 0)
	b.recorded(0, at("", false, "a", "b")) // again
	if j := b.job(id); !j.Scanning || j.StartedAt.IsZero() || j.PlannedBytes != 3 {
		t.Errorf("job = %+v, want it scanning 3 bytes", j)
	}
	b.record(at("b", false, "c", "d"), at("d", false, "e"), at("e", true, "f")) // in one batch, in order
	b.recorded(0, at("e", true, "f"), at("d", false, "e"))
	b.counts(id, 6, 0, 0, 0, 0)
	if b.job(id).Scanning {
		t.Error("the job is still scanning")
	}
	var keys []string
	for _, it := range b.claim(100) {
		if it.Kind != work.Copy || it.Epoch != 1 || it.Attempt != 1 {
			t.Errorf("item = %+v", it)
		}
		for _, o := range it.Objects {
			keys = append(keys, o.Key)
		}
	}
	if got := strings.Join(keys, ""); got != "abcdef" {
		t.Errorf("keys to copy = %s, want abcdef", got)
	}
}

// TestPageOfReleasedScan: a page counts, but the scan is still to be handed
// out, for nobody knows whether it is on the queue.
func TestPageOfReleasedScan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.must(b.Release(b.ctx(), []work.Item{scan}))
	b.record(page(scan, false, "a"))
	items := b.claim(10)
	if len(items) != 2 || items[0].ID != scan.ID || items[0].Epoch != 2 || items[0].Range.After != "a" {
		t.Errorf("claimed %+v, want the scan behind a under epoch 2, and a copy", items)
	}
	b.counts(id, 1, 0, 0, 0, 0)
}

func TestPageOfSkippedObjects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	p := page(b.claimOne(), true, "a", "b", "c")
	p.Page.Found[0].Skip, p.Page.Found[2].Skip = "etag", "size"
	b.record(p)
	b.counts(id, 3, 0, 2, 0, 0)
	if j := b.job(id); j.DoneBytes != 1+3 || j.PlannedBytes != 6 {
		t.Errorf("done %d of %d bytes, want 4 of 6", j.DoneBytes, j.PlannedBytes)
	}
	tally, err := b.Remarks(b.ctx(), id, work.AboutSkipped)
	b.must(err)
	want := []work.Tally{{Name: "etag", Count: 1, Key: "a"}, {Name: "size", Count: 1, Key: "c"}}
	if !reflect.DeepEqual(tally, want) {
		t.Errorf("Remarks = %+v, want %+v", tally, want)
	}
	it := b.claimOne()
	if len(it.Objects) != 1 || it.Objects[0].Key != "b" {
		t.Errorf("to copy: %+v, want b", it.Objects)
	}
	b.record(all(it, "skipped"))
	b.counts(id, 3, 0, 3, 0, 0)
	b.finish(id, work.Succeeded)
	tally, err = b.Remarks(b.ctx(), id, work.AboutSkipped)
	b.must(err)
	want[0].Count = 2
	if !reflect.DeepEqual(tally, want) {
		t.Errorf("Remarks = %+v, want %+v", tally, want)
	}
}

func TestCopied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b", "c")
	b.record(all(it, "copied"))
	b.counts(id, 3, 3, 0, 0, 0)
	if j := b.job(id); j.DoneBytes != 6 || j.MovedBytes != 10 {
		t.Errorf("done %d, moved %d bytes, want 6, 10", j.DoneBytes, j.MovedBytes)
	}
	b.recorded(0, all(it, "copied"), all(it, "failed denied"))
	if j := b.job(id); j.MovedBytes != 10 {
		t.Errorf("a repeat moved %d bytes", j.MovedBytes-10)
	}
	j := b.finish(id, work.Succeeded)
	if j.Error != "" || j.Copied != 3 {
		t.Errorf("the job ended as %+v", j)
	}
	b.finishNone()
	events, err := b.Events(b.ctx(), 0, 1, 10)
	b.must(err)
	if len(events) != 1 || events[0].What != "succeeded" || events[0].Job != id || !strings.Contains(events[0].Note, "3 copied") {
		t.Errorf("events = %+v, want that it succeeded with 3 copied", events)
	}
}

// TestEpochs: a success counts from any epoch, a failure from the current one.
func TestEpochs(t *testing.T) {
	t.Parallel()
	under := func(it work.Item, epoch int, word string) work.Result {
		r := all(it, word)
		r.Epoch = epoch
		return r
	}
	whole := func(it work.Item, epoch int) work.Result {
		return work.Result{Job: it.Job, Item: it.ID, Kind: it.Kind, Epoch: epoch, Agent: "one", Fault: work.Transient, Error: "no"}
	}
	tests := []struct {
		name   string
		ready  bool // the item was released again
		result func(work.Item) work.Result
		want   int
	}{
		{"success of an old epoch", false, func(it work.Item) work.Result { return under(it, 1, "copied") }, 1},
		{"success of the current epoch", false, func(it work.Item) work.Result { return under(it, 2, "copied") }, 1},
		{"success of an item that is ready again", true, func(it work.Item) work.Result { return under(it, 1, "skipped") }, 1},
		{"failure of an old epoch", false, func(it work.Item) work.Result { return under(it, 1, "failed denied") }, 0},
		{"retry of an old epoch", false, func(it work.Item) work.Result { return under(it, 1, "retry transient") }, 0},
		{"fault of an old epoch", false, func(it work.Item) work.Result { return whole(it, 1) }, 0},
		{"failure of the current epoch", false, func(it work.Item) work.Result { return under(it, 2, "failed denied") }, 1},
		{"fault of the current epoch", false, func(it work.Item) work.Result { return whole(it, 2) }, 1},
		{"failure of an epoch yet unknown here", false, func(it work.Item) work.Result { return under(it, 3, "failed denied") }, 1},
		{"failure of an item that is ready again", true, func(it work.Item) work.Result { return under(it, 2, "failed denied") }, 1},
		{"result of another job", false, func(it work.Item) work.Result {
			r := under(it, 2, "copied")
			r.Job = 1
			return r
		}, 0},
		{"result of an unknown item", false, func(it work.Item) work.Result {
			r := under(it, 2, "copied")
			r.Item += 1000
			return r
		}, 0},
	}
	b := setup(t)
	_, err := b.Cancel(b.ctx(), b.create(), "me") // job 1
	b.must(err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, it := b.scanned("a", "b")
			b.must(b.Release(b.ctx(), []work.Item{it}))
			if it = b.claimOne(); it.Epoch != 2 {
				t.Fatalf("the item has epoch %d, want 2", it.Epoch)
			}
			if tt.ready {
				b.must(b.Release(b.ctx(), []work.Item{it}))
			}
			b.recorded(tt.want, tt.result(it))
			b.balanced(id)
			_, err := b.Cancel(b.ctx(), id, "me") // out of the way of the next
			b.must(err)
		})
	}
}

func TestMixedOutcomes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b", "c", "d", "e")
	b.record(outcomes(it, "copied", "retry transient", "failed denied", "skipped", "changed changed"))
	b.counts(id, 5, 1, 1, 1, 2)
	if j := b.job(id); j.DoneBytes != 1+4 {
		t.Errorf("done %d bytes, want 5", j.DoneBytes)
	}
	failures, next, err := b.Failures(b.ctx(), work.FailureQuery{Job: id})
	b.must(err)
	if len(failures) != 1 || next != "" {
		t.Fatalf("failures = %+v, next %q", failures, next)
	}
	failures[0].At = failures[0].At.Truncate(0)
	want := work.Failure{Job: id, Item: it.ID, Key: "c", Fault: work.Denied, Message: "because of denied", Attempts: 1, Agent: "one", At: failures[0].At}
	if failures[0] != want || want.At.IsZero() {
		t.Errorf("failure = %+v, want %+v", failures[0], want)
	}
	var handed []string
	for _, child := range b.claim(10) {
		if child.Attempt != 2 {
			t.Errorf("a child has attempt %d, want 2", child.Attempt)
		}
		for _, o := range child.Objects {
			handed = append(handed, o.Key)
		}
		b.record(all(child, "copied"))
	}
	if len(handed) != 2 {
		t.Errorf("handed on: %v, want b and e", handed)
	}
	b.counts(id, 5, 3, 1, 1, 2)
	b.finish(id, work.Incomplete)
}

// TestFaultOfAnItem: an item that an agent could not work on at all.
func TestFaultOfAnItem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b")
	b.record(result(it, work.Result{Fault: work.Throttled, Error: "slow down"}))
	b.counts(id, 2, 0, 0, 0, 2)
	child := b.claimOne()
	b.record(result(child, work.Result{Fault: work.Denied, Error: "no"}))
	b.counts(id, 2, 0, 0, 2, 2)
	b.finish(id, work.Incomplete)
}

func TestDeadScan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(page(scan, false, "a"))
	b.record(result(scan, work.Result{Fault: work.Denied, Error: "no\x00way"}))
	b.finishNone() // a is open
	b.record(all(b.claimOne(), "copied"))
	j := b.finish(id, work.JobFailed)
	if !strings.Contains(j.Error, "no\ufffdway") || !strings.Contains(j.Error, "denied") {
		t.Errorf("the job failed with %q, want the scan's error", j.Error)
	}
	b.counts(id, 1, 1, 0, 0, 0)
}

// TestScanFault: the range that is left goes to a new scan.
func TestScanFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(page(scan, false, "a", "b"), result(scan, work.Result{Fault: work.Transient, Error: "reset"}))
	var found bool
	for _, it := range b.claim(10) {
		if it.Kind == work.Scan {
			found = true
			if it.Range.After != "b" || it.Attempt != 2 {
				t.Errorf("the new scan = %+v from %q, want attempt 2 from b", it, it.Range.After)
			}
		}
	}
	if !found {
		t.Error("nothing lists the rest")
	}
	b.counts(id, 2, 0, 0, 0, 0)
}

func TestOddKeysAndTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned(odd...)
	var keys []string
	for _, o := range it.Objects {
		keys = append(keys, o.Key)
	}
	if !reflect.DeepEqual(keys, odd) {
		t.Fatalf("claimed keys %q, want %q", keys, odd)
	}
	r := all(it, "failed denied")
	for i := range r.Outcomes {
		r.Outcomes[i].Error = "nul \x00, bad \xff, " + odd[i]
	}
	r.Outcomes[0] = work.ObjectOutcome{Outcome: work.Copied, Checksum: "x\x00", Proof: "\xff"}
	r.Agent = "agent\x00"
	b.record(r)
	b.counts(id, int64(len(odd)), 1, 0, int64(len(odd)-1), 0)

	failures, _, err := b.Failures(b.ctx(), work.FailureQuery{Job: id})
	b.must(err)
	for i, f := range failures {
		if f.Key != odd[i+1] || !strings.HasPrefix(f.Message, "nul \ufffd, bad \ufffd, ") {
			t.Errorf("failure %d has key %q and message %q, want key %q", i, f.Key, f.Message, odd[i+1])
		}
	}
	for i, o := range b.objects(work.ObjectQuery{Job: id, Limit: 2}) {
		if o.Key != odd[i] || o.Size != int64(i+1) {
			t.Errorf("object %d = %+v, want key %q", i, o, odd[i])
		}
	}
}

// TestTwoLedgersRecord: the same results at once, in different order.
func TestTwoLedgersRecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, err := ledger.Open(b.ctx(), b.url, ledger.Options{})
	b.must(err)
	t.Cleanup(func() { other.Close() })
	first, second := b.ready(50), b.ready(50)
	var forth, back []work.Result
	for _, it := range b.claim(100) {
		forth = append(forth, all(it, "copied"))
		back = append([]work.Result{all(it, "copied")}, back...)
	}
	var total sync.Map
	var wg sync.WaitGroup
	for i := range 6 {
		l, results := b.Ledger, forth
		if i%2 == 1 {
			l, results = other, back
		}
		wg.Go(func() {
			n := 0
			for len(results) > 0 {
				changed, err := l.Record(t.Context(), results[:10], decide)
				if err != nil {
					t.Error(err)
					return
				}
				n += changed
				results = results[10:]
			}
			total.Store(i, n)
		})
	}
	wg.Wait()
	sum := 0
	total.Range(func(_, n any) bool { sum += n.(int); return true })
	if sum != 100 {
		t.Errorf("%d results changed something, want 100", sum)
	}
	b.counts(first, 50, 50, 0, 0, 0)
	b.counts(second, 50, 50, 0, 0, 0)
}

func TestRecordNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.recorded(0)
}
