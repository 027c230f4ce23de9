package plan

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// full waits as long as the ceiling allows, so that delays can be compared.
var full = Planner{Jitter: func() float64 { return 1 }}

func objects(keys ...string) []work.Object {
	out := make([]work.Object, len(keys))
	for i, k := range keys {
		out[i] = work.Object{Key: k, Size: int64(i + 1), ETag: "e-" + k, Check: true}
	}
	return out
}

func copyItem(attempt int, keys ...string) work.Item {
	return work.Item{
		Job: 1, ID: 2, Kind: work.Copy, Epoch: 1, Attempt: attempt,
		Options: work.Options{MaxAttempts: 3}, Objects: objects(keys...),
	}
}

func TestDecideCopy(t *testing.T) {
	t.Parallel()
	copied := work.ObjectOutcome{Outcome: work.Copied, Proof: "md5", Checksum: "md5:00"}
	skipped := work.ObjectOutcome{Outcome: work.Skipped, Reason: "etag"}
	retry := func(f work.Fault) work.ObjectOutcome {
		return work.ObjectOutcome{Outcome: work.Retry, Fault: f, Error: "no"}
	}
	failed := func(f work.Fault, text string) work.ObjectOutcome {
		return work.ObjectOutcome{Outcome: work.Failed, Fault: f, Error: text}
	}
	changed := work.ObjectOutcome{Outcome: work.Changed, Fault: work.SrcChanged, Error: "no"}
	next := func(attempt int, delay time.Duration, objects ...work.Object) work.NewItem {
		return work.NewItem{Kind: work.Copy, Attempt: attempt, Delay: delay, Objects: objects}
	}
	abc := objects("a", "b", "c")
	afresh := abc[1]
	afresh.ETag = ""

	tests := []struct {
		name     string
		attempt  int
		result   work.Result
		outcomes []work.ObjectOutcome
		items    []work.NewItem
	}{
		{
			name: "all there", attempt: 1,
			result:   work.Result{Outcomes: []work.ObjectOutcome{copied, skipped, copied}},
			outcomes: []work.ObjectOutcome{copied, skipped, copied},
		},
		{
			name: "a passing error is tried again", attempt: 1,
			result:   work.Result{Outcomes: []work.ObjectOutcome{copied, retry(work.Transient), copied}},
			outcomes: []work.ObjectOutcome{copied, retry(work.Transient), copied},
			items:    []work.NewItem{next(2, 2*time.Second, abc[1])},
		},
		{
			name: "the fault decides, not the agent's word", attempt: 2,
			result:   work.Result{Outcomes: []work.ObjectOutcome{failed(work.Transient, "no"), retry(work.Denied), copied}},
			outcomes: []work.ObjectOutcome{retry(work.Transient), failed(work.Denied, "no"), copied},
			items:    []work.NewItem{next(3, 4*time.Second, abc[0])},
		},
		{
			name: "one item per fault", attempt: 1,
			result:   work.Result{Outcomes: []work.ObjectOutcome{retry(work.Throttled), retry(work.Transient), retry(work.Throttled)}},
			outcomes: []work.ObjectOutcome{retry(work.Throttled), retry(work.Transient), retry(work.Throttled)},
			items:    []work.NewItem{next(2, 2*time.Second, abc[1]), next(1, 10*time.Second, abc[0], abc[2])},
		},
		{
			name: "a changed source is looked at afresh", attempt: 1,
			result:   work.Result{Outcomes: []work.ObjectOutcome{copied, {Outcome: work.Changed, Error: "no"}, copied}},
			outcomes: []work.ObjectOutcome{copied, changed, copied},
			items:    []work.NewItem{next(2, 500*time.Millisecond, afresh)},
		},
		{
			name: "the last attempt fails with its number", attempt: 3,
			result:   work.Result{Outcomes: []work.ObjectOutcome{retry(work.Corrupt), changed, retry(work.NotFound)}},
			outcomes: []work.ObjectOutcome{failed(work.Corrupt, "after 3 attempts: no"), failed(work.SrcChanged, "after 3 attempts: no"), failed(work.NotFound, "no")},
		},
		{
			name: "an item that failed as a whole fails each object", attempt: 1,
			result:   work.Result{Fault: work.Denied, Error: "no", Outcomes: []work.ObjectOutcome{copied}},
			outcomes: []work.ObjectOutcome{failed(work.Denied, "no"), failed(work.Denied, "no"), failed(work.Denied, "no")},
		},
		{
			name: "an item that failed in passing hands on each object", attempt: 1,
			result:   work.Result{Fault: work.Throttled, Error: "no"},
			outcomes: []work.ObjectOutcome{retry(work.Throttled), retry(work.Throttled), retry(work.Throttled)},
			items:    []work.NewItem{next(1, 10*time.Second, abc...)},
		},
		{
			name: "an outcome without fault is our defect", attempt: 1,
			result: work.Result{Outcomes: []work.ObjectOutcome{copied, {Outcome: work.Failed}, {Outcome: "lost"}}},
			outcomes: []work.ObjectOutcome{copied, {Outcome: work.Retry, Fault: work.Internal},
				{Outcome: work.Retry, Fault: work.Internal, Error: `agent reported unknown outcome "lost"`}},
			items: []work.NewItem{next(2, 5*time.Second, abc[1], abc[2])},
		},
		{
			name: "a fault of a newer version is final", attempt: 1,
			result:   work.Result{Outcomes: []work.ObjectOutcome{copied, retry("cursed"), copied}},
			outcomes: []work.ObjectOutcome{copied, failed("cursed", "no"), copied},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.result.Kind = work.Copy
			got := full.Decide(copyItem(tt.attempt, "a", "b", "c"), tt.result)
			want := work.Verdict{State: work.Done, Outcomes: tt.outcomes, Items: tt.items}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("Decide = %+v\nwant     %+v", got, want)
			}
		})
	}
}

