package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestEveryKeyIsPlannedOnce runs whole scans over random listings. Agents cut
// them into pages and hand ranges back at random; pages arrive repeated, out
// of order, late, from several agents at work on one item, or not at all;
// scans fail in between. However it goes, each key is planned exactly once,
// and the keys of one scan item in order.
func TestEveryKeyIsPlannedOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newFleet(seed).run(t)
		})
	}
}

// A fleet plays all the parts around Decide: source, agents, queue, ledger.
type fleet struct {
	rnd     *rand.Rand
	keys    []string
	open    map[work.ItemID]*work.Item
	nextID  work.ItemID
	flight  []work.Result
	planned []string // in the order planned
}

func newFleet(seed uint64) *fleet {
	f := &fleet{rnd: rand.New(rand.NewPCG(seed, 1)), open: make(map[work.ItemID]*work.Item)}
	letters := []string{"a", "b", "\x00", "\xff", "é", "/", "z"}
	set := make(map[string]bool)
	for range f.rnd.IntN(60) {
		var k string
		for range 1 + f.rnd.IntN(4) {
			k += letters[f.rnd.IntN(len(letters))]
		}
		set[k] = true
	}
	for k := range set {
		f.keys = append(f.keys, k)
	}
	slices.Sort(f.keys)
	f.insert(work.NewItem{Kind: work.Scan, Attempt: 1, Range: &work.Range{}})
	return f
}

func (f *fleet) insert(n work.NewItem) {
	f.nextID++
	f.open[f.nextID] = &work.Item{
		ID: f.nextID, Kind: n.Kind, Attempt: n.Attempt, Range: n.Range, Suspect: n.Suspect,
		Options: work.Options{MaxAttempts: 1 << 20},
	}
}

func (f *fleet) run(t *testing.T) {
	for step := 0; len(f.open) > 0; step++ {
		if step > 100_000 {
			t.Fatalf("%d scans never end", len(f.open))
		}
		if len(f.flight) == 0 || f.rnd.IntN(20) == 0 {
			f.work()
			continue
		}
		i := 0
		if f.rnd.IntN(3) == 0 {
			i = f.rnd.IntN(len(f.flight))
		}
		r := f.flight[i]
		if f.rnd.IntN(10) > 0 { // else it will come again
			f.flight = slices.Delete(f.flight, i, i+1)
		}
		if f.rnd.IntN(20) > 0 { // else it is lost
			f.record(t, r)
		}
	}
	slices.Sort(f.planned)
	if !slices.Equal(f.planned, f.keys) {
		t.Errorf("planned %q\nwant    %q", f.planned, f.keys)
	}
}

// work lets an agent list an open item from the cursor that the item has now.
func (f *fleet) work() {
	ids := make([]work.ItemID, 0, len(f.open))
	for id := range f.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := ids[f.rnd.IntN(len(ids))]
	left := *f.open[id].Range
	var keys []string
	for _, k := range f.keys {
		if left.Contains(k) {
			keys = append(keys, k)
		}
	}
	send := func(p work.Page) {
		f.flight = append(f.flight, work.Result{Item: id, Kind: work.Scan, Epoch: 1, Page: &p})
	}
	after := left.After
	for pages := 1 + f.rnd.IntN(5); ; pages-- {
		if f.rnd.IntN(15) == 0 {
			f.flight = append(f.flight, work.Result{Item: id, Kind: work.Scan, Epoch: 1, Fault: work.Transient,
				Silent: max(f.rnd.IntN(6)-3, 0), Returned: f.rnd.IntN(4) == 0})
			return
		}
		n := f.rnd.IntN(6)
		page := work.Page{Range: work.Range{After: after}}
		if n >= len(keys) {
			page.Last, page.Upto = true, left.Upto
			f.found(&page, keys)
			send(page)
			return
		}
		if n == 0 {
			continue
		}
		page.Upto = keys[n-1]
		f.found(&page, keys[:n])
		keys, after = keys[n:], page.Upto
		if pages <= 1 {
			page.Last = true
			page.Rest = []work.Range{{After: after, Upto: left.Upto}}
			if len(keys) > 2 {
				page.Rest = []work.Range{{After: after, Upto: keys[1]}, {After: keys[1], Upto: left.Upto}}
			}
			send(page)
			return
		}
		send(page)
	}
}

func (f *fleet) found(p *work.Page, keys []string) {
	for _, k := range keys {
		o := work.Found{Object: work.Object{Key: k, Size: int64(f.rnd.IntN(3)) * work.MaxItemBytes / 2}}
		switch len(k) % 4 {
		case 0:
			o.Skip = "etag"
		case 3:
			o.Fail = "archived"
		}
		p.Found = append(p.Found, o)
	}
}

// record does what the ledger does with a result.
func (f *fleet) record(t *testing.T, r work.Result) {
	item, ok := f.open[r.Item]
	if !ok {
		return
	}
	v := Planner{Jitter: f.rnd.Float64}.Decide(*item, r)
	if v.State == "" || v.State == work.Ready {
		return
	}
	last := map[string]string{} // by the sort of item
	for _, n := range v.Items {
		if n.Kind == work.Scan {
			f.insert(n)
			continue
		}
		sort := string(n.Kind)
		if n.Outcomes != nil {
			sort = "settled"
		}
		for _, o := range n.Objects {
			if o.Key <= last[sort] || o.Key <= item.Range.After {
				t.Fatalf("%q planned after %q, cursor %q", o.Key, last[sort], item.Range.After)
			}
			last[sort] = o.Key
			f.planned = append(f.planned, o.Key)
		}
	}
	if v.Cursor < item.Range.After {
		t.Fatalf("cursor went back from %q to %q", item.Range.After, v.Cursor)
	}
	item.Range = &work.Range{After: v.Cursor, Upto: item.Range.Upto}
	if v.State != work.Queued {
		delete(f.open, r.Item)
	}
}

