package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func scanItem(attempt int, after, upto string) work.Item {
	return work.Item{
		Job: 1, ID: 2, Kind: work.Scan, Epoch: 1, Attempt: attempt,
		Options: work.Options{MaxAttempts: 3}, Range: &work.Range{After: after, Upto: upto},
	}
}

func found(keys string) []work.Found {
	var out []work.Found
	for _, k := range strings.Fields(keys) {
		f := work.Found{Object: work.Object{Key: strings.TrimSuffix(k, "*"), Size: 1}}
		if strings.HasSuffix(k, "*") {
			f.Skip = "etag"
		}
		out = append(out, f)
	}
	return out
}

// sketch renders a verdict so that a table can hold it: the state and the
// cursor, then each item with its keys or its range.
func sketch(v work.Verdict) string {
	if v.State == "" {
		return "nothing"
	}
	words := []string{string(v.State) + "@" + v.Cursor}
	for _, it := range v.Items {
		switch {
		case it.Kind == work.Scan:
			words = append(words, "scan("+it.Range.After+","+it.Range.Upto+"]")
		case it.Outcomes != nil:
			words = append(words, "skip"+keysOf(it))
		default:
			words = append(words, "copy"+keysOf(it))
		}
	}
	return strings.Join(words, " ")
}

func keysOf(it work.NewItem) string {
	keys := make([]string, len(it.Objects))
	for i, o := range it.Objects {
		keys[i] = o.Key
	}
	return "[" + strings.Join(keys, " ") + "]"
}

func TestDecidePage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		after, upto string // of the item: what is left
		page        work.Page
		want        string
	}{
		{"first page", "", "", work.Page{Range: work.Range{Upto: "c"}, Found: found("a b c")}, "queued@c copy[a b c]"},
		{"next page", "c", "", work.Page{Range: work.Range{After: "c", Upto: "f"}, Found: found("d f")}, "queued@f copy[d f]"},
		{"page without objects", "c", "", work.Page{Range: work.Range{After: "c", Upto: "f"}}, "queued@f"},
		{"repeat", "c", "", work.Page{Range: work.Range{Upto: "c"}, Found: found("a b c")}, "nothing"},
		{"earlier page", "f", "", work.Page{Range: work.Range{Upto: "c"}, Found: found("a b c")}, "nothing"},
		{"gap", "c", "", work.Page{Range: work.Range{After: "f", Upto: "h"}, Found: found("g h")}, "nothing"},
		{"gap before the last page", "c", "", work.Page{Range: work.Range{After: "f"}, Last: true, Found: found("g h")}, "nothing"},
		{"overlap", "c", "", work.Page{Range: work.Range{After: "b", Upto: "e"}, Found: found("c d e")}, "queued@e copy[d e]"},
		{"overlap that adds no object", "c", "", work.Page{Range: work.Range{After: "", Upto: "e"}, Found: found("a b")}, "queued@e"},
		{"skipped objects", "", "", work.Page{Range: work.Range{Upto: "d"}, Found: found("a* b c* d")}, "queued@d copy[b d] skip[a c]"},
		{"empty source", "", "", work.Page{Last: true}, "done@"},
		{"all in one page", "", "", work.Page{Last: true, Found: found("a b")}, "done@b copy[a b]"},
		{"last page", "c", "", work.Page{Range: work.Range{After: "c"}, Last: true, Found: found("d")}, "done@d copy[d]"},
		{"last page of a bounded scan", "c", "m", work.Page{Range: work.Range{After: "c", Upto: "m"}, Last: true, Found: found("d")}, "done@m copy[d]"},
		{"last page to the end of a bounded scan", "c", "m", work.Page{Range: work.Range{After: "c"}, Last: true, Found: found("d")}, "done@m copy[d]"},
		{"last page that ends at the cursor", "m", "m", work.Page{Range: work.Range{After: "m", Upto: "m"}, Last: true}, "done@m"},
		{"last page overlapping", "c", "", work.Page{Range: work.Range{After: "a"}, Last: true, Found: found("b c d")}, "done@d copy[d]"},
		{"last page of long ago", "m", "", work.Page{Range: work.Range{Upto: "c"}, Last: true, Found: found("a"), Rest: []work.Range{{After: "c"}}}, "nothing"},
		{"rest", "", "", work.Page{Range: work.Range{Upto: "c"}, Last: true, Found: found("a"), Rest: []work.Range{{After: "c"}}},
			"done@c scan(c,] copy[a]"},
		{"rest in parts", "a", "z", work.Page{Range: work.Range{After: "a", Upto: "c"}, Last: true,
			Rest: []work.Range{{After: "c", Upto: "m"}, {After: "m", Upto: "z"}}}, "done@c scan(c,m] scan(m,z]"},
		{"rest forgotten", "a", "z", work.Page{Range: work.Range{After: "a", Upto: "c"}, Last: true}, "done@c scan(c,z]"},
		{"rest with a gap", "a", "", work.Page{Range: work.Range{After: "a", Upto: "c"}, Last: true,
			Rest: []work.Range{{After: "c", Upto: "m"}, {After: "n"}}}, "done@c scan(c,]"},
		{"rest that ends early", "a", "", work.Page{Range: work.Range{After: "a", Upto: "c"}, Last: true,
			Rest: []work.Range{{After: "c", Upto: "m"}}}, "done@c scan(c,]"},
		{"rest that runs back", "a", "p", work.Page{Range: work.Range{After: "a", Upto: "c"}, Last: true,
			Rest: []work.Range{{After: "c", Upto: "z"}, {After: "z", Upto: "p"}}}, "done@c scan(c,p]"},
		{"rest beyond the end", "a", "p", work.Page{Range: work.Range{After: "a", Upto: "p"}, Last: true,
			Rest: []work.Range{{After: "p"}}}, "done@p"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := full.Decide(scanItem(2, tt.after, tt.upto), work.Result{Kind: work.Scan, Page: &tt.page})
			if sketch(got) != tt.want {
				t.Errorf("Decide = %s, want %s", sketch(got), tt.want)
			}
			for _, it := range got.Items {
				if it.Attempt != 1 || it.Delay != 0 {
					t.Errorf("new item has attempt %d and delay %v, want the first at once", it.Attempt, it.Delay)
				}
			}
		})
	}
}

