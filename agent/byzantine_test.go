package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// byzantineSizes let objects go all ways.
var byzantineSizes = sizes{held: 4 << 10, whole: 128 << 10, part: 1 << 20}

// A trial moves many objects between two byzantine stores.
type trial struct {
	src, dst *byzantine
	options  work.Options
	want     map[string][]byte

	mu                     sync.Mutex
	tries, copied, present int
	alarms                 map[work.Fault]int
	proofs                 map[string]int
}

func newTrial(t *testing.T, level work.Verify, rate float64, perjury bool) *trial {
	tr := &trial{src: newByzantine(1, rate), dst: newByzantine(2, rate), options: work.DefaultOptions(), want: map[string][]byte{},
		alarms: map[work.Fault]int{}, proofs: map[string]int{}}
	tr.options.Verify, tr.dst.perjury = level, perjury
	r := rand.New(rand.NewPCG(3, 4))
	add := func(n, least, most int) {
		for range n {
			key := fmt.Sprintf("k%05d", len(tr.want))
			tr.want[key] = storagetest.Bytes(len(tr.want), least+r.IntN(most-least))
			put(t, tr.src.honest(), key, tr.want[key])
			if len(tr.want)%2 == 0 { // another version stands at the target
				put(t, tr.dst.honest(), key, storagetest.Bytes(2_000_000, len(tr.want[key])))
			}
		}
	}
	add(10, 0, 1)
	add(1300, 1, 4<<10)
	add(150, 4<<10, 128<<10)
	add(40, 2<<20, 5<<19) // at least two parts of the same size
	return tr
}

// run moves every object, trying again as a job would, until each is called
// copied.
func (tr *trial) run(t *testing.T) {
	keys := slices.Sorted(maps.Keys(tr.want))
	next := make(chan string)
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for key := range next {
				tr.move(t, key)
			}
		})
	}
	for _, key := range keys {
		next <- key
	}
	close(next)
	streams.Wait()
}

func (tr *trial) move(t *testing.T, key string) {
	const most = 200
	in, err := tr.src.Stat(t.Context(), key)
	if err != nil {
		t.Error(err)
		return
	}
	src, dst := storage.Store(tr.src), storage.Store(tr.dst)
	for try := 1; try <= most; try++ {
		x := newTransfer(src, partsOnly{dst, tr.dst}, work.Object{Key: key, Size: in.Size, ETag: in.ETag})
		x.sizes, x.options, x.again = byzantineSizes, tr.options, try > 1
		out, err := x.run(t.Context())
		tr.mu.Lock()
		tr.tries++
		if err != nil {
			tr.alarms[storage.FaultOf(err)]++
		} else {
			tr.copied++
			tr.proofs[out.Proof]++
			if out.Reason == "present" {
				tr.present++
			}
		}
		tr.mu.Unlock()
		if err != nil {
			if f := storage.FaultOf(err); !f.Retryable() {
				t.Errorf("%s: %v, want a fault that is tried again", key, err)
				return
			}
			continue
		}
		if got := content(t, tr.dst.honest(), key); out.Outcome != work.Copied || !bytes.Equal(got, tr.want[key]) {
			t.Errorf("%s was called %+v, and %d other bytes stand at the target", key, out, len(got))
		}
		return
	}
	t.Errorf("%s did not arrive in %d tries", key, most)
}

func (tr *trial) log(t *testing.T) (injected int) {
	for name, b := range map[string]*byzantine{"source": tr.src, "target": tr.dst} {
		for _, kind := range slices.Sorted(maps.Keys(b.struck)) {
			t.Logf("%s: %-10s %5d injections", name, kind, b.struck[kind])
			injected += b.struck[kind]
		}
	}
	t.Logf("%d objects, %d tries, %d injections, %d copied with right bytes (%d found present), alarms %v, proofs %v",
		len(tr.want), tr.tries, injected, tr.copied, tr.present, tr.alarms, tr.proofs)
	return injected
}