// FuzzBatches checks the limits of an item on random objects.
func FuzzBatches(f *testing.F) {
	f.Add(uint64(1), "key", 300, int64(1), 0, int64(0))
	f.Add(uint64(2), "\xff\x00<&>\u2028\"\\\x7f", 1000, int64(1<<20), 3, int64(1<<19))
	f.Add(uint64(3), "é", 700, int64(work.MaxItemBytes), 2, int64(1<<40))
	f.Add(uint64(4), "z", 900, int64(work.MaxItemBytes*2), 5, int64(0))
	f.Fuzz(func(t *testing.T, seed uint64, key string, n int, size int64, skipEvery int, split int64) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		item := scanItem(1, "", "")
		item.Options.Split = split
		item.Source, item.Target = "s3://source/"+key, "s3://target/"+key
		if len(key) > 1024 || n < 0 || n > 1000 || size < 0 || size > 1<<50 {
			t.Skip("no listing looks like this")
		}
		listed := make([]work.Found, n)
		for i := range listed {
			listed[i] = work.Found{Object: work.Object{
				Key: fmt.Sprintf("%s%06d", key, i), Size: rnd.Int64N(size + 1), ETag: key, Check: true,
			}}
			if skipEvery > 0 && i%skipEvery == 0 {
				listed[i].Skip = "etag"
			}
			if skipEvery > 1 && i%skipEvery == 1 {
				listed[i].Fail = "archived " + key
			}
		}
		checkBatches(t, item, listed, batches(item.Options, envelope(item), listed))
	})
}

func checkBatches(t *testing.T, scan work.Item, listed []work.Found, items []work.NewItem) {
	t.Helper()
	planned := map[string][]work.Object{}
	for _, n := range items {
		var bytes int64
		for _, o := range n.Objects {
			bytes += o.Size
		}
		message := scan
		message.Kind, message.Range, message.Objects = n.Kind, nil, n.Objects
		message.ID, message.Job, message.Epoch = 1<<62, 1<<62, 1<<30
		wire, err := message.Encode()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(n.Objects) == 0 || len(n.Objects) > work.MaxItemObjects:
			t.Fatalf("item of %d objects", len(n.Objects))
		case n.Kind == work.Begin && (len(n.Objects) != 1 || n.Outcomes != nil):
			t.Fatalf("begin of %d objects with %d outcomes", len(n.Objects), len(n.Outcomes))
		case n.Outcomes == nil && bytes > work.MaxItemBytes && len(n.Objects) > 1:
			t.Fatalf("item of %d objects with %d bytes", len(n.Objects), bytes)
		case len(wire) > work.MaxItemJSON && len(n.Objects) > 1:
			t.Fatalf("item of %d objects is a message of %d bytes", len(n.Objects), len(wire))
		case n.Outcomes != nil && len(n.Outcomes) != len(n.Objects):
			t.Fatalf("%d outcomes for %d objects", len(n.Outcomes), len(n.Objects))
		}
		for i, o := range n.Objects {
			sort := string(n.Kind)
			if n.Outcomes != nil {
				sort = string(n.Outcomes[i].Outcome)
			}
			planned[sort] = append(planned[sort], o)
		}
	}
	for _, f := range listed {
		sort := string(scan.Options.KindFor(f.Size))
		switch {
		case f.Fail != "":
			sort = string(work.Failed)
		case f.Skip != "":
			sort = string(work.Skipped)
		}
		from := planned[sort]
		if len(from) == 0 || from[0] != f.Object {
			t.Fatalf("%q is not planned in its place", f.Key)
		}
		planned[sort] = from[1:]
	}
	for sort, more := range planned {
		if len(more) > 0 {
			t.Fatalf("planned what was not listed: %d %s", len(more), sort)
		}
	}
}

// Batches must also not be needlessly small: each is as full as a limit allows.
func TestBatchesAreFull(t *testing.T) {
	t.Parallel()
	small := make([]work.Found, 1000)
	for i := range small {
		small[i].Key = fmt.Sprintf("images/2026/%08d.jpeg", i)
		small[i].ETag, small[i].Size = "d41d8cd98f00b204e9800998ecf8427e", 16<<10
	}
	items := batches(work.Options{}, envelope(scanItem(1, "", "")), small)
	checkBatches(t, scanItem(1, "", ""), small, items)
	if len(items) != 4 {
		t.Errorf("1000 small objects became %d items, want 4", len(items))
	}
	for _, size := range []int64{work.MaxItemBytes, work.MaxItemBytes + 1, work.MaxItemBytes/2 + 1} {
		large := slices.Clone(small[:5])
		for i := range large {
			large[i].Size = size
		}
		if items := batches(work.Options{Split: work.MaxItemBytes + 2}, 0, large); len(items) != 5 {
			t.Errorf("5 objects of %d bytes became %d items, want 5", size, len(items))
		}
	}
	half := slices.Clone(small[:5])
	for i := range half {
		half[i].Size = work.MaxItemBytes / 2
	}
	if items := batches(work.Options{}, 0, half); len(items) != 3 {
		t.Errorf("5 objects of half the limit became %d items, want 3", len(items))
	}
}
