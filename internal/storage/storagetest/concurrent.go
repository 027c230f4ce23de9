package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// testConcurrent overwrites, reads, lists and deletes at once. Whoever reads
// must get one version whole.
func testConcurrent(t *testing.T, h Harness) {
	s := h.New(t)
	const size = 100_000
	versions := map[string]bool{}
	for v := range 4 {
		versions[string(Bytes(v, size))] = true
	}
	put(t, s, "hot/object", Bytes(0, size), storage.PutOptions{})
	g, ctx := errgroup.WithContext(t.Context())
	for v := range 4 {
		g.Go(func() error {
			for range 8 {
				if _, err := s.Put(ctx, "hot/object", stream{bytes.NewReader(Bytes(v, size))}, size, storage.PutOptions{}); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() error { return readWhole(ctx, s, "hot/object", versions) })
		g.Go(func() error {
			for i := range 8 {
				key := fmt.Sprintf("cold/%d/%d", v, i)
				if _, err := s.Put(ctx, key, stream{bytes.NewReader([]byte(key))}, int64(len(key)), storage.PutOptions{}); err != nil {
					return err
				}
				if err := s.Delete(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for range 8 {
			found := false
			err := s.List(ctx, work.Range{}, func(page []storage.Info) error {
				for _, in := range page {
					found = found || in.Key == "hot/object"
				}
				return nil
			})
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("a listing missed an object that was there all the time")
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func readWhole(ctx context.Context, s storage.Store, key string, versions map[string]bool) error {
	for range 16 {
		got, in, err := read(ctx, s, key, "", 0, -1)
		switch {
		case storage.Is(err, work.SrcChanged):
		case err != nil:
			return err
		case !versions[string(got)]:
			return fmt.Errorf("read %s as version %q, which nobody put", describe(got), in.ETag)
		}
	}
	return nil
}

func testCanceled(t *testing.T, h Harness) {
	s := h.New(t)
	put(t, s, "key", []byte("x"), storage.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Stat(ctx, "key")
	wantFault(t, "Stat", err, work.Transient)
	_, _, err = read(ctx, s, "key", "", 0, -1)
	wantFault(t, "Get", err, work.Transient)
	_, err = s.Put(ctx, "key", bytes.NewReader([]byte("y")), 1, storage.PutOptions{})
	wantFault(t, "Put", err, work.Transient)
	wantFault(t, "Delete", s.Delete(ctx, "key"), work.Transient)
	wantFault(t, "List", s.List(ctx, work.Range{}, func([]storage.Info) error { return nil }), work.Transient)
	wantContent(t, s, "key", []byte("x"))
}
