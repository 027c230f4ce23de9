package agent

import (
	"fmt"
	"testing"

	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// Whatever fails on either side, and although an agent is killed, every object
// arrives, and none is called copied that did not.
func TestNothingIsLostWhateverFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inner := r.dst
	var list []work.Object
	want := map[string][]byte{}
	for i, size := range append(make([]int, 300), 70<<10, 100<<10, 400<<10) {
		if size == 0 {
			size = i * 50
		}
		key := fmt.Sprintf("k%05d", i)
		want[key] = storagetest.Bytes(i, size)
		list = append(list, object(t, r.src, key, want[key]))
	}
	var tally storagetest.Tally
	rates := map[storagetest.Kind]float64{}
	for _, k := range []storagetest.Kind{storagetest.Lost, storagetest.Applied, storagetest.Broken, storagetest.Short,
		storagetest.Flipped, storagetest.Garbled, storagetest.Throttled} {
		rates[k] = 0.03
	}
	r.src = storagetest.Faulty(r.src, storagetest.Faults{Seed: 1, Rates: rates, Tally: &tally})
	r.dst = partsOnlyOf(storagetest.Faulty(r.dst, storagetest.Faults{Seed: 2, Rates: rates, Tally: &tally}))

	open := map[work.ItemID]work.Item{}
	next := work.ItemID(0)
	hand := func(attempt int, objects []work.Object) {
		next++
		it := item(next, objects...)
		it.Attempt = attempt
		open[next] = it
		r.publish(it)
	}
	for i := 0; i < len(list); i += 10 {
		hand(1, list[i:min(i+10, len(list))])
	}
	first, retries := r.start(), 0
	r.start()
	for done := 0; len(open) > 0; done++ {
		for _, res := range r.results(func(rs []work.Result) bool { return len(rs) > 0 }) {
			it, ok := open[res.Item]
			if !ok {
				continue // reported twice
			}
			delete(open, res.Item)
			var again []work.Object
			for i, o := range res.Outcomes {
				switch {
				case o.Outcome == work.Retry:
					again = append(again, it.Objects[i])
				case o.Outcome != work.Copied:
					t.Errorf("%s: %+v", it.Objects[i].Key, o)
				case string(content(t, inner, it.Objects[i].Key)) != string(want[it.Objects[i].Key]):
					t.Fatalf("%s was called %+v with other bytes at the target", it.Objects[i].Key, o)
				}
			}
			if retries += len(again); len(again) > 0 {
				hand(it.Attempt+1, again)
			}
		}
		if done == 10 {
			first.Kill()
			first.wait(t)
			r.start()
		}
	}
	for key, w := range want {
		if string(content(t, inner, key)) != string(w) {
			t.Errorf("%s did not arrive", key)
		}
	}
	t.Logf("%d retries; %v", retries, &tally)
	for k := range rates {
		if tally.Struck(k) == 0 {
			t.Errorf("%s never struck", k)
		}
	}
}
