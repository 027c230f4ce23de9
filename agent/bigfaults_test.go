package agent

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestSourceOfPartsChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dst = &targetOf{Store: memstore.New()}
	put(t, r.dst, "k", []byte("old"))
	want := storagetest.Bytes(1, bigSize)
	a := r.start()
	obj := object(t, r.src, "k", want)
	obj.Check = true
	u := r.begin(1, obj)
	r.fill(2, &u)
	put(t, r.src, "k", storagetest.Bytes(2, bigSize))
	failed(t, r.result(u.part(12, 1)), work.SrcChanged, false) // remembered
	a.vouched = vouched{}
	failed(t, r.result(u.part(13, 1)), work.SrcChanged, false) // asked for
	failed(t, r.result(u.finish(14)), work.SrcChanged, false)
	if err := r.src.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	failed(t, r.result(u.part(15, 1)), work.NotFound, false)
	failed(t, r.result(u.finish(16)), work.NotFound, false)
	if got := content(t, r.dst, "k"); string(got) != "old" {
		t.Errorf("the target has now %d bytes", len(got))
	}
	put(t, r.src, "k", want) // the version is the same again
	if out := outcome(t, r.result(u.finish(17))); out.Outcome != work.Copied {
		t.Errorf("outcome %+v", out)
	}
}

func TestUploadIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dst = &targetOf{Store: memstore.New()}
	r.start()
	u := r.begin(1, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
	r.fill(2, &u)
	abort := u.item(12, work.Abort)
	if res := r.result(abort); res.Fault != "" {
		t.Errorf("abort: %+v", res)
	}
	abort.ID = 13
	if res := r.result(abort); res.Fault != "" {
		t.Errorf("abort of what is gone: %+v", res)
	}
	failed(t, r.result(u.part(14, 1)), work.Transient, true)
	failed(t, r.result(u.finish(15)), work.Transient, true)
	again := u.finish(16)
	again.Attempt = 2
	failed(t, r.result(again), work.Transient, true)
	if content(t, r.dst, "k") != nil {
		t.Error("something stands at the target")
	}
}

// Parts that are together not what the source vouches for are not committed.
func TestWrongPartsAreNotCommitted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dst = &targetOf{Store: memstore.New()}
	put(t, r.dst, "k", []byte("old"))
	r.start()
	obj := object(t, r.src, "k", storagetest.Bytes(1, bigSize))
	obj.Check = true
	u := r.begin(1, obj)
	r.fill(2, &u)
	right := u.parts[2].CRC32C
	u.parts[2].CRC32C = []byte{1, 2, 3, 4}
	res := r.result(u.finish(12))
	failed(t, res, work.Corrupt, false)
	if !strings.Contains(res.Error, "the source vouches for") {
		t.Errorf("the error %q does not say what differs", res.Error)
	}
	u.parts[2].CRC32C, u.parts[2].N = right, 4
	failed(t, r.result(u.finish(13)), work.Internal, false)
	if got := content(t, r.dst, "k"); string(got) != "old" {
		t.Errorf("the target has now %d bytes", len(got))
	}
	u.parts[2].N = 3
	if out := outcome(t, r.result(u.finish(14))); out.Outcome != work.Copied {
		t.Errorf("outcome %+v: the upload should still be there", out)
	}
}

// A target that stores other bytes than it is sent is found out at the part, if
// it names checksums.
func TestWrongPartIsNoPart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := &targetOf{Store: memstore.New()}
	r.dst = target
	r.start()
	u := r.begin(1, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
	target.spoil = true
	tries := 0
	target.onPart = func(context.Context) { tries++ }
	res := r.result(u.part(2, 1))
	failed(t, res, work.Corrupt, false)
	if _, size := u.upload.Extent(1, bigSize); tries != partTries || res.Moved != partTries*size {
		t.Errorf("%d tries, %d bytes moved, want %d of %d each", tries, res.Moved, partTries, size)
	}
}

// What passes is tried again within an item, unless it may have been done. That
// a store asks to slow down costs no try.
func TestPassingFaultsOfParts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		end, op string
		kind    storagetest.Kind
		times   int
		fault   work.Fault
	}{
		{"target", "part", storagetest.Lost, partTries - 1, ""},
		{"target", "part", storagetest.Applied, partTries - 1, ""},
		{"target", "part", storagetest.Garbled, partTries - 1, ""},
		{"target", "part", storagetest.Throttled, partTries - 1, ""},
		{"target", "part", storagetest.Lost, partTries, work.Transient},
		{"target", "part", storagetest.Throttled, partTries + 1, ""},
		{"target", "part", storagetest.Denied, 1, work.Denied},
		{"source", "get", storagetest.Broken, partTries - 1, ""},
		{"source", "get", storagetest.Short, partTries - 1, ""},
		{"source", "get", storagetest.Throttled, partTries + 1, ""},
		{"source", "stat", storagetest.Lost, partTries - 1, ""},
		{"source", "stat", storagetest.Lost, partTries, work.Transient},
		{"target", "commit", storagetest.Throttled, 1, ""},
		{"target", "commit", storagetest.Lost, 1, work.Transient},
		{"target", "commit", storagetest.Applied, 1, work.Transient},
		{"target", "abort", storagetest.Lost, 1, work.Transient},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.op, " ", tt.kind, " ", tt.times), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			inner := r.src
			obj := object(t, inner, "k", storagetest.Bytes(1, bigSize))
			var strikes, struck atomic.Int32
			faults := storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
				if c.Op == tt.op && c.Key != askKey && struck.Add(1) <= strikes.Load() {
					return tt.kind
				}
				return ""
			}}
			r.dst = &targetOf{Store: memstore.New()}
			if tt.end == "source" {
				r.src = storagetest.Faulty(inner, faults)
			} else {
				r.dst = storagetest.Faulty(r.dst, faults)
			}
			a := r.start()
			u := r.begin(1, obj)
			strike := func() { struck.Store(0); strikes.Store(int32(tt.times)) }
			it := u.part(2, 1)
			switch tt.op {
			case "commit":
				r.fill(10, &u)
				it = u.finish(2)
			case "abort":
				it = u.item(2, work.Abort)
			}
			a.vouched = vouched{}
			strike()
			res := r.result(it)
			if res.Fault != tt.fault || res.Gone {
				t.Errorf("%+v, want fault %q", res, tt.fault)
			}
			want := tt.times
			if tt.fault == "" {
				want++
			}
			if n := int(struck.Load()); n != want {
				t.Errorf("%s was called %d times, want %d", tt.op, n, want)
			}
			if tt.fault != "" && tt.fault != work.Denied { // the next attempt
				it.ID, it.Attempt = 3, 2
				if res = r.result(it); res.Fault != "" {
					t.Errorf("and again: %+v", res)
				}
			}
			if it.Kind == work.Finish {
				if out := outcome(t, res); out.Outcome != work.Copied || out.Checksum != crcOf(storagetest.Bytes(1, bigSize)) {
					t.Errorf("outcome %+v", out)
				}
			}
		})
	}
}
