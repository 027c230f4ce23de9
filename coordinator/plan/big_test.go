package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// big is an item about one big object of three parts.
func big(kind work.Kind, attempt int) work.Item {
	it := copyItem(attempt, "big")
	it.Kind, it.Options.Split = kind, 1
	it.Objects[0].Size = 250
	if kind != work.Begin {
		it.Upload = &work.Upload{ID: "u", Part: 100}
	}
	if kind == work.Part {
		it.N = 2
	}
	return it
}

func TestDecideBegin(t *testing.T) {
	t.Parallel()
	item := big(work.Begin, 2)
	pinned := item.Objects[0]
	pinned.ETag, pinned.Size = "pinned", 301
	u := &work.Upload{ID: "u", Part: 100}
	got := full.Decide(item, work.Result{Kind: work.Begin, Object: &pinned, Upload: u})
	want := work.Verdict{
		State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Begun}}, Upload: u, Object: &pinned,
		Items: []work.NewItem{
			{Kind: work.Finish, Attempt: 2, Objects: []work.Object{pinned}},
			{Kind: work.Part, Attempt: 1, N: 1}, {Kind: work.Part, Attempt: 1, N: 2},
			{Kind: work.Part, Attempt: 1, N: 3}, {Kind: work.Part, Attempt: 1, N: 4},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Decide = %+v\nwant     %+v", got, want)
	}
	if got := full.Decide(item, work.Result{Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}}); got.State != work.Done || got.Upload != nil {
		t.Errorf("Decide of a copy in one go = %+v, want it done", got)
	}
	item.Objects = nil
	if got := full.Decide(item, work.Result{Kind: work.Begin, Object: &pinned, Upload: u}); got.State != "" {
		t.Errorf("Decide without the object = %+v, want no change", got)
	}
}

// TestDecideBeginAgain: what cannot be opened is begun again, whatever its size.
func TestDecideBeginAgain(t *testing.T) {
	t.Parallel()
	item := big(work.Begin, 1)
	o := item.Objects[0]
	other, empty := o, o
	other.Key, empty.Size = "other", 0
	upload := func(o *work.Object, id string, part int64) work.Result {
		return work.Result{Kind: work.Begin, Object: o, Upload: &work.Upload{ID: id, Part: part}}
	}
	afresh := o
	afresh.ETag = ""
	huge := o
	huge.Size = 1 << 62
	tests := []struct {
		name   string
		result work.Result
		fault  work.Fault
		object work.Object
	}{
		{"passing", work.Result{Fault: work.Transient}, work.Transient, o},
		{"changed", work.Result{Fault: work.SrcChanged}, work.SrcChanged, afresh},
		{"no object", upload(nil, "u", 100), work.Internal, o},
		{"another object", upload(&other, "u", 100), work.Internal, o},
		{"nothing in it", upload(&empty, "u", 100), work.Internal, o},
		{"no name", upload(&o, "", 100), work.Internal, o},
		{"no part size", upload(&o, "u", 0), work.Internal, o},
		{"a part size beyond all", upload(&huge, "u", 1<<63-1), work.Internal, o},
		{"too many parts", upload(&work.Object{Key: "big", Size: work.MaxParts + 1}, "u", 1), work.Internal, o},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := full.Decide(item, tt.result)
			if got.Upload != nil || len(got.Items) != 1 || len(got.Outcomes) != 1 || got.Outcomes[0].Fault != tt.fault {
				t.Fatalf("Decide = %+v, want it begun again after %s", got, tt.fault)
			}
			n := got.Items[0]
			if n.Kind != work.Begin || n.Attempt != 2 || !reflect.DeepEqual(n.Objects, []work.Object{tt.object}) {
				t.Errorf("new item %+v, want a begin of %+v", n, tt.object)
			}
		})
	}
}

// TestDecideKindOfRetries: objects tried again travel by their size, but one
// that changed, whose size is not known, as before.
func TestDecideKindOfRetries(t *testing.T) {
	t.Parallel()
	item := copyItem(1, "a", "b", "c", "d")
	item.Options.Split = 3 // objects have the sizes 1, 2, 3, 4
	again := work.ObjectOutcome{Outcome: work.Retry, Fault: work.Transient}
	changed := work.ObjectOutcome{Outcome: work.Changed}
	v := full.Decide(item, work.Result{Outcomes: []work.ObjectOutcome{again, again, again, changed}})
	var got []string
	for _, n := range v.Items {
		got = append(got, string(n.Kind)+keysOf(n))
	}
	if want := "begin[c] copy[a b] copy[d]"; strings.Join(got, " ") != want {
		t.Errorf("new items %s, want %s", got, want)
	}
	small := big(work.Begin, 1)
	small.Options.Split = 1000 // it shrank
	v = full.Decide(small, work.Result{Fault: work.Transient})
	if v.Items[0].Kind != work.Copy {
		t.Errorf("a small object is tried again as %s", v.Items[0].Kind)
	}
}

