package work

import (
	"math"
	"strings"
	"testing"
	"time"
)

// bigItems are the items of one big object of three parts.
func bigItems() []Item {
	it := scanItem()
	it.Range = nil
	it.Options.Split, it.Options.Class, it.Options.Carry = 64<<20, "keep", "tags=fail"
	it.Objects = []Object{{Key: "big/\xff", Size: 80 << 20, ETag: "v1"}}
	begin := it
	begin.Kind = Begin
	it.Upload = &Upload{ID: "upload-1", Part: 32 << 20}
	part, finish, abort := it, it, it
	part.Kind, part.N = Part, 3
	finish.Kind = Finish
	for n := 1; n <= 3; n++ {
		finish.Parts = append(finish.Parts, StoredPart{N: n, Tag: "tag", CRC32C: []byte{1, 2, 3, byte(n)}, Named: true})
	}
	abort.Kind = Abort
	return []Item{begin, part, finish, abort}
}

func bigResults() []Result {
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	r := Result{Job: 7, Item: 1, Epoch: 1, Agent: "one", At: at}
	begin, part, finish, abort := r, r, r, r
	begin.Kind, begin.Object = Begin, &Object{Key: "big", Size: 80 << 20, ETag: "v1"}
	begin.Upload = &Upload{ID: "upload-1", Part: 32 << 20}
	part.Kind, part.Moved = Part, 32<<20
	part.Part = &StoredPart{N: 3, Tag: "tag", CRC32C: []byte{1, 2, 3, 4}, CRC64NVME: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Named: true}
	finish.Kind = Finish
	finish.Outcomes = []ObjectOutcome{{Outcome: Copied, Proof: "crc32c", Checksum: "crc32c:00000000", Dropped: "tags"}}
	abort.Kind = Abort
	return []Result{begin, part, finish, abort}
}

func TestExtent(t *testing.T) {
	t.Parallel()
	u := Upload{Part: 10}
	for _, tt := range []struct {
		size int64
		n    int
		off  int64
		len  int64
	}{{25, 1, 0, 10}, {25, 3, 20, 5}, {20, 2, 10, 10}, {1, 1, 0, 1}} {
		if off, n := u.Extent(tt.n, tt.size); off != tt.off || n != tt.len {
			t.Errorf("part %d of %d bytes is %d bytes from %d, want %d from %d", tt.n, tt.size, n, off, tt.len, tt.off)
		}
	}
	if n := (Upload{Part: math.MaxInt64}).Parts(math.MaxInt64); n != 1 {
		t.Errorf("a part of any size makes %d parts, want 1", n)
	}
	for size, want := range map[int64]int{0: 0, 1: 1, 10: 1, 11: 2, 20: 2, 21: 3} {
		if got := u.Parts(size); got != want {
			t.Errorf("%d bytes are %d parts, want %d", size, got, want)
		}
	}
}

func TestKindFor(t *testing.T) {
	t.Parallel()
	if k := (Options{}).KindFor(SplitSize); k != Begin {
		t.Errorf("an object of the split size travels as %s", k)
	}
	if k := (Options{}).KindFor(SplitSize - 1); k != Copy {
		t.Errorf("an object below the split size travels as %s", k)
	}
	if k := (Options{Split: 100}).KindFor(100); k != Begin {
		t.Errorf("an object of the job's split size travels as %s", k)
	}
}

func TestBigMessagesRefused(t *testing.T) {
	t.Parallel()
	items, results := bigItems(), bigResults()
	for name, change := range map[string]func() error{
		"two objects": func() error {
			it := items[0]
			it.Objects = append(it.Objects[:1:1], it.Objects[0])
			return it.check()
		},
		"no upload":     func() error { it := items[1]; it.Upload = nil; return it.check() },
		"part 0":        func() error { it := items[1]; it.N = 0; return it.check() },
		"part 4 of 3":   func() error { it := items[1]; it.N = 4; return it.check() },
		"parts missing": func() error { it := items[2]; it.Parts = it.Parts[:2]; return it.check() },
		"upload of no parts": func() error {
			r := results[0]
			r.Upload = &Upload{ID: "x"}
			return r.check()
		},
		"too many parts": func() error {
			r := results[0]
			r.Upload = &Upload{ID: "x", Part: 1}
			return r.check()
		},
		"a part without its tag": func() error { r := results[1]; r.Part = &StoredPart{N: 1}; return r.check() },
		"a finish without outcome": func() error {
			r := results[2]
			r.Outcomes = nil
			return r.check()
		},
	} {
		it, r := items[0], results[0]
		it.V, r.V = ItemVersion, ResultVersion
		for i := range items {
			items[i].V = ItemVersion
		}
		for i := range results {
			results[i].V = ResultVersion
		}
		if err := change(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A finish carries all parts in one message, which the queue must take.
func TestFinishFitsMessage(t *testing.T) {
	t.Parallel()
	it := bigItems()[2]
	it.Objects[0].Key = strings.Repeat("\x01", 1024)
	it.Objects[0].Size = MaxParts * (640 << 20)
	it.Upload = &Upload{ID: strings.Repeat("u", 256), Part: 640 << 20}
	it.Parts = nil
	for n := 1; n <= MaxParts; n++ {
		it.Parts = append(it.Parts, StoredPart{N: n, Tag: strings.Repeat("f", 34), CRC32C: make([]byte, 4), CRC64NVME: make([]byte, 8), Named: true})
	}
	b, err := it.Encode()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d parts make a message of %d bytes", MaxParts, len(b))
	if limit := 1<<20 - 16<<10; len(b) > limit {
		t.Errorf("the queue takes %d", limit)
	}
	if _, err := DecodeItem(b); err != nil {
		t.Error(err)
	}
}
