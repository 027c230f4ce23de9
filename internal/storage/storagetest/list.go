package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// siblings are 1,503 keys whose order is not that of a walk through folders:
// "a-b" < "a.txt" < "a/x", and the folder's pages do not end where it does.
func siblings() []string {
	keys := []string{"a-b", "a.txt", "a0", "b/a-b", "b/a.txt", "b/a0", "é", "😀/x", "zz"}
	for i := range 700 {
		keys = append(keys, fmt.Sprintf("a/x%04d", i))
	}
	for i := range 500 {
		keys = append(keys, fmt.Sprintf("b/a/%04d/y", i))
	}
	for i := 0; len(keys) < 1503; i++ {
		keys = append(keys, fmt.Sprintf("n%d", i))
	}
	slices.Sort(keys)
	return keys
}

// fill stores a small object under each key, several at once.
func fill(t *testing.T, s storage.Store, keys []string) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for _, key := range keys {
		g.Go(func() error {
			_, err := s.Put(ctx, key, bytes.NewReader([]byte(key)), int64(len(key)), storage.PutOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func testList(t *testing.T, h Harness) {
	s := h.New(t)
	if got := listAll(t, s, work.Range{}); len(got) != 0 {
		t.Fatalf("List of an empty store gave %q", keysOf(got))
	}
	keys := siblings()
	fill(t, s, keys)
	got := listAll(t, s, work.Range{})
	wantKeys(t, work.Range{}, keysOf(got), keys)
	for i, in := range got {
		if in.Size != int64(len(in.Key)) || in.ETag == "" {
			t.Fatalf("List gave %+v in place %d, want size %d and an ETag", in, i, len(in.Key))
		}
	}

	bounds := []string{"", "a", "a-", "a-b", "a.", "a/", "a/x", "a/x0350", "a/\xff", "a0", "b/a/0250", "b/a/0250/", "b/a/0250/y", "b/a/0250/y\x00", "n", "zz", "zzz", "\xff"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 6 {
		bounds = append(bounds, keys[rng.IntN(len(keys))])
	}
	for i, after := range bounds {
		wantRange(t, s, keys, work.Range{After: after})
		wantRange(t, s, keys, work.Range{After: after, Upto: bounds[(i*7+5)%len(bounds)]})
		wantRange(t, s, keys, work.Range{Upto: after})
	}
}

func wantRange(t *testing.T, s storage.Store, keys []string, r work.Range) {
	t.Helper()
	var want []string
	for _, key := range keys {
		if r.Contains(key) {
			want = append(want, key)
		}
	}
	wantKeys(t, r, keysOf(listAll(t, s, r)), want)
}

func keysOf(page []storage.Info) []string {
	var keys []string
	for _, in := range page {
		keys = append(keys, in.Key)
	}
	return keys
}

func wantKeys(t *testing.T, r work.Range, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("List(%q) gave %d objects, want %d; they differ from place %d: %.3q, want %.3q",
				r, len(got), len(want), i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}

func testListErrors(t *testing.T, h Harness) {
	s := h.New(t)
	var keys []string
	for i := range 1100 {
		keys = append(keys, "k"+strconv.Itoa(10_000+i))
	}
	fill(t, s, keys)
	enough := errors.New("enough")
	pages := 0
	err := s.List(t.Context(), work.Range{}, func([]storage.Info) error { pages++; return enough })
	if err != enough || pages != 1 {
		t.Errorf("List = %v after %d pages, want fn's own error after 1", err, pages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.List(ctx, work.Range{}, func([]storage.Info) error { cancel(); return nil })
	wantFault(t, "List after its context ended", err, work.Transient)
}