func TestDecidePart(t *testing.T) {
	t.Parallel()
	part := &work.StoredPart{N: 2, Tag: "t"}
	dead := func(f work.Fault, text string) work.Verdict {
		return work.Verdict{State: work.Dead, Fault: f, Error: text}
	}
	again := func(attempt int, d time.Duration, f work.Fault, text string) work.Verdict {
		return work.Verdict{State: work.Done, Fault: f, Error: text,
			Items: []work.NewItem{{Kind: work.Part, Attempt: attempt, Delay: d, N: 2}}}
	}
	tests := []struct {
		name    string
		attempt int
		result  work.Result
		want    work.Verdict
	}{
		{"stored", 1, work.Result{Part: part}, work.Verdict{State: work.Done, Part: part}},
		{"passing", 1, work.Result{Fault: work.Transient, Error: "no"}, again(2, 2*time.Second, work.Transient, "no")},
		{"corrupt", 2, work.Result{Fault: work.Corrupt, Error: "no"}, again(3, 4*time.Second, work.Corrupt, "no")},
		{"no part", 1, work.Result{}, again(2, 5*time.Second, work.Internal, "agent reported another part than 2")},
		{"another part", 1, work.Result{Part: &work.StoredPart{N: 1, Tag: "t"}}, again(2, 5*time.Second, work.Internal, "agent reported another part than 2")},
		{"exhausted", 3, work.Result{Fault: work.Corrupt, Error: "no"}, dead(work.Corrupt, "part 2: after 3 attempts: no")},
		{"throttled", 3, work.Result{Fault: work.Throttled, Error: "no"}, again(3, 40*time.Second, work.Throttled, "no")},
		{"denied", 1, work.Result{Fault: work.Denied, Error: "no"}, dead(work.Denied, "part 2: no")},
		{"changed", 1, work.Result{Fault: work.SrcChanged, Error: "no"}, dead(work.SrcChanged, "part 2: no")},
		{"upload gone", 1, work.Result{Fault: work.Transient, Error: "no", Gone: true}, dead(work.Transient, "part 2: no")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.result.Kind = work.Part
			if got := full.Decide(big(work.Part, tt.attempt), tt.result); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decide = %+v\nwant     %+v", got, tt.want)
			}
		})
	}
}