func TestSkippedObjectsAreBornDone(t *testing.T) {
	t.Parallel()
	page := work.Page{Last: true, Found: []work.Found{
		{Object: work.Object{Key: "a", Size: work.MaxItemBytes}, Skip: "etag"},
		{Object: work.Object{Key: "b", Size: work.MaxItemBytes}, Skip: "size"},
	}}
	got := full.Decide(scanItem(1, "", ""), work.Result{Page: &page}).Items
	want := []work.NewItem{{
		Kind: work.Copy, Attempt: 1, Objects: []work.Object{page.Found[0].Object, page.Found[1].Object},
		Outcomes: []work.ObjectOutcome{{Outcome: work.Skipped, Reason: "etag"}, {Outcome: work.Skipped, Reason: "size"}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("items = %+v, want %+v", got, want)
	}
}

func TestDecideFailedScan(t *testing.T) {
	t.Parallel()
	again := func(attempt int, d time.Duration, f work.Fault, text string) work.Verdict {
		return work.Verdict{State: work.Done, Cursor: "c", Fault: f, Error: text, Items: []work.NewItem{
			{Kind: work.Scan, Attempt: attempt, Delay: d, Range: &work.Range{After: "c", Upto: "m"}}}}
	}
	defect := func(text string) work.Verdict { return again(2, 5*time.Second, work.Internal, "agent "+text) }
	dead := func(f work.Fault, text string) work.Verdict {
		return work.Verdict{State: work.Dead, Cursor: "c", Fault: f, Error: text}
	}
	page := func(p work.Page) work.Result { return work.Result{Kind: work.Scan, Page: &p} }
	tests := []struct {
		name    string
		attempt int
		result  work.Result
		want    work.Verdict
	}{
		{"passing", 1, work.Result{Fault: work.Transient, Error: "no"}, again(2, 2*time.Second, work.Transient, "no")},
		{"throttled", 2, work.Result{Fault: work.Throttled, Error: "no"}, again(2, 20*time.Second, work.Throttled, "no")}, // it costs no attempt
		{"throttled at the last attempt", 3, work.Result{Fault: work.Throttled, Error: "no"}, again(3, 40*time.Second, work.Throttled, "no")},
		{"exhausted", 3, work.Result{Fault: work.Transient, Error: "no"}, dead(work.Transient, "after 3 attempts: no")},
		{"denied", 1, work.Result{Fault: work.Denied, Error: "no"}, dead(work.Denied, "no")},
		{"no page", 1, work.Result{}, defect("reported a scan without a page")},
		{"no end", 1, page(work.Page{Range: work.Range{After: "c"}, Found: found("d")}), defect("reported a page after c that ends nowhere")},
		{"disorder", 1, page(work.Page{Range: work.Range{After: "c", Upto: "g"}, Found: found("e d")}), defect("listed d out of order or outside of its page")},
		{"twice", 1, page(work.Page{Range: work.Range{After: "c", Upto: "g"}, Found: found("e e")}), defect("listed e out of order or outside of its page")},
		{"before the page", 1, page(work.Page{Range: work.Range{After: "c", Upto: "g"}, Found: found("c e")}), defect("listed c out of order or outside of its page")},
		{"behind the page", 1, page(work.Page{Range: work.Range{After: "c", Upto: "g"}, Found: found("d h")}), defect("listed h out of order or outside of its page")},
		{"behind the item", 1, page(work.Page{Range: work.Range{After: "c"}, Last: true, Found: found("d n")}), defect("listed n out of order or outside of its page")},
		{"page behind the item", 1, page(work.Page{Range: work.Range{After: "c", Upto: "n"}, Found: found("d")}), defect("reported a page up to n of a scan up to m")},
		{"negative size", 1, page(work.Page{Range: work.Range{After: "c", Upto: "g"},
			Found: []work.Found{{Object: work.Object{Key: "d", Size: -1}}}}), defect("listed d with size -1")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := full.Decide(scanItem(tt.attempt, "c", "m"), tt.result); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decide = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestEarly(t *testing.T) {
	t.Parallel()
	page := func(after string) work.Result {
		return work.Result{Kind: work.Scan, Page: &work.Page{Range: work.Range{After: after, Upto: "z"}}}
	}
	if !Early(scanItem(1, "c", ""), page("d")) {
		t.Error("a page behind the cursor is not early")
	}
	if Early(scanItem(1, "c", ""), page("c")) || Early(copyItem(1, "a"), page("d")) ||
		Early(scanItem(1, "c", ""), work.Result{Fault: work.Denied}) {
		t.Error("a page at the cursor, a copy or a failure is early")
	}
}
