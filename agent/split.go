package agent

import (
	"github.com/tranship/tranship/internal/work"
)

// leave cuts what a scan leaves over into ranges for new scan items: two where
// a plausible middle can be guessed, so that agents can list side by side.
//
// first and last are the ends of the keys that were seen; the rest begins
// behind last and goes up to upto.
func leave(first, last, upto string) []work.Range {
	if upto != "" && last >= upto {
		return nil
	}
	if mid, ok := middle(first, last, upto); ok {
		return []work.Range{{After: last, Upto: mid}, {After: mid, Upto: upto}}
	}
	return []work.Range{{After: last, Upto: upto}}
}

// middle guesses a key that halves what lies between last and upto. It is
// plain text and lies strictly between the two.
//
// Keys mostly count up: in digits or letters at the place where the first and
// the last key that were seen begin to differ. The guess is the middle between
// the byte that stands there now and the last of its kind; where that byte is
// the last of its kind, the place before it counts next. Only if no place is
// of that sort, the middle of all printable bytes is taken.
func middle(first, last, upto string) (string, bool) {
	differ := 0
	for differ < len(first) && differ < len(last) && first[differ] == last[differ] {
		differ++
	}
	for i := min(differ, len(last)-1); i >= 0; i-- {
		if mid, ok := between(last, upto, i, lastOfKind(last[i])); ok {
			return mid, true
		}
	}
	for i := min(differ, len(last)); i >= 0; i-- {
		if mid, ok := between(last, upto, i, '~'); ok {
			return mid, true
		}
	}
	return "", false
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
