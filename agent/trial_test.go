package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// trialSizes let objects of a few KiB go all ways: a trial keeps four versions
// of each in memory.
var trialSizes = sizes{held: 4 << 10, whole: 16 << 10, part: 4 << 10, split: 4 << 10}

// newSeed returns the seed of this run and prints it.
func newSeed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("TRANSHIP_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("TRANSHIP_SEED: %v", err)
		}
		seed = v
	}
	t.Logf("TRANSHIP_SEED=%d", seed)
	return seed
}

// A trial moves many objects between two faulty stores. What goes wrong depends
// on the seed alone: each object is moved by one goroutine, and its parts one
// after the other.
type trial struct {
	options            work.Options
	src, dst           storage.Store // faulty
	held, kept         storage.Store // those behind them, which are not
	srcRates, dstRates rates         // filled once all objects are there
	srcTally, dstTally storagetest.Tally
	sizes              []int // of the objects; their content follows from their number
	vouched            vouched

	mu                     sync.Mutex
	tries, shared, present int
	alarms                 map[work.Fault]int
	proofs                 map[string]int
}

// newTrial stores objects that go all ways. All were something else before at
// the source, and of those with bytes half are at the target.
func newTrial(t testing.TB, seed uint64, level work.Verify) *trial {
	t.Helper()
	tr := &trial{options: work.DefaultOptions(), held: memstore.New(), kept: memstore.New(),
		srcRates: rates{}, dstRates: rates{}, alarms: map[work.Fault]int{}, proofs: map[string]int{}}
	tr.options.Verify, tr.options.Split = level, trialSizes.whole
	faults := storagetest.Faults{Remember: true, After: time.Second}
	faults.Seed, faults.Rates, faults.Tally = seed, tr.srcRates, &tr.srcTally
	tr.src = storagetest.Faulty(tr.held, faults)
	faults.Seed, faults.Rates, faults.Tally = seed+1, tr.dstRates, &tr.dstTally
	tr.dst = partsOnlyOf(storagetest.Faulty(tr.kept, faults))
	r := rand.New(rand.NewPCG(seed, 0))
	for _, x := range []struct{ n, least, most int }{
		{10, 0, 1},
		{1600, 1, int(trialSizes.held)},
		{200, int(trialSizes.held), int(trialSizes.whole)},
		{100, int(trialSizes.whole) + 1, 2 * int(trialSizes.whole)},
	} {
		for range x.n {
			i, size := len(tr.sizes), x.least+r.IntN(x.most-x.least)
			tr.sizes = append(tr.sizes, size)
			put(t, tr.src, keyOf(i), storagetest.Bytes(1_000_000+i, size))
			put(t, tr.src, keyOf(i), tr.content(i))
			if i%2 == 0 && size > 0 {
				put(t, tr.dst, keyOf(i), storagetest.Bytes(2_000_000+i, size))
			}
		}
	}
	return tr
}

func keyOf(i int) string { return fmt.Sprintf("k%05d", i) }

func (tr *trial) content(i int) []byte { return storagetest.Bytes(i, tr.sizes[i]) }

// run moves every object while the stores fail in the given ways.
func (tr *trial) run(t *testing.T, src, dst rates) {
	maps.Copy(tr.srcRates, src)
	maps.Copy(tr.dstRates, dst)
	next := make(chan int)
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for i := range next {
				tr.move(t, i)
			}
		})
	}
	for i := range tr.sizes {
		next <- i
	}
	close(next)
	streams.Wait()
}

// move moves an object, trying again as a job would, until it is called copied.
func (tr *trial) move(t *testing.T, i int) {
	const most = 200
	in, err := tr.held.Stat(t.Context(), keyOf(i))
	if err != nil {
		t.Error(err)
		return
	}
	obj := work.Object{Key: in.Key, Size: in.Size, ETag: in.ETag, Check: i%2 == 0 && in.Size > 0} // as a scan would say
	for try := 1; try <= most; try++ {
		way := tr.copy
		if i%3 != 0 && in.Size >= tr.options.Split {
			way = tr.ship
		}
		out, err := way(t, obj, try > 1)
		tr.note(out, err)
		switch {
		case err == nil:
			if got := content(t, tr.kept, obj.Key); out.Outcome != work.Copied || !bytes.Equal(got, tr.content(i)) {
				t.Errorf("%s was called %+v, and %d other bytes stand at the target", obj.Key, out, len(got))
			}
			return
		case !errors.Is(err, errRefused) && !storage.FaultOf(err).Retryable():
			t.Errorf("%s: %v, want a fault that is tried again", obj.Key, err)
			return
		}
	}
	t.Errorf("%s did not arrive in %d tries", obj.Key, most)
}

