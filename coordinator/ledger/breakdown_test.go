package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// sumOf adds up all that a breakdown counts.
func sumOf(b work.Breakdown) work.Counted {
	sum := b.More.Plus(b.Mixed)
	for _, r := range b.Rows {
		sum = sum.Plus(r.Counted)
	}
	return sum
}

// TestBreakdown compares every level of a job's keys with what the objects view
// says, one by one.
func TestBreakdown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	id := b.create()
	scan := b.claimOne()
	var keys []string
	for i := range 900 {
		keys = append(keys, fmt.Sprintf("eu/%02d/%04d.jpg", i/300, i))
	}
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("nul\x00/%d/\xff", i))
	}
	keys = append(keys, "root", "us/", "us/1", "\xff\xff/x")
	slices.Sort(keys)
	b.record(page(scan, true, keys...))
	for n, it := range b.claim(1000) {
		words := make([]string, len(it.Objects))
		for i := range words {
			words[i] = [][]string{{"copied", "skipped", "failed denied"}, {"copied", "failed transient", "copied"}}[n%2][i%3]
		}
		if n < 3 {
			b.record(outcomes(it, words...))
		}
	}
	if n := b.text(`SELECT count(*) FROM tranship.items WHERE handed > 0`); n == "0" {
		t.Fatal("no item handed objects on")
	}
	counts := b.job(id).Counts
	for _, prefix := range []string{"", "eu/", "eu/01/", "us/", "nul\x00/", "nul\x00/3/", "e", "none/", "\xff\xff"} {
		got, err := b.Breakdown(b.ctx(), work.BreakdownQuery{Job: id, Prefix: prefix})
		b.must(err)
		if !got.Exact() || got.MoreParts != 0 {
			t.Errorf("below %q not all was told apart: %+v", prefix, got)
		}
		want := map[string]work.Counted{}
		for _, o := range b.objects(work.ObjectQuery{Job: id, Prefix: prefix}) {
			rest := strings.TrimPrefix(o.Key, prefix)
			part := prefix + rest[:strings.Index(rest, "/")+1]
			c := work.Counted{Objects: 1}
			switch o.Outcome {
			case work.Copied:
				c.Copied = 1
			case work.Skipped:
				c.Skipped = 1
			case work.Failed:
				c.Failed = 1
			}
			want[part] = want[part].Plus(c)
		}
		if len(got.Rows) != len(want) {
			t.Errorf("below %q are %d parts, want %d: %+v", prefix, len(got.Rows), len(want), got.Rows)
		}
		for i, r := range got.Rows {
			if i > 0 && r.Objects > got.Rows[i-1].Objects {
				t.Errorf("row %d of %q is larger than the one before", i, prefix)
			}
			r.Bytes = 0
			if r.Counted != want[r.Prefix] || r.Leaf != (r.Prefix == prefix) {
				t.Errorf("below %q: %q has %+v, want %+v", prefix, r.Prefix, r.Counted, want[r.Prefix])
			}
		}
		if all := sumOf(got); prefix == "" && (all.Objects != counts.Planned || all.Copied != counts.Copied ||
			all.Skipped != counts.Skipped || all.Failed != counts.Failed || all.Open() != counts.Open) {
			t.Errorf("together %+v, the job says %+v", all, counts)
		}
	}
}

// TestBreakdownBesideThePrefix has a batch that begins before a prefix and ends
// after it, with keys that go on alike.
func TestBreakdownBesideThePrefix(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	id, _ := b.scanned("xa/q/1", "xb/q/1", "xc/q/1")
	got, err := b.Breakdown(b.ctx(), work.BreakdownQuery{Job: id, Prefix: "xb/"})
	b.must(err)
	if len(got.Rows) != 1 || got.Rows[0].Prefix != "xb/q/" || got.Rows[0].Objects != 1 {
		t.Errorf("below xb/ are %+v, want one object", got.Rows)
	}
}

// manyItems gives a job items behind the ledger's back: of 256 objects each,
// all below one of 200 prefixes.
func (b *bench) manyItems(job work.JobID, n int) {
	b.t.Helper()
	b.exec(`
		INSERT INTO tranship.items (job_id, kind, site, state, objects_count, copied, bytes, first_key, last_key)
		SELECT $1, 'copy', 'default', 'done', 256, 256, 4096,
			convert_to('p' || lpad((n * 200 / $2)::text, 3, '0') || '/' || lpad(n::text, 9, '0') || '/a', 'UTF8'),
			convert_to('p' || lpad((n * 200 / $2)::text, 3, '0') || '/' || lpad(n::text, 9, '0') || '/z', 'UTF8')
		FROM generate_series(0, $2 - 1) AS n`, job, n)
	b.exec(`ANALYZE tranship.items`)
}

// TestBreakdownOfThousands looks at a job of 100,000 items among others: the
// others must not be read, and no item that lies below one part is unfolded.
func TestBreakdownOfThousands(t *testing.T) {
	t.Parallel()
	const n = 100_000
	b := setup(t)
	b.alone()
	other, id := b.create(), b.create()
	b.manyItems(other, 1000)
	b.manyItems(id, n)
	began := time.Now()
	got, err := b.Breakdown(b.ctx(), work.BreakdownQuery{Job: id})
	b.must(err)
	t.Logf("%d items broken down in %s", n, time.Since(began))
	if len(got.Rows) != 100 || got.MoreParts != 100 || sumOf(got).Objects != n*256 || !got.Exact() {
		t.Errorf("%d rows, %d more, %d objects", len(got.Rows), got.MoreParts, sumOf(got).Objects)
	}
	began = time.Now()
	got, err = b.Breakdown(b.ctx(), work.BreakdownQuery{Job: id, Prefix: "p100/"})
	b.must(err)
	t.Logf("one part of them in %s", time.Since(began))
	if got.MoreParts != n/200-100 || sumOf(got).Objects != n/200*256 {
		t.Errorf("below p100/ are %d objects in %d more parts", sumOf(got).Objects, got.MoreParts)
	}
}

// TestBreakdownBounds has keys that share no part: past a bound batches are not
// looked into, which is said.
func TestBreakdownBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	id := b.create()
	b.exec(`
		INSERT INTO tranship.items (job_id, kind, site, state, objects_count, bytes, first_key, last_key, objects)
		SELECT $1, 'copy', 'default', 'ready', 2, 3, convert_to(n || 'a/x', 'UTF8'), convert_to(n || 'b/x', 'UTF8'),
			jsonb_build_array(jsonb_build_object('key', n || 'a/x', 'size', 1), jsonb_build_object('key', n || 'b/x', 'size', 2))
		FROM generate_series(1000, 1299) AS n`, id)
	got, err := b.Breakdown(b.ctx(), work.BreakdownQuery{Job: id})
	b.must(err)
	if got.Exact() || got.Mixed.Objects != 2*(300-256) || len(got.Rows) != 100 || got.MoreParts != 2*256-100 || sumOf(got).Objects != 600 || sumOf(got).Bytes != 900 {
		t.Errorf("got %d rows, %d more, mixed %+v, in all %+v", len(got.Rows), got.MoreParts, got.Mixed, sumOf(got))
	}
}
