package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// scanAll runs a scan and all that it leaves over, one after the other, as a
// coordinator would. It checks that the pages fit each other, and returns what
// was found and how many items that took.
func (r *rig) scanAll(it work.Item) (found []work.Found, items int) {
	r.t.Helper()
	todo := []work.Item{it}
	for next := it.ID; len(todo) > 0; todo = todo[1:] {
		it := todo[0]
		items++
		r.publish(it)
		cursor := it.Range.After
		pages := r.results(func(rs []work.Result) bool {
			return len(rs) > 0 && (rs[len(rs)-1].Page == nil || rs[len(rs)-1].Page.Last)
		})
		for i, res := range pages {
			p := res.Page
			if p == nil {
				r.t.Fatalf("scan of %+v failed: %s %s", *it.Range, res.Fault, res.Error)
			}
			if p.After != cursor || len(p.Found) > 1000 || p.Last != (i == len(pages)-1) {
				r.t.Errorf("page %d of %d of %+v: after %q with %d objects, last %v; want it after %q", i, len(pages), *it.Range, p.After, len(p.Found), p.Last, cursor)
			}
			if b, err := res.Encode(); err != nil || len(b) > 600<<10 {
				r.t.Errorf("page of %d bytes, %v", len(b), err)
			}
			cursor = p.Upto
			found = append(found, p.Found...)
			for _, rest := range p.Rest {
				next++
				more := it
				more.ID, more.Range = next, &rest
				todo = append(todo, more)
			}
		}
		if len(pages) > scanPages {
			r.t.Errorf("a scan of %d pages, want at most %d", len(pages), scanPages)
		}
	}
	slices.SortFunc(found, func(a, b work.Found) int { return strings.Compare(a.Key, b.Key) })
	return found, items
}

func TestScanListsEveryObjectOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []string
	for i := range 45_000 { // more than two items' worth
		want = append(want, fmt.Sprintf("dir-%02d/%05d", i/5000, i))
	}
	want = append(want, storagetest.OddKeys()...)
	slices.Sort(want)
	for _, k := range want {
		put(t, r.src, k, nil)
	}
	r.start()
	found, items := r.scanAll(item(1))
	var got []string
	for _, f := range found {
		got = append(got, f.Key)
		if f.Skip != "" || f.Check || f.ETag == "" {
			t.Fatalf("found %+v, want it plain: the target is empty", f)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d objects found, want %d", len(got), len(want))
	}
	if items < 3 {
		t.Errorf("one agent listed it all in %d items", items)
	}
}

// A page of keys that take much room in JSON still fits a message.
func TestScanPagesFitMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 300 {
		put(t, r.src, fmt.Sprintf("%03d/", i)+strings.Repeat("<", 1000), nil)
		put(t, r.src, fmt.Sprintf("%03d/", i)+strings.Repeat("\xff", 1000), nil)
	}
	r.start()
	if found, _ := r.scanAll(item(1)); len(found) != 600 {
		t.Errorf("%d objects found, want 600", len(found))
	}
}

func TestScanCompares(t *testing.T) {
	t.Parallel()
	type verdict struct {
		skip  string
		check bool
	}
	tests := []struct {
		name    string
		wrap    func(storage.Store) storage.Store
		compare work.Compare
		same    verdict
		content verdict // same size
		size    verdict
		absent  verdict
	}{
		{name: "ETags", compare: work.CompareContent, same: verdict{skip: "etag"}, content: verdict{check: true}, size: verdict{check: true}},
		{name: "opaque ETags", compare: work.CompareContent, wrap: silent,
			same: verdict{check: true}, content: verdict{check: true}, size: verdict{check: true}},
		{name: "sizes", compare: work.CompareSize, same: verdict{skip: "size"}, content: verdict{skip: "size"}, size: verdict{check: true}},
		{name: "nothing", compare: work.CompareNone},
		{name: "a target that cannot be listed", compare: work.CompareContent,
			wrap: func(s storage.Store) storage.Store { return unlisted{s, work.Unsupported} },
			same: verdict{check: true}, content: verdict{check: true}, size: verdict{check: true}, absent: verdict{check: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			want := map[string]verdict{}
			for i := range 1500 {
				key := fmt.Sprintf("%04d", i)
				put(t, r.src, key, []byte("aa"))
				switch i % 5 {
				case 0:
					want[key] = tt.absent
				case 1:
					put(t, r.dst, key, []byte("aa"))
					want[key] = tt.same
				case 2:
					put(t, r.dst, key, []byte("bb"))
					want[key] = tt.content
				case 3:
					put(t, r.dst, key, []byte("b"))
					want[key] = tt.size
				case 4:
					put(t, r.dst, key+"x", []byte("only the target has it"))
					want[key] = tt.absent
				}
			}
			if tt.wrap != nil {
				r.dst = tt.wrap(r.dst)
			}
			r.start()
			it := item(1)
			it.Options.Compare = tt.compare
			found, _ := r.scanAll(it)
			if len(found) != len(want) {
				t.Errorf("%d objects found, want %d", len(found), len(want))
			}
			for _, f := range found {
				if got := (verdict{f.Skip, f.Check}); got != want[f.Key] {
					t.Errorf("%s: %+v, want %+v", f.Key, got, want[f.Key])
				}
			}
		})
	}
}

// unlisted cannot be listed.
type unlisted struct {
	storage.Store
	fault work.Fault
}

func (u unlisted) List(context.Context, work.Range, func([]storage.Info) error) error {
	return &storage.Error{Op: "list", Store: "test://dst/", Fault: u.fault, Err: fmt.Errorf("injected")}
}