// note counts what came of one try.
func (tr *trial) note(out work.ObjectOutcome, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.tries++
	switch {
	case errors.Is(err, errRefused):
		tr.alarms["refused"]++
	case err != nil:
		tr.alarms[storage.FaultOf(err)]++
	default:
		tr.proofs[out.Proof]++
		if out.Reason == "present" {
			tr.present++
		}
	}
}

func (tr *trial) transfer(obj work.Object, again bool) *transfer {
	x := newTransfer(tr.src, tr.dst, obj)
	x.sizes, x.options, x.again = trialSizes, tr.options, again
	x.streams = semaphore.NewWeighted(0)
	return x
}

// copy does what an agent does for a copy item.
func (tr *trial) copy(t *testing.T, obj work.Object, again bool) (work.ObjectOutcome, error) {
	return tr.transfer(obj, again).run(t.Context())
}

// ship does what agents do for a begin item and all that follows from it.
func (tr *trial) ship(t *testing.T, obj work.Object, again bool) (work.ObjectOutcome, error) {
	var o opening
	x := tr.transfer(obj, again)
	x.carrier, x.opening = x.forBegin(tr.options), &o
	out, err := x.run(t.Context())
	if err != nil || out.Outcome != work.Begun {
		return out, err
	}
	tr.mu.Lock()
	tr.shared++
	tr.mu.Unlock()
	it := work.Item{Kind: work.Part, Upload: &o.upload}
	for it.N = 1; it.N <= o.upload.Parts(o.object.Size) && err == nil; it.N++ {
		var p work.StoredPart
		err = tr.insist(func(bool) (err error) {
			p, err = tr.transfer(o.object, false).storePart(t.Context(), it, &tr.vouched)
			return err
		})
		it.Parts = append(it.Parts, p)
	}
	if err == nil {
		err = tr.insist(func(again bool) (err error) {
			out, err = tr.transfer(o.object, again).finish(t.Context(), it)
			return err
		})
	}
	if err != nil { // what the abort comes to changes nothing
		_ = tr.transfer(o.object, false).giveUp(t.Context(), it)
	}
	return out, err
}

// insist does an item again as the ledger would while its upload is good.
func (tr *trial) insist(do func(again bool) error) error {
	for try := 1; ; try++ {
		err := do(try > 1)
		switch {
		case err == nil, try >= 3, errors.Is(err, errGone), storage.Is(err, work.Corrupt), storage.Is(err, work.SrcChanged):
			return err
		}
	}
}

// possible reports whether a kind of fault can strike at an end.
func (tr *trial) possible(end *storagetest.Tally, k storagetest.Kind) bool {
	reading := []storagetest.Kind{storagetest.Broken, storagetest.Short, storagetest.Long, storagetest.Flipped, storagetest.Stale}
	writing := []storagetest.Kind{storagetest.Garbled, storagetest.Kept, storagetest.Swapped, storagetest.Doubled,
		storagetest.Truncated, storagetest.Perjured}
	if end == &tr.srcTally {
		return !slices.Contains(writing, k)
	}
	return tr.options.Verify == work.VerifyReadback || !slices.Contains(reading, k)
}

// log prints what happened, and returns how often a store failed and how often
// that was a lie.
func (tr *trial) log(t *testing.T) (injected, lies int) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(more(tr.srcRates, tr.dstRates))) {
		src, dst := tr.srcTally.Struck(k), tr.dstTally.Struck(k)
		injected += src + dst
		if _, ok := failing[k]; !ok {
			lies += src + dst
		}
		t.Logf("%-11s %5d at the source, %5d at the target", k, src, dst)
	}
	copied := 0
	for _, n := range tr.proofs {
		copied += n
	}
	t.Logf("%d objects, %d tries, %d uploads shared, %d injections, %d of them lies, %d called copied (%d found present), alarms %v, proofs %v",
		len(tr.sizes), tr.tries, tr.shared, injected, lies, copied, tr.present, tr.alarms, tr.proofs)
	return injected, lies
}
