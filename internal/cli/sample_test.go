package cli

import (
	"slices"
	"testing"
)

func TestSample(t *testing.T) {
	t.Parallel()
	take := func(most, of int) []int {
		s := newSample[int](most)
		for i := range of {
			s.add(i)
		}
		return s.values()
	}
	for _, tt := range []struct{ most, of, want int }{{0, 10, 0}, {10, 0, 0}, {10, 10, 10}, {10, 9, 9}, {1000, 100_000, 1000}} {
		got := take(tt.most, tt.of)
		if len(got) != tt.want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("a sample of %d of %d has %d things, want %d different ones in order", tt.most, tt.of, len(got), tt.want)
		}
		if again := take(tt.most, tt.of); !slices.Equal(got, again) {
			t.Errorf("a sample of %d of %d differs from run to run", tt.most, tt.of)
		}
	}
	// Each tenth of all is there about as often.
	tenths := map[int]int{}
	for _, v := range take(1000, 100_000) {
		tenths[v/10_000]++
	}
	for i := range 10 {
		if tenths[i] < 60 || tenths[i] > 140 {
			t.Errorf("the sample has %d things of tenth %d, want about 100", tenths[i], i)
		}
	}
}
