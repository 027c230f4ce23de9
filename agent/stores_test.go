package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

func TestApart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		source, target string
		ok             bool
	}{
		{"s3://a/", "s3://b/", true},
		{"s3://a/x", "s3://a/y", true},
		{"s3://a/x", "s3://a/xy", true},
		{"s3://a/x?endpoint=http://one", "s3://a/x?endpoint=http://two", true},
		{"file:///a", "s3://a", true},
		{"file:///data/a", "file:///data/b", true},
		{"s3://a/", "s3://a", false},
		{"s3://a/x", "s3://a/x/?region=eu-west-1", false},
		{"s3://a", "s3://a/x", false},
		{"s3://a/x/y", "s3://a/x", false},
		{"s3://a?prefix=x", "s3://a/xy", false},
		{"file:///data/../data/a", "file:///data/a/", false},
		{"file:///", "file:///data", false},
		{"mem://a/", "mem://a/", false},
		{"no url", "mem://a/", false},
	}
	for _, tt := range tests {
		if err := apart(tt.source, tt.target); (err == nil) != tt.ok {
			t.Errorf("apart(%q, %q) = %v, want an error: %v", tt.source, tt.target, err, !tt.ok)
		}
	}
}

// counted counts what is open.
type counted struct {
	storage.Store
	open *atomic.Int64
}

func (c counted) Close() error {
	c.open.Add(-1)
	return nil
}

func TestStoresAreSharedAndClosed(t *testing.T) {
	t.Parallel()
	var open, opened atomic.Int64
	var broken atomic.Bool
	s := &stores{lanes: newLanes(0, 1<<20), open: map[string]*end{}, opener: Opener{Drivers: storage.Drivers{"x": func(context.Context, *url.URL, storage.Credentials) (storage.Store, error) {
		if broken.Load() {
			return nil, errors.New("injected")
		}
		opened.Add(1)
		open.Add(1)
		return counted{memstore.New(), &open}, nil
	}}}}
	ctx := testContext(t)
	it := func(i int) work.Item { return work.Item{Source: fmt.Sprintf("x://src%d/", i), Target: "x://dst/"} }

	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			p, err := s.pair(ctx, it(0))
			if err != nil {
				t.Error(err)
				return
			}
			s.release(p.src, p.dst)
		})
	}
	all.Wait()
	if opened.Load() != 2 {
		t.Errorf("%d stores were opened, want 2", opened.Load())
	}
	inUse, err := s.pair(ctx, it(0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		p, err := s.pair(ctx, it(i+1))
		if err != nil {
			t.Fatal(err)
		}
		s.release(p.src, p.dst)
	}
	if n := open.Load(); n > idleStores+3 {
		t.Errorf("%d stores are open", n)
	}
	broken.Store(true)
	if _, err := s.pair(ctx, it(1000)); err == nil {
		t.Error("a store that cannot be opened was")
	}
	broken.Store(false)
	p, err := s.pair(ctx, it(1000))
	if err != nil {
		t.Errorf("and never again: %v", err)
	}
	if p.dst != inUse.dst {
		t.Error("a store in use was closed")
	}
	s.release(p.src, p.dst)
	s.release(inUse.src, inUse.dst)
	if err := s.close(); err != nil || open.Load() != 0 {
		t.Errorf("close = %v, and %d stores are open", err, open.Load())
	}
}