func TestScanOfRange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 3000 {
		put(t, r.src, fmt.Sprintf("%04d", i), nil)
	}
	r.start()
	it := item(1)
	it.Range = &work.Range{After: "0499", Upto: "1999"}
	found, items := r.scanAll(it)
	if len(found) != 1500 || found[0].Key != "0500" || found[1499].Key != "1999" || items != 1 {
		t.Errorf("%d objects found in %d items, want 0500 to 1999 in one", len(found), items)
	}
	it.ID, it.Range = 9, &work.Range{After: "9"}
	if found, _ := r.scanAll(it); len(found) != 0 {
		t.Errorf("%d objects found where there are none", len(found))
	}
}

func TestScanFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(r *rig, it *work.Item)
		fault work.Fault
		text  string
	}{
		{"source listing breaks", func(r *rig, _ *work.Item) {
			r.src = storagetest.Faulty(r.src, storagetest.Faults{Rates: map[storagetest.Kind]float64{storagetest.Broken: 1}})
		}, work.Transient, "connection reset"},
		{"target bucket is missing", func(r *rig, _ *work.Item) { r.dst = unlisted{r.dst, work.NotFound} }, work.NotFound, "injected"},
		{"target may not be listed", func(r *rig, _ *work.Item) { r.dst = unlisted{r.dst, work.Denied} }, work.Denied, "injected"},
		{"source is the target", func(_ *rig, it *work.Item) { it.Target = it.Source }, work.Invalid, "the same"},
		{"target in the source", func(_ *rig, it *work.Item) { it.Target += "sub" }, work.Invalid, ""},
		{"no such store", func(_ *rig, it *work.Item) { it.Source = "test://nowhere/" }, work.Invalid, "no test store"},
		{"no such scheme", func(_ *rig, it *work.Item) { it.Source = "gopher://x/" }, work.Invalid, "known schemes"},
		{"source out of order", func(r *rig, _ *work.Item) { r.src = backwards{r.src} }, work.Unsupported, "order"},
		{"source panics", func(r *rig, _ *work.Item) { r.src = panicky{r.src} }, work.Internal, "panic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for i := range 2500 {
				put(t, r.src, fmt.Sprintf("%04d", i), nil)
			}
			it := item(1)
			tt.spoil(r, &it)
			if tt.name == "target in the source" {
				it.Source, it.Target = "mem://one/", "mem://one/sub/"
			}
			a := r.start()
			r.publish(it)
			all := r.results(func(rs []work.Result) bool { return len(rs) > 0 && rs[len(rs)-1].Fault != "" })
			last := all[len(all)-1]
			if last.Fault != tt.fault || !strings.Contains(last.Error, tt.text) {
				t.Errorf("%s: %s, want %s: …%s…", last.Fault, last.Error, tt.fault, tt.text)
			}
			for _, p := range all[:len(all)-1] {
				if p.Page == nil || p.Page.Last {
					t.Errorf("result %+v of a scan that failed", p)
				}
			}
			a.stop()
			a.wait(t)
			r.gone(it)
		})
	}
}

// backwards lists in the wrong order.
type backwards struct{ storage.Store }

func (b backwards) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	return b.Store.List(ctx, r, func(page []storage.Info) error {
		slices.Reverse(page)
		return fn(page)
	})
}

// panicky has a defect.
type panicky struct{ storage.Store }

func (panicky) List(context.Context, work.Range, func([]storage.Info) error) error { panic("a defect") }

// An agent that is to stop reports what it has listed and leaves the rest to
// others.
func TestScanIsHandedOnAtShutdown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 10_000 {
		put(t, r.src, fmt.Sprintf("%05d", i), nil)
	}
	var a *running
	r.src = &atPage{Store: r.src, page: 3, do: func() { a.stop() }}
	a = r.start()
	it := item(1)
	r.publish(it)
	pages := r.results(func(rs []work.Result) bool { return len(rs) > 0 && rs[len(rs)-1].Page.Last })
	a.wait(t)
	last := pages[len(pages)-1].Page
	if len(last.Rest) == 0 || last.Rest[0].After != last.Upto || last.Rest[len(last.Rest)-1].Upto != "" {
		t.Errorf("last page up to %s leaves %+v", last.Upto, last.Rest)
	}
	if len(pages) > 4 {
		t.Errorf("%d pages were listed after it was to stop", len(pages)-3)
	}
	r.gone(it)
}

// atPage does something when a page is listed.
type atPage struct {
	storage.Store
	page int
	do   func()
}

func (s *atPage) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	n := 0
	return s.Store.List(ctx, r, func(page []storage.Info) error {
		if n++; n == s.page {
			s.do()
		}
		return fn(page)
	})
}

func TestScanOfFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	src, dst := t.TempDir(), t.TempDir()+"/made/later"
	files := fileStoreAt(t, src)
	for i := range 50 {
		put(t, files, fmt.Sprintf("d%d/f%d", i%7, i), []byte("x"))
	}
	r.start(func(c *config.Agent) { c.Streams = 1 })
	it := item(1)
	it.Source, it.Target = "file://"+src, "file://"+dst
	found, _ := r.scanAll(it)
	if len(found) != 50 || found[0].Check {
		t.Errorf("%d files found, want 50 to copy", len(found))
	}
	for _, f := range found {
		if strings.Contains(f.Key, "tranship") {
			t.Errorf("listed %s, which is ours", f.Key)
		}
	}
}
