package agent

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// rates are the chances of each way to fail.
type rates = map[storagetest.Kind]float64

// failing are the ways to fail that are no lies. Whoever waits does so in the
// time of a bubble, which costs nothing.
var failing = rates{storagetest.Lost: 0.02, storagetest.Applied: 0.03, storagetest.Broken: 0.02,
	storagetest.RetryAfter: 0.01, storagetest.Expired: 0.01}

// lying are the ways to lie that level checksum sees through at either end.
// Only a commit can be swapped or doubled, and there are few.
var lying = rates{storagetest.Short: 0.05, storagetest.Long: 0.05, storagetest.Flipped: 0.06, storagetest.Stale: 0.06,
	storagetest.Garbled: 0.06, storagetest.Kept: 0.05, storagetest.Lied: 0.05, storagetest.Mistagged: 0.05,
	storagetest.Swapped: 0.12, storagetest.Doubled: 0.12}

// more returns rates and others. A rate of 0 takes one away.
func more(all ...rates) rates {
	sum := rates{}
	for _, r := range all {
		for k, rate := range r {
			sum[k] = rate
		}
	}
	return sum
}

// However stores lie, no object with wrong bytes is called copied. At level
// checksum the target must be honest about what it stored. When it is read back
// it need not even be that, as long as it serves what it stored: it is stale in
// one trial, a perjurer in the other.
func TestByzantineStores(t *testing.T) {
	t.Parallel()
	truncated := rates{storagetest.Truncated: 0.12}
	for _, tt := range []struct {
		name  string
		level work.Verify
		dst   rates
	}{
		{"checksum", work.VerifyChecksum, more(failing, lying)},
		{"readback", work.VerifyReadback, more(failing, lying, truncated)},
		{"readback of perjury", work.VerifyReadback,
			more(failing, lying, truncated, rates{storagetest.Stale: 0, storagetest.Perjured: 0.1})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seed := newSeed(t)
			synctest.Test(t, func(t *testing.T) {
				tr := newTrial(t, seed, tt.level)
				tr.run(t, more(failing, lying), tt.dst)
				if _, n := tr.log(t); n < 2500 {
					t.Errorf("%d lies, want thousands", n)
				}
				for end, want := range map[*storagetest.Tally]rates{&tr.srcTally: more(failing, lying), &tr.dstTally: tt.dst} {
					for k, rate := range want {
						if rate > 0 && tr.possible(end, k) && end.Struck(k) == 0 {
							t.Errorf("%s never struck: %v", k, end)
						}
					}
				}
				if tr.alarms[work.Corrupt] == 0 || tr.alarms[work.Transient] == 0 || tr.alarms[work.SrcChanged] == 0 {
					t.Errorf("alarms %v, want some of each sort", tr.alarms)
				}
			})
		})
	}
}

// Where nobody lies there is no alarm, and everything is proven.
func TestHonestStoresRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	for _, level := range []work.Verify{work.VerifyChecksum, work.VerifyReadback} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, newSeed(t), level)
			tr.run(t, nil, nil)
			tr.log(t)
			if n := len(tr.sizes); len(tr.alarms) != 0 || tr.tries != n || tr.proofs["crc32c"] != n {
				t.Errorf("%d objects in %d tries with alarms %v and proofs %v", n, tr.tries, tr.alarms, tr.proofs)
			}
		})
	}
}

// TestWhatNoCheckCanFind holds down the limits of what is promised.
//
// Out of reach of any check: a source that vouches for nothing and serves other
// bytes under the right ETag and length. Then the proof says that the source
// did not vouch for them. And a target that stores something else than it was
// sent, vouches for what it was sent, and when read back serves that from
// another place.
//
// Out of reach of level checksum: a target that vouches for what it was sent and
// has stored something else, and one that loses a part as it puts parts together
// and answers with the full size. Reading back finds both.
func TestWhatNoCheckCanFind(t *testing.T) {
	t.Parallel()
	const buffered, streamed, parted = 1000, 50 << 10, bigSize
	all := []int{buffered, streamed, parted}
	for _, tt := range []struct {
		name     string
		src, dst lies
		sizes    []int
		readback bool // finds it
	}{
		{"stale source", lies{"get": storagetest.Stale}, nil, all, false},
		{"perjured target", nil, lies{"put": storagetest.Perjured, "commit": storagetest.Perjured}, all, true},
		{"truncating target", nil, lies{"commit": storagetest.Truncated}, []int{parted}, true},
		{"target that hides perjury", nil,
			lies{"put": storagetest.Perjured, "commit": storagetest.Perjured, "get": storagetest.Stale}, all, false},
	} {
		for _, size := range tt.sizes {
			for _, level := range []work.Verify{work.VerifyChecksum, work.VerifyReadback} {
				t.Run(fmt.Sprint(tt.name, " ", size, " ", level), func(t *testing.T) {
					t.Parallel()
					deceive(t, tt.src, tt.dst, size, level, level == work.VerifyReadback && tt.readback)
				})
			}
		}
	}
}

// lies are what a store does whenever it is asked something.
type lies map[string]storagetest.Kind

// deceive copies an object between stores that lie. At both ends another
// version was there before: at the target the one that is copied.
func deceive(t *testing.T, src, dst lies, size int, level work.Verify, found bool) {
	var tally storagetest.Tally
	lying := false
	faulty := func(s storage.Store, l lies) storage.Store {
		return storagetest.Faulty(s, storagetest.Faults{Remember: true, Tally: &tally, Script: func(c storagetest.Call) storagetest.Kind {
			if !lying {
				return ""
			}
			return l[c.Op]
		}})
	}
	want, kept := storagetest.Bytes(1, size), memstore.New()
	from, to := faulty(memstore.New(), src), faulty(kept, dst)
	put(t, from, "k", storagetest.Bytes(2, size))
	obj := object(t, from, "k", want)
	put(t, to, "k", want)
	lying = true
	if src != nil {
		from = silent(from)
	}
	tr := newTransfer(from, partsOnlyOf(to), obj)
	tr.options.Verify, tr.options.Compare = level, work.CompareNone
	out, err := carry(t, tr)
	got := content(t, kept, "k")
	switch {
	case found && err == nil:
		t.Errorf("%+v, want the lie found; the tally says %v", out, &tally)
	case found:
	case err != nil || out.Outcome != work.Copied || got == nil || bytes.Equal(got, want):
		t.Errorf("%+v, %v: it was found, or did not happen: %v", out, err, &tally)
	case src != nil && !work.Weak(out.Proof) && !strings.HasSuffix(out.Proof, work.ProofOfTarget):
		t.Errorf("proof %s, although the source vouches for nothing", out.Proof)
	}
}