// However stores lie, no object with wrong bytes is called copied. At level
// checksum the target must be honest about what it stored; when it is read back
// it need not even be that.
func TestByzantineStores(t *testing.T) {
	t.Parallel()
	for _, level := range []work.Verify{work.VerifyChecksum, work.VerifyReadback} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, level, 0.5, level == work.VerifyReadback)
			tr.run(t)
			if n := tr.log(t); n < 2000 {
				t.Errorf("%d lies, want thousands", n)
			}
			for _, kind := range strings.Fields(readKinds) {
				if tr.src.struck[kind] == 0 || level == work.VerifyReadback && tr.dst.struck[kind] == 0 {
					t.Errorf("%s never struck", kind)
				}
			}
			for _, kind := range []string{garbled, lost, falseSum, falseETag, swapped, duplicated, unfinished} {
				if tr.dst.struck[kind] == 0 {
					t.Errorf("%s never struck", kind)
				}
			}
			if tr.alarms[work.Corrupt] == 0 || tr.alarms[work.Transient] == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

// Where nobody lies there is no alarm, and everything is proven.
func TestHonestStoresRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	for _, level := range []work.Verify{work.VerifyChecksum, work.VerifyReadback} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, level, 0, false)
			tr.run(t)
			tr.log(t)
			if n := len(tr.want); len(tr.alarms) != 0 || tr.tries != n || tr.proofs["crc32c"] != n {
				t.Errorf("%d objects in %d tries with alarms %v and proofs %v", n, tr.tries, tr.alarms, tr.proofs)
			}
		})
	}
}

// Out of reach of any check: a source that vouches for nothing and serves other
// bytes under the right ETag and length. Then the proof says that the source
// did not vouch for them.
//
// Out of reach of level checksum: a target that vouches for what it was sent and
// has stored something else. Reading it back finds it. What it might then serve
// from another place than it stores is again out of reach.
func TestWhatNoCheckCanFind(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 50 << 10} {
		for _, level := range []work.Verify{work.VerifyChecksum, work.VerifyReadback} {
			t.Run(fmt.Sprint("stale source ", level, size), func(t *testing.T) {
				t.Parallel()
				src, dst := newByzantine(1, 1), memstore.New()
				in := put(t, src.honest(), "k", storagetest.Bytes(1, size))
				for src.struck[stale] == 0 {
					tr := newTransfer(silent(src), noCopy(dst), work.Object{Key: "k", Size: in.Size, ETag: in.ETag})
					tr.options.Verify = level
					out, err := carry(t, tr)
					if src.struck[stale] == 0 {
						continue // some other lie
					}
					if err != nil || bytes.Equal(content(t, dst, "k"), storagetest.Bytes(1, size)) {
						t.Errorf("%+v, %v: it was found, or did not happen", out, err)
					}
					if !work.Weak(out.Proof) && !strings.HasSuffix(out.Proof, work.ProofOfTarget) {
						t.Errorf("proof %s, although the source vouches for nothing", out.Proof)
					}
				}
			})
		}
		t.Run(fmt.Sprint("perjured target ", size), func(t *testing.T) {
			t.Parallel()
			src, dst := memstore.New(), newByzantine(1, 1)
			dst.perjury = true
			obj := object(t, src, "k", storagetest.Bytes(1, size))
			wrote := func(level work.Verify) (work.ObjectOutcome, error) {
				for before := dst.struck[garbled]; ; {
					dst.rate = 1
					tr := newTransfer(src, readsWell{dst}, obj)
					tr.options.Verify = level
					out, err := carry(t, tr)
					if dst.struck[garbled] > before {
						return out, err
					}
				}
			}
			if out, err := wrote(work.VerifyChecksum); err != nil || bytes.Equal(content(t, dst.honest(), "k"), storagetest.Bytes(1, size)) {
				t.Errorf("%+v, %v: it was found by a checksum, or did not happen", out, err)
			}
			if out, err := wrote(work.VerifyReadback); !storage.Is(err, work.Corrupt) {
				t.Errorf("%+v, %v, want it found by reading back", out, err)
			}
		})
	}
}

// readsWell lies when it writes alone.
type readsWell struct{ *byzantine }

func (r readsWell) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	return r.honest().Get(ctx, key, etag, off, n)
}

// CopyFrom copies nothing: the object is to be carried.
func (r readsWell) CopyFrom(context.Context, string, storage.Store, storage.Info, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, &storage.Error{Op: "copy", Store: "byzantine", Fault: work.Unsupported, Err: errors.New("not here")}
}
