package allot

import (
	"math/bits"
	"slices"
)

// A holder is an agent in view of one amount that is divided.
type holder struct {
	held  int64 // the most that it may still believe to be its own
	told  int64 // what it was told last; not more than held
	wants int64
	deaf  bool // it cannot be told anything now
}

// divide returns what each holder may have of a limit. What all of them then
// have, and what they may still believe to have, is not more than the limit, or
// than they have already: so what is taken from one is given to another only
// once it is known to have heard of that.
//
// Holders get what they want as long as that is enough, or else those that want
// most the same. While more may be held than the limit is, because that was
// lowered, nobody is told more than before, though it may be less than what it is
// held to have: any of what they were told since may count for each of them.
func divide(limit int64, holders []holder) []int64 {
	free, shared := limit, limit
	for _, h := range holders {
		free -= h.held
		if h.deaf {
			shared -= h.held
		}
	}
	level := waterline(max(shared, 0), holders)
	var missing int64
	parts := make([]int64, len(holders))
	for i, h := range holders {
		parts[i] = min(h.wants, level)
		if h.deaf {
			parts[i] = h.held
		}
		missing += max(0, parts[i]-h.held)
	}
	if missing <= free { // so free is not negative
		return parts
	}
	for i, h := range holders {
		switch more := parts[i] - h.held; {
		case free < 0 && !h.deaf:
			parts[i] = min(parts[i], h.told)
		case more > 0:
			parts[i] = h.held + portion(more, free, missing)
		}
	}
	return parts
}

// waterline returns the level up to which those that can be told anything may
// be given what they want, so that it is at most shared together.
func waterline(shared int64, holders []holder) int64 {
	var wants []int64
	for _, h := range holders {
		if !h.deaf {
			wants = append(wants, h.wants)
		}
	}
	slices.Sort(wants)
	for i, w := range wants {
		level := shared / int64(len(wants)-i)
		if w > level {
			return level
		}
		shared -= w
	}
	if len(wants) == 0 {
		return 0
	}
	return wants[len(wants)-1]
}

// portion returns n*part/whole, rounded down; part is less than whole.
func portion(n, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}