// The ledger leaves out the objects of an item that succeeded.
func TestDecideCopyWithoutObjects(t *testing.T) {
	t.Parallel()
	item := copyItem(1)
	got := full.Decide(item, work.Result{Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}})
	if got.State != work.Done || len(got.Outcomes) != 1 {
		t.Errorf("Decide of a success = %+v, want done", got)
	}
	for _, r := range []work.Result{
		{Fault: work.Denied}, {}, {Outcomes: []work.ObjectOutcome{{Outcome: work.Failed}}},
	} {
		if got := full.Decide(item, r); got.State != "" {
			t.Errorf("Decide(%+v) without objects = %+v, want no change", r, got)
		}
	}
}

func TestDecideWrongNumberOfOutcomes(t *testing.T) {
	t.Parallel()
	got := full.Decide(copyItem(1, "a", "b"), work.Result{Outcomes: []work.ObjectOutcome{
		{Outcome: work.Copied}, {Outcome: work.Copied}, {Outcome: work.Failed, Fault: work.Denied}}})
	if len(got.Outcomes) != 2 || len(got.Items) != 1 || len(got.Items[0].Objects) != 2 ||
		got.Outcomes[0].Fault != work.Internal || !strings.Contains(got.Outcomes[1].Error, "3 outcomes for 2 objects") {
		t.Errorf("Decide = %+v, want both objects tried again", got)
	}
}

func TestDecideUnknownKindChangesNothing(t *testing.T) {
	t.Parallel()
	item := copyItem(1, "a")
	item.Kind = "verify"
	if got := full.Decide(item, work.Result{Fault: work.Denied}); !reflect.DeepEqual(got, work.Verdict{}) {
		t.Errorf("Decide = %+v, want no change", got)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, f := range work.Faults() {
		before := time.Duration(0)
		for attempt := 1; attempt <= 100; attempt++ {
			d := full.delay(f, attempt)
			if d < before || d > maxDelay || attempt == 100 && d != maxDelay {
				t.Fatalf("ceiling of attempt %d after %s = %v, after %v", attempt, f, d, before)
			}
			before = d
		}
		half := Planner{Jitter: func() float64 { return 0.5 }}
		if got, want := half.delay(f, 2), full.delay(f, 2)/2; got != want {
			t.Errorf("delay at jitter 0.5 = %v, want %v", got, want)
		}
	}
	if full.delay(work.Throttled, 1) <= full.delay(work.Transient, 1) {
		t.Error("a throttled object does not wait longer than one that met a passing error")
	}
}

func TestFailureTextIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", work.MaxErrorText)
	got := full.Decide(copyItem(3, "a"), work.Result{Fault: work.Transient, Error: long})
	if text := got.Outcomes[0].Error; len(text) > work.MaxErrorText || !strings.HasPrefix(text, "after 3 attempts: ü") {
		t.Errorf("text has %d bytes and begins %q", len(text), fmt.Sprintf("%.30s", text))
	}
}
