package cli

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// A sample keeps up to a number of things of which it is not known beforehand
// how many there are, each with the same chance. The choice is the same each
// time, so that two dry runs can be compared.
type sample[T any] struct {
	most   int
	seen   int
	kept   []kept[T]
	random *rand.Rand
}

// A kept thing knows its place among all.
type kept[T any] struct {
	at    int
	value T
}

func newSample[T any](most int) *sample[T] {
	return &sample[T]{most: most, random: rand.New(rand.NewPCG(1, 2))}
}

// add shows the sample the next thing.
func (s *sample[T]) add(v T) {
	at := s.seen
	s.seen++
	if len(s.kept) < s.most {
		s.kept = append(s.kept, kept[T]{at, v})
		return
	}
	if i := s.random.IntN(s.seen); i < s.most {
		s.kept[i] = kept[T]{at, v}
	}
}

// values returns what was kept, in the order in which it came.
func (s *sample[T]) values() []T {
	slices.SortFunc(s.kept, func(a, b kept[T]) int { return cmp.Compare(a.at, b.at) })
	values := make([]T, len(s.kept))
	for i, k := range s.kept {
		values[i] = k.value
	}
	return values
}
