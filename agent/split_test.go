package agent

import (
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/work"
)

func TestMiddle(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		first, last, upto string
		want              string // "": no middle
	}{
		{"digits count on", "img/000000", "img/019999", "", "img/05"},
		{"the digit is used up, the one before counts", "img/000000", "img/099999", "", "img/5"},
		{"folders", "a/x", "c/y", "", "o"},
		{"capitals", "A1", "C1", "", "O"},
		{"within a bound", "img/000000", "img/019999", "img/05", "img/03"},
		{"bound far away", "img/000000", "img/019999", "zzz", "img/05"},
		{"bound next door", "img/000000", "img/019999", "img/02", "img/05"},
		{"nothing between", "a", "a", "a\x01", ""},
		{"no text", "\xff\x00", "\xff\x01", "", ""},
		{"behind all letters", "z", "z", "", "|"},
		{"nothing seen", "", "", "", "O"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := middle(tt.first, tt.last, tt.upto)
			t.Logf("middle(%q, %q, %q) = %q", tt.first, tt.last, tt.upto, got)
			if tt.name == "bound next door" { // whatever it is, it must lie between
				if ok && (got <= tt.last || got >= tt.upto) {
					t.Errorf("middle = %q, not between", got)
				}
				return
			}
			if ok != (tt.want != "") || got != tt.want {
				t.Errorf("middle(%q, %q, %q) = %q, %v, want %q", tt.first, tt.last, tt.upto, got, ok, tt.want)
			}
		})
	}
}

// What a scan leaves over is exactly what it has not listed, in ranges that
// are plain to read.
func FuzzLeave(f *testing.F) {
	f.Add("img/000000", "img/019999", "")
	f.Add("a", "b", "c")
	f.Add("", "\x00", "\xff\xff")
	f.Add("x", "ü", "ü\x00")
	f.Fuzz(func(t *testing.T, first, last, upto string) {
		if first > last || last == "" || upto != "" && last > upto {
			t.Skip("no scan has seen these")
		}
		rest := leave(first, last, upto)
		if last == upto {
			if len(rest) != 0 {
				t.Errorf("leave(%q, %q, %q) = %+v, want nothing", first, last, upto, rest)
			}
			return
		}
		at := last
		for i, r := range rest {
			if r.After != at || (r.Upto == upto) != (i == len(rest)-1) || r.Upto != "" && r.Upto <= r.After {
				t.Errorf("leave(%q, %q, %q) = %+v", first, last, upto, rest)
			}
			if at = r.Upto; i < len(rest)-1 && (!work.IsText(at) || !utf8.ValidString(at)) {
				t.Errorf("middle %q is no text", at)
			}
		}
		if len(rest) == 0 {
			t.Errorf("leave(%q, %q, %q) loses the rest", first, last, upto)
		}
	})
}

// Splitting again and again comes to an end, in few steps more than it takes
// to list everything, whatever the keys look like.
func TestSplittingCoversEverything(t *testing.T) {
	t.Parallel()
	makers := map[string]func(i int) string{
		"numbers": func(i int) string { return fmt.Sprintf("%08d", i) },
		"hex":     func(i int) string { return fmt.Sprintf("%08x", uint32(i)*2654435761) },
		"folders": func(i int) string { return fmt.Sprintf("photos/2024/%02d/%02d/IMG_%05d.jpg", i%12, i%31, i) },
		"binary":  func(i int) string { return string([]byte{0xff, byte(i >> 16), byte(i >> 8), byte(i)}) },
	}
	for name, key := range makers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const total, each = 20_000, 200
			keys := map[string]bool{}
			sorted := make([]string, 0, total)
			for i := range total {
				if k := key(i); !keys[k] {
					keys[k] = true
					sorted = append(sorted, k)
				}
			}
			slices.Sort(sorted)
			scans, seen := 0, 0
			todo := []work.Range{{}}
			for len(todo) > 0 {
				r := todo[0]
				todo = todo[1:]
				scans++
				n, first, last := 0, "", ""
				for _, k := range sorted {
					if r.Contains(k) && n < each {
						if n == 0 {
							first = k
						}
						n, last = n+1, k
					}
				}
				seen += n
				if n == each {
					todo = append(todo, leave(first, last, r.Upto)...)
				}
				if scans > 50*total/each {
					t.Fatalf("%d scans and no end, %d of %d keys seen", scans, seen, len(sorted))
				}
			}
			if seen != len(sorted) {
				t.Errorf("%d keys seen, want %d", seen, len(sorted))
			}
			t.Logf("%d scans; one after the other it would be %d", scans, len(sorted)/each)
			if scans > 4*len(sorted)/each {
				t.Errorf("%d scans for %d pages", scans, len(sorted)/each)
			}
		})
	}
}
