package agent

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// sink takes bodies and keeps nothing, so that a benchmark sees the agent's
// work and not the store's.
type sink struct{ storage.Store }

func (s *sink) Put(_ context.Context, _ string, _ io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	return storage.Info{Size: size, Sums: opts.Sums}, nil
}

// BenchmarkObject is what one object of 16 KiB costs the agent, besides the
// stores.
func BenchmarkObject(b *testing.B) {
	src := tagged(memstore.New())
	obj := object(b, src, "k", storagetest.Bytes(1, 16<<10))
	tr := newTransfer(src, &sink{src}, obj)
	tr.sizes = usualSizes
	b.SetBytes(obj.Size)
	b.ReportAllocs()
	for b.Loop() {
		if out, err := tr.run(b.Context()); err != nil || out.Outcome != work.Copied {
			b.Fatal(out, err)
		}
	}
}

// BenchmarkStreamed is what a big object costs the agent, besides the stores.
func BenchmarkStreamed(b *testing.B) {
	src := tagged(memstore.New())
	obj := object(b, src, "k", storagetest.Bytes(1, 8<<20))
	tr := newTransfer(src, streamOnly{memstore.New()}, obj)
	tr.sizes = usualSizes
	b.SetBytes(obj.Size)
	b.ReportAllocs()
	for b.Loop() {
		if out, err := tr.run(b.Context()); err != nil || out.Outcome != work.Copied {
			b.Fatal(out, err)
		}
	}
}

// BenchmarkItem is a batch of 256 objects of 16 KiB from the queue to the
// result, memory to memory.
func BenchmarkItem(b *testing.B) {
	r := newRig(b)
	r.dst = streamOnly{r.dst}
	list := objects(b, r.src, 256, 16<<10)
	r.prepare = func(a *Agent) { a.carrier.sizes = usualSizes }
	r.start(func(c *config.Agent) { c.Streams, c.Memory = 64, 64<<20 })
	b.SetBytes(256 * 16 << 10)
	b.ReportAllocs()
	n := work.ItemID(0)
	for b.Loop() {
		n++
		r.publish(item(n, list...))
		r.results(func(rs []work.Result) bool { return len(rs) > 0 })
	}
	b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkScan is a page of 1,000 objects, joined with the target's listing.
func BenchmarkScan(b *testing.B) {
	r := newRig(b)
	for i := range 10_000 {
		key := fmt.Sprintf("images/%06d.jpg", i)
		put(b, r.src, key, nil)
		put(b, r.dst, key, nil)
	}
	r.start()
	b.ReportAllocs()
	n := work.ItemID(0)
	for b.Loop() {
		n++
		r.publish(item(n))
		r.results(func(rs []work.Result) bool { return len(rs) > 0 && rs[len(rs)-1].Page.Last })
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}
