package ledger_test

import (
	"reflect"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func (b *bench) remarks(id work.JobID, about work.About, want ...work.Tally) {
	b.t.Helper()
	got, err := b.Remarks(b.ctx(), id, about)
	b.must(err)
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		b.t.Errorf("remarks about %s: %+v, want %+v", about, got, want)
	}
}

// TestRemarks: what is counted beside outcomes, once for each object.
func TestRemarks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b", "c", "d", "e")
	r := outcomes(it, "copied", "copied", "retry transient", "copied", "skipped")
	r.Outcomes[0].Proof, r.Outcomes[0].Dropped = "", "tags,metadata:a\x00"
	r.Outcomes[3].Proof, r.Outcomes[3].Dropped = "crc32c/target", "tags"
	r.Outcomes[2].Proof, r.Outcomes[2].Dropped = "crc32c", "tags" // not copied: not counted
	b.recorded(1, r, r)
	b.remarks(id, work.AboutProof,
		work.Tally{Name: "crc32c", Count: 1, Key: "b"},
		work.Tally{Name: "crc32c/target", Count: 1, Key: "d"},
		work.Tally{Name: "size", Count: 1, Key: "a"})
	b.remarks(id, work.AboutDropped,
		work.Tally{Name: "tags", Count: 2, Key: "a"},
		work.Tally{Name: "metadata:a\ufffd", Count: 1, Key: "a"})
	b.remarks(id, work.AboutSkipped, work.Tally{Name: "etag", Count: 1, Key: "e"})
	b.record(all(b.claimOne(), "copied"))
	b.remarks(id, work.AboutProof,
		work.Tally{Name: "crc32c", Count: 2, Key: "b"},
		work.Tally{Name: "crc32c/target", Count: 1, Key: "d"},
		work.Tally{Name: "size", Count: 1, Key: "a"})
	for _, o := range b.objects(work.ObjectQuery{Job: id, Prefix: "d"}) {
		if o.Dropped != "tags" || o.Proof != "crc32c/target" {
			t.Errorf("d is listed as %+v", o)
		}
	}
	b.remarks(b.create(), work.AboutProof)
}

// TestObjectsThatCannotBeCopied are found out by the scan, counted as failed,
// and may be tried again.
func TestObjectsThatCannotBeCopied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create(split)
	p := sized(b.claimOne(), map[string]int64{"a": 1, "b": 1, "big": 500})
	p.Page.Found[1].Fail, p.Page.Found[2].Fail = "the target cannot hold the key", "archived"
	b.record(p)
	b.counts(id, 3, 0, 0, 2, 0)
	tally, err := b.FailureTally(b.ctx(), id)
	b.must(err)
	if want := []work.Tally{{Name: "unsupported", Count: 2, Key: "b", Text: "the target cannot hold the key"}}; !reflect.DeepEqual(tally, want) {
		t.Errorf("FailureTally = %+v, want %+v", tally, want)
	}
	b.record(all(b.claimOne(), "copied"))
	b.finish(id, work.Incomplete)
	b.retry(2, work.RetryQuery{Job: id})
	items := b.claim(10)
	if len(items) != 2 || items[0].Kind != work.Begin || items[0].Objects[0].Key != "big" || items[1].Kind != work.Copy || items[1].Objects[0].Key != "b" {
		t.Fatalf("claimed %+v, want a begin of big and a copy of b", items)
	}
	b.record(all(items[0], "copied"), all(items[1], "copied"))
	b.counts(id, 3, 3, 0, 0, 2)
	b.once(id, 3)
	b.finish(id, work.Succeeded)
}

func TestReport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	if j := b.job(id); j.Report != nil {
		t.Errorf("a new job has the report %+v", j.Report)
	}
	first := page(scan, false, "a")
	first.Report = &work.Report{
		Source: work.StoreReport{Driver: "s3", Facts: []work.Fact{{Name: "checksums", Text: "none\x00, \\u0000"}}},
		Target: work.StoreReport{Driver: "gs"},
		Losses: []work.Loss{{Field: work.FieldTags, Policy: work.PolicyDrop, Why: "it has none"}},
		Agent:  "somebody else",
	}
	b.recorded(1, first, first)
	want := *first.Report
	want.Agent = "one"
	got := b.job(id).Report
	if got == nil || got.Source.Driver != "s3" || got.Agent != "one" || !reflect.DeepEqual(got.Losses, want.Losses) || len(got.Source.Facts) != 1 {
		t.Errorf("report = %+v, want %+v", got, want)
	}
	scan.Range = &work.Range{After: "a"}
	b.record(page(scan, true))
	jobs, _, err := b.Jobs(b.ctx(), work.JobQuery{})
	b.must(err)
	if len(jobs) != 1 || jobs[0].Report == nil {
		t.Error("the report is gone after the next page")
	}

	// A scan that fails over what the stores cannot do says so, too.
	other := b.create()
	for _, it := range b.claim(10) {
		if it.Kind != work.Scan {
			continue
		}
		r := faulty(it, work.Unsupported)
		r.Report = first.Report
		b.record(r)
	}
	if b.job(other).Report == nil {
		t.Error("a scan that failed left no report")
	}
}
