package agent

import (
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/work"
)

func TestCuts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		first, last, upto string
		want              []string
	}{
		{"digits count on, and letters before them", "img/000000", "img/019999", "", []string{"img/05", "img/5", "imq"}},
		{"the digit is used up", "img/000000", "img/099999", "", []string{"img/5", "imq", "it"}},
		{"capitals", "A1", "C1", "", []string{"O"}},
		{"within a bound", "img/000000", "img/019999", "img/05", []string{"img/03"}},
		{"below a distant bound", "img/000000", "img/019999", "img/zzz", []string{"img/05", "img/5"}},
		{"bound next door", "img/000000", "img/019999", "img/02", nil},
		{"nothing between", "a", "a", "a\x01", nil},
		{"no text", "\xff\x00", "\xff\x01", "", nil},
		{"behind all letters", "z", "z", "", []string{"zO"}},
		{"nothing seen", "", "", "", []string{"O"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := cuts(tt.first, tt.last, tt.upto); !slices.Equal(got, tt.want) {
				t.Errorf("cuts(%q, %q, %q) = %q, want %q", tt.first, tt.last, tt.upto, got, tt.want)
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

// Splitting again and again covers everything and comes to an end. It takes
// few scans more than one after the other would, and far fewer rounds where
// keys are text.
func TestSplittingCoversEverything(t *testing.T) {
	t.Parallel()
	makers := map[string]func(i int) string{
		"numbers": func(i int) string { return fmt.Sprintf("%08d", i) },
		"hex":     func(i int) string { return fmt.Sprintf("%08x", uint32(i)*2654435761) },
		"folders": func(i int) string { return fmt.Sprintf("photos/2024/%02d/%02d/IMG_%05d.jpg", i%12, i%31, i) },
		"words":   func(i int) string { return fmt.Sprintf("日本/%c%c/%c%d", 'a'+i%26, 'a'+i/26%26, 'A'+i/676%26, i) },
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
			scans, seen, rounds := 0, 0, 0
			for todo := []work.Range{{}}; len(todo) > 0; rounds++ {
				var next []work.Range
				for _, r := range todo {
					from, _ := slices.BinarySearch(sorted, r.After+"\x00")
					page := sorted[from:min(from+each, len(sorted))]
					for len(page) > 0 && !r.Contains(page[len(page)-1]) {
						page = page[:len(page)-1]
					}
					scans, seen = scans+1, seen+len(page)
					if len(page) == each {
						next = append(next, leave(page[0], page[each-1], r.Upto)...)
					}
				}
				if todo = next; rounds > total {
					t.Fatalf("%d scans and no end, %d of %d keys seen", scans, seen, len(sorted))
				}
			}
			pages := len(sorted) / each
			t.Logf("%d pages in %d scans in %d rounds", pages, scans, rounds)
			if seen != len(sorted) {
				t.Errorf("%d keys seen, want %d", seen, len(sorted))
			}
			if scans > 3*pages+2 || name != "binary" && rounds > pages/3 {
				t.Errorf("%d pages took %d scans in %d rounds", pages, scans, rounds)
			}
		})
	}
}
