package cli

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// infos returns a listing of keys that may end in an error.
func infos(keys string, err error) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, k := range strings.Fields(keys) {
			if !yield(storage.Info{Key: k}, nil) {
				return
			}
		}
		if err != nil {
			yield(storage.Info{}, err)
		}
	}
}

func TestPaired(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := []struct {
		name, source, target string
		serr, terr           error
		want                 string // + at the source alone, - at the target alone, = at both, . after the source's end
		err                  error
	}{
		{name: "nothing"},
		{name: "all sorts", source: "a c d", target: "b c e f", want: "+a -b =c +d -e. -f."},
		{name: "no target", source: "a b", want: "+a +b"},
		{name: "no source", target: "a b", want: "-a. -b."},
		{name: "equal", source: "a b", target: "a b", want: "=a =b"},
		{name: "source breaks", source: "a", target: "b", serr: broken, want: "+a", err: broken},
		{name: "source cannot be listed", target: "b", serr: broken, err: broken},
		{name: "target breaks", source: "a b", target: "a", terr: broken, want: "=a", err: broken},
		{name: "target cannot be listed", source: "a", terr: broken, err: broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			var failed error
			for p, err := range paired(infos(tt.source, tt.serr), infos(tt.target, tt.terr)) {
				if err != nil {
					failed = err
					continue
				}
				sort := map[bool]string{true: "+", false: "-"}[p.target == nil]
				if p.source != nil && p.target != nil {
					sort = "="
				}
				end := map[bool]string{true: "."}[p.over]
				got = append(got, fmt.Sprintf("%s%s%s", sort, p.key, end))
			}
			if strings.Join(got, " ") != tt.want || !errors.Is(failed, tt.err) {
				t.Errorf("pairs are %q, %v; want %q, %v", got, failed, tt.want, tt.err)
			}
		})
	}
}

// A target that is not there yet is empty; one that may not be listed is not.
func TestOrAbsent(t *testing.T) {
	t.Parallel()
	for fault, want := range map[work.Fault]bool{work.NotFound: true, work.Denied: false} {
		absent := false
		var failed error
		for _, err := range orAbsent(infos("", &storage.Error{Fault: fault, Err: errors.New("no")}), &absent) {
			failed = err
		}
		if absent != want || (failed == nil) != want {
			t.Errorf("%s: absent = %v, err = %v", fault, absent, failed)
		}
	}
}
