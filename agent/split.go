package agent

import (
	"github.com/tranship/tranship/internal/work"
)

// mostCuts is how many cuts are made in what a scan leaves over.
const mostCuts = 3

// leave cuts what a scan leaves over into ranges for new scan items, so that
// agents can list side by side.
//
// first and last are the ends of the keys that were seen; the rest begins
// behind last and goes up to upto.
func leave(first, last, upto string) []work.Range {
	if upto != "" && last >= upto {
		return nil
	}
	var rest []work.Range
	at := last
	for _, cut := range cuts(first, last, upto) {
		rest = append(rest, work.Range{After: at, Upto: cut})
		at = cut
	}
	return append(rest, work.Range{After: at, Upto: upto})
}

// cuts guesses keys that divide what lies between last and upto, in ascending
// order. They are plain text and lie strictly between the two.
//
// Keys mostly count up: in digits or letters, at the place where the first and
// the last key that were seen begin to differ, and more slowly at the places
// before it. A cut is made at each of these, halfway between the byte that
// stands there now and the last of its kind. Only if that byte is the last of
// its kind everywhere, one is made halfway through all printable bytes.
func cuts(first, last, upto string) []string {
	differ := 0
	for differ < len(first) && differ < len(last) && first[differ] == last[differ] {
		differ++
	}
	var found []string
	for i := min(differ, len(last)-1); i >= 0 && len(found) < mostCuts; i-- {
		if cut, ok := between(last, upto, i, lastOfKind(last[i])); ok {
			found = append(found, cut)
		}
	}
	for i := min(differ, len(last)); i >= 0 && len(found) == 0; i-- {
		if cut, ok := between(last, upto, i, '~'); ok {
			found = append(found, cut)
		}
	}
	return found
}

// between returns last cut off before place i and followed by one byte that
// lies halfway between last's byte at i and high, or upto's byte if that is
// nearer.
func between(last, upto string, i int, high byte) (string, bool) {
	low := byte(' ')
	if i < len(last) {
		low = last[i]
	}
	if len(upto) > i && upto[:i] == last[:min(i, len(last))] {
		high = min(high, upto[i])
	}
	if high <= low || high > '~' {
		return "", false
	}
	for _, b := range []byte{low + (high-low+1)/2, low + (high-low)/2} {
		mid := last[:i] + string(rune(b))
		if mid > last && (upto == "" || mid < upto) && work.IsText(mid) {
			return mid, true
		}
	}
	return "", false
}

// lastOfKind returns the last byte of the kind that b is of: a digit or a
// letter. Other bytes are a kind of their own.
func lastOfKind(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return '9'
	case 'a' <= b && b <= 'z':
		return 'z'
	case 'A' <= b && b <= 'Z':
		return 'Z'
	}
	return b
}
