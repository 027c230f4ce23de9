package allot

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestDivide(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limit   int64
		holders []holder
		want    []int64
	}{
		"nobody":              {100, nil, []int64{}},
		"enough for all":      {100, []holder{{wants: 30}, {wants: 20}}, []int64{30, 20}},
		"too little for all":  {100, []holder{{wants: 100}, {wants: 80}}, []int64{50, 50}},
		"who wants little":    {100, []holder{{wants: 100}, {wants: 10}}, []int64{90, 10}},
		"more than fits":      {100, []holder{{held: 80, wants: 100}, {wants: 100}}, []int64{50, 20}},
		"once that is known":  {100, []holder{{held: 50, wants: 100}, {held: 20, wants: 100}}, []int64{50, 50}},
		"what the deaf have":  {100, []holder{{held: 60, wants: 0, deaf: true}, {wants: 100}}, []int64{60, 40}},
		"the deaf get none":   {100, []holder{{wants: 100, deaf: true}, {wants: 100}}, []int64{0, 100}},
		"a limit was lowered": {40, []holder{{held: 50, told: 50, wants: 100}, {held: 50, told: 10, wants: 100}, {wants: 40}}, []int64{13, 10, 0}},
	} {
		if got := divide(tt.limit, tt.holders); !slices.Equal(got, tt.want) {
			t.Errorf("%s: divide(%d, %+v) = %v, want %v", name, tt.limit, tt.holders, got, tt.want)
		}
	}
}

// Whatever is held and wanted, nothing is granted that anybody may have.
func TestDivideNeverExceeds(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		limit := 1 + rnd.Int64N(1<<rnd.IntN(50))
		holders := make([]holder, rnd.IntN(8))
		var held int64
		for i := range holders {
			h := &holders[i]
			*h = holder{wants: rnd.Int64N(2 * limit), deaf: rnd.IntN(4) == 0}
			if rnd.IntN(2) == 0 {
				h.held = rnd.Int64N(limit)
				h.told = rnd.Int64N(h.held + 1)
			}
			held += h.held
		}
		parts := divide(limit, holders)
		var may, told int64
		raised := false
		for i, h := range holders {
			may += max(parts[i], h.held)
			if h.deaf && parts[i] != h.held || !h.deaf && parts[i] > max(h.wants, 0) || parts[i] < 0 {
				t.Fatalf("divide(%d, %+v) = %v", limit, holders, parts)
			}
			if !h.deaf {
				told += parts[i]
			}
			raised = raised || !h.deaf && parts[i] > h.told
		}
		if may > max(limit, held) || told > limit || raised && may > limit {
			t.Fatalf("divide(%d, %+v) = %v: together %d, of which %d anew", limit, holders, parts, may, told)
		}
	}
}