func TestDecideFinish(t *testing.T) {
	t.Parallel()
	one := func(o work.Outcome, f work.Fault) work.Result {
		return work.Result{Kind: work.Finish, Outcomes: []work.ObjectOutcome{{Outcome: o, Fault: f, Error: "no"}}}
	}
	whole := func(kind work.Kind, f work.Fault, gone bool) work.Result {
		return work.Result{Kind: kind, Fault: f, Error: "no", Gone: gone}
	}
	const kept, abandoned = false, true
	tests := []struct {
		name    string
		attempt int
		result  work.Result
		outcome work.Outcome
		fault   work.Fault
		next    work.Kind // empty: none
		abandon bool
	}{
		{"copied", 1, one(work.Copied, ""), work.Copied, "", "", kept},
		{"skipped", 1, one(work.Skipped, ""), work.Skipped, "", "", abandoned},
		{"passing", 1, whole(work.Finish, work.Transient, false), work.Retry, work.Transient, work.Finish, kept},
		{"passing, as an outcome", 1, one(work.Retry, work.Throttled), work.Retry, work.Throttled, work.Finish, kept},
		{"our defect", 1, whole(work.Finish, work.Internal, false), work.Retry, work.Internal, work.Finish, kept},
		{"no outcome", 1, work.Result{Kind: work.Finish}, work.Retry, work.Internal, work.Finish, kept},
		{"begun", 1, one(work.Begun, ""), work.Retry, work.Internal, work.Finish, kept},
		{"corrupt", 1, one(work.Failed, work.Corrupt), work.Retry, work.Corrupt, work.Begin, abandoned},
		{"gone", 1, whole(work.Finish, work.Transient, true), work.Retry, work.Transient, work.Begin, abandoned},
		{"gone, called not found", 1, whole(work.Finish, work.NotFound, true), work.Retry, work.Transient, work.Begin, abandoned},
		{"changed", 1, whole(work.Finish, work.SrcChanged, false), work.Changed, work.SrcChanged, work.Begin, abandoned},
		{"denied", 1, whole(work.Finish, work.Denied, false), work.Failed, work.Denied, "", abandoned},
		{"exhausted", 3, whole(work.Finish, work.Transient, false), work.Failed, work.Transient, "", abandoned},
		{"gone and exhausted", 3, whole(work.Finish, work.Transient, true), work.Failed, work.Transient, "", abandoned},
		{"changed and exhausted", 3, one(work.Changed, ""), work.Failed, work.SrcChanged, "", abandoned},
		{"a part is dead", 1, whole(work.Part, work.Denied, false), work.Failed, work.Denied, "", abandoned},
		{"a part is exhausted", 1, whole(work.Part, work.Transient, false), work.Failed, work.Transient, "", abandoned},
		{"a part is corrupt again and again", 1, whole(work.Part, work.Corrupt, false), work.Failed, work.Corrupt, "", abandoned},
		{"gone under a part", 1, whole(work.Part, work.Transient, true), work.Retry, work.Transient, work.Begin, abandoned},
		{"changed under a part", 1, whole(work.Part, work.SrcChanged, false), work.Changed, work.SrcChanged, work.Begin, abandoned},
		{"changed under a part, exhausted", 3, whole(work.Part, work.SrcChanged, false), work.Failed, work.SrcChanged, "", abandoned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			item := big(work.Finish, tt.attempt)
			got := full.Decide(item, tt.result)
			if got.State != work.Done || len(got.Outcomes) != 1 || got.Abandon != tt.abandon || got.Upload != nil ||
				got.Outcomes[0].Outcome != tt.outcome || got.Outcomes[0].Fault != tt.fault {
				t.Fatalf("Decide = %+v, want %s %s, abandoned %t", got, tt.outcome, tt.fault, tt.abandon)
			}
			if tt.next == "" {
				if len(got.Items) != 0 {
					t.Errorf("new items %+v, want none", got.Items)
				}
				return
			}
			want := item.Objects[0]
			if tt.fault == work.SrcChanged {
				want.ETag = ""
			}
			if len(got.Items) != 1 || got.Items[0].Kind != tt.next || got.Items[0].Attempt != next(tt.fault, tt.attempt) ||
				got.Items[0].Delay == 0 || !reflect.DeepEqual(got.Items[0].Objects, []work.Object{want}) {
				t.Errorf("new items %+v, want a %s of %+v", got.Items, tt.next, want)
			}
		})
	}
	without := big(work.Finish, 1)
	without.Objects = nil
	if got := full.Decide(without, one(work.Copied, "")); got.State != work.Done {
		t.Errorf("Decide of a success without the object = %+v, want done", got)
	}
	if got := full.Decide(without, whole(work.Finish, work.Denied, false)); got.State != "" {
		t.Errorf("Decide of a failure without the object = %+v, want no change", got)
	}
}

func TestDecideAbort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attempt int
		fault   work.Fault
		want    work.Verdict
	}{
		{1, "", work.Verdict{State: work.Done}},
		{1, work.NotFound, work.Verdict{State: work.Done}},
		{1, work.Throttled, work.Verdict{State: work.Done, Fault: work.Throttled, Error: "no", Items: []work.NewItem{{Kind: work.Abort, Attempt: 1, Delay: 10 * time.Second}}}},
		{3, work.Transient, work.Verdict{State: work.Dead, Fault: work.Transient, Error: "after 3 attempts: no"}},
		{1, work.Denied, work.Verdict{State: work.Dead, Fault: work.Denied, Error: "no"}},
	}
	for _, tt := range tests {
		got := full.Decide(big(work.Abort, tt.attempt), work.Result{Kind: work.Abort, Fault: tt.fault, Error: "no"})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Decide(attempt %d, %q) = %+v, want %+v", tt.attempt, tt.fault, got, tt.want)
		}
	}
}

func TestFoundThatCannotBeCopied(t *testing.T) {
	t.Parallel()
	page := &work.Page{Last: true, Found: []work.Found{
		{Object: work.Object{Key: "a", Size: 1}, Fail: strings.Repeat("x", 2*work.MaxErrorText)},
		{Object: work.Object{Key: "b", Size: work.SplitSize}, Skip: "archived"},
		{Object: work.Object{Key: "c", Size: work.SplitSize}},
	}}
	report := &work.Report{Source: work.StoreReport{Driver: "mem"}}
	v := full.Decide(scanItem(1, "", ""), work.Result{Page: page, Report: report})
	if v.Report != report {
		t.Error("the report is lost")
	}
	want := []work.NewItem{
		{Kind: work.Begin, Attempt: 1, Objects: []work.Object{page.Found[2].Object}},
		{Kind: work.Copy, Attempt: 1, Objects: []work.Object{page.Found[0].Object, page.Found[1].Object}, Outcomes: []work.ObjectOutcome{
			{Outcome: work.Failed, Fault: work.Unsupported, Error: work.Clip(page.Found[0].Fail)},
			{Outcome: work.Skipped, Reason: "archived"},
		}},
	}
	if !reflect.DeepEqual(v.Items, want) {
		t.Errorf("items = %+v\nwant    %+v", v.Items, want)
	}
}
