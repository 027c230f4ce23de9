package ledger_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// The benchmarks count objects. The test server does not wait for the disk; a
// batch waits for it once.
//
//	go test -run '^$' -bench . ./coordinator/ledger

const benchBatch = 64 // results a transaction

// foundPage is the n-th page of a scan: a thousand objects as S3 lists them.
func foundPage(scan work.Item, n int) work.Result {
	key := func(i int) string { return fmt.Sprintf("photos/2026/%09d/original.jpg", i) }
	p := &work.Page{Range: work.Range{After: key(n*1000 - 1), Upto: key(n*1000 + 999)}}
	if n == 0 {
		p.After = ""
	}
	for i := n * 1000; i < (n+1)*1000; i++ {
		p.Found = append(p.Found, work.Found{Object: work.Object{
			Key: key(i), Size: 16384, ETag: `"` + fmt.Sprintf("%032x", i*2654435761) + `"`, ModTime: time.Unix(1700000000+int64(i), 0),
		}})
	}
	return result(scan, work.Result{Page: p})
}

func copiedResult(it work.Item, n int) work.Result {
	r := work.Result{Moved: 4 << 20, Outcomes: make([]work.ObjectOutcome, len(it.Objects))}
	for i := range r.Outcomes {
		r.Outcomes[i] = work.ObjectOutcome{Outcome: work.Copied, Proof: "crc32c", Checksum: fmt.Sprintf("crc32c:%08x", (n*256+i)*2654435761&0xffffffff)}
	}
	return result(it, r)
}

func perSecond(b *testing.B, objects int) {
	b.ReportMetric(float64(objects)/b.Elapsed().Seconds(), "objects/s")
	b.ReportMetric(0, "ns/op")
}

// fill plans pages of a thousand objects each.
func (b *bench) fill(pages int) (scan work.Item) {
	b.t.Helper()
	b.create()
	scan = b.claimOne()
	for n := range pages {
		b.record(foundPage(scan, n))
	}
	return scan
}

// BenchmarkPages measures pages of a listing becoming items.
func BenchmarkPages(b *testing.B) {
	w := setup(b)
	w.create()
	scan := w.claimOne()
	var pages []work.Result
	for n := range b.N {
		pages = append(pages, foundPage(scan, n))
	}
	b.ResetTimer()
	for len(pages) > 0 {
		n := min(16, len(pages))
		w.record(pages[:n]...)
		pages = pages[n:]
	}
	b.StopTimer()
	perSecond(b, b.N*1000)
}

// BenchmarkClaim measures items being read to be published, 64 at a time.
func BenchmarkClaim(b *testing.B) {
	w := setup(b)
	w.fill(b.N*benchBatch*256/1000 + 1)
	b.ResetTimer()
	objects := 0
	for n := range b.N {
		for _, it := range w.claim((n+1)*benchBatch + 1) {
			objects += len(it.Objects)
		}
	}
	b.StopTimer()
	perSecond(b, objects)
}

// BenchmarkRecord measures copied objects being recorded, 64 items at a time.
func BenchmarkRecord(b *testing.B) {
	w := setup(b)
	w.fill(b.N*benchBatch*256/1000 + 1)
	items := w.claim(1 << 20)
	var results []work.Result
	objects := 0
	for n, it := range items {
		results = append(results, copiedResult(it, n))
	}
	b.ResetTimer()
	for len(results) > 0 {
		n := min(benchBatch, len(results))
		w.record(results[:n]...)
		for _, r := range results[:n] {
			objects += len(r.Outcomes)
		}
		results = results[n:]
	}
	b.StopTimer()
	perSecond(b, objects)
	w.exec(`VACUUM FULL tranship.items`)
	size, err := strconv.ParseInt(w.text(`SELECT pg_total_relation_size('tranship.items')`), 10, 64)
	w.must(err)
	b.ReportMetric(float64(size)/float64(objects), "bytes/object")
}
