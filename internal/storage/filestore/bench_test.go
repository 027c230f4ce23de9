package filestore

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// BenchmarkPut stores 16 KiB objects durably, 64 at once, 1,000 to a folder.
func BenchmarkPut(b *testing.B) {
	s := open(b, b.TempDir(), "")
	content := storagetest.Bytes(1, 16<<10)
	var n atomic.Int64
	b.SetBytes(int64(len(content)))
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			_, err := s.Put(b.Context(), fmt.Sprintf("d%d/o%d.jpg", i/1000, i), bytes.NewReader(content), int64(len(content)), storage.PutOptions{})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkList lists a folder of 20,000 objects.
func BenchmarkList(b *testing.B) {
	const objects = 20_000
	s := open(b, b.TempDir(), "")
	fillFolder(b, s, objects)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := s.List(b.Context(), work.Range{}, func(page []storage.Info) error { n += len(page); return nil })
		if err != nil || n != objects {
			b.Fatalf("List gave %d objects, %v", n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*objects), "ns/object")
}

// fillFolder makes n empty files, 100 to a folder, without syncing any.
func fillFolder(b *testing.B, s *Store, n int) {
	b.Helper()
	for i := range n {
		dir, err := s.openDir([]string{fmt.Sprintf("d%d", i/100)}, true)
		if err != nil {
			b.Fatal(err)
		}
		f, err := openat(dir, fmt.Sprintf("o%d.jpg", i), unix.O_CREAT|unix.O_WRONLY, 0o644)
		dir.Close()
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
