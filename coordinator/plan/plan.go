package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Planner decides. Its Decide has the form that a ledger's Record asks for.
type Planner struct {
	// Jitter returns a number from 0 to 1 that spreads retries over time, such
	// as rand.Float64.
	Jitter func() float64
}

// Decide returns what becomes of item in view of the result r.
//
// The item's Objects must be filled in unless every outcome of r is copied or
// skipped; the item's Range must begin at the scan's cursor. A finish whose
// part was given up is decided on with a result of kind part, which says why.
func (p Planner) Decide(item work.Item, r work.Result) work.Verdict {
	switch {
	case r.Returned:
		return work.Verdict{State: work.Ready, Delay: returnRest + p.delay(work.Throttled, 1)}
	case r.Silent > 0:
		return p.silent(item, r)
	}
	return p.decide(item, r)
}

// returnRest is how long an item that was given back rests at least: its old
// message must be gone when the new one comes, or that is refused.
const returnRest = 2 * time.Second

func (p Planner) decide(item work.Item, r work.Result) work.Verdict {
	switch item.Kind {
	case work.Scan:
		return p.scan(item, r)
	case work.Copy:
		return p.copy(item, r)
	case work.Begin:
		return p.begin(item, r)
	case work.Part:
		return p.part(item, r)
	case work.Finish:
		return p.finish(item, r)
	case work.Abort:
		return p.abort(item, r)
	}
	return work.Verdict{} // a kind of a newer version: its coordinators decide
}

// copy decides on a batch of objects, or on a begin that opened no upload.
func (p Planner) copy(item work.Item, r work.Result) work.Verdict {
	if r.Fault == "" && allThere(r.Outcomes) {
		return work.Verdict{State: work.Done, Outcomes: r.Outcomes}
	}
	if len(item.Objects) == 0 {
		return work.Verdict{} // nothing is known of the objects, so nothing may be closed
	}
	outcomes := r.Outcomes
	if r.Fault == "" && len(outcomes) != len(item.Objects) {
		r.Fault = work.Internal
		r.Error = fmt.Sprintf("agent reported %d outcomes for %d objects", len(outcomes), len(item.Objects))
	}
	if r.Fault != "" {
		outcomes = make([]work.ObjectOutcome, len(item.Objects))
		for i := range outcomes {
			outcomes[i] = work.ObjectOutcome{Outcome: work.Retry, Fault: r.Fault, Error: r.Error}
		}
	}

	v := work.Verdict{State: work.Done, Outcomes: slices.Clone(outcomes)}
	handed := make(map[work.Fault][]handedOn)
	for i, o := range v.Outcomes {
		o = settle(o, item.Attempt, item.Options.MaxAttempts)
		v.Outcomes[i] = o
		if o.Outcome.Final() {
			continue
		}
		h := handedOn{item.Objects[i], item.Options.KindFor(item.Objects[i].Size)}
		switch {
		case o.Outcome == work.Changed:
			h = handedOn{afresh(h.object), item.Kind} // how big it is now is not known
		case o.Fault == work.Throttled:
			h.object.Check = true // as it looks like a first attempt
		}
		handed[o.Fault] = append(handed[o.Fault], h)
	}
	for _, f := range work.Faults() {
		v.Items = append(v.Items, again(handed[f], next(f, item.Attempt), p.delay(f, item.Attempt))...)
	}
	return v
}

// A handedOn is an object for a further attempt and the kind of item that it
// is to travel in.
type handedOn struct {
	object work.Object
	kind   work.Kind
}

// again returns the items for objects handed on after the same fault, so that
// each waits as long as its fault asks for: one for those to copy, which keeps
// the limits that the batch kept, and one for each that is big.
func again(handed []handedOn, attempt int, delay time.Duration) []work.NewItem {
	var items []work.NewItem
	var small []work.Object
	for _, h := range handed {
		if h.kind == work.Copy {
			small = append(small, h.object)
			continue
		}
		items = append(items, work.NewItem{Kind: h.kind, Attempt: attempt, Delay: delay, Objects: []work.Object{h.object}})
	}
	if len(small) > 0 {
		items = append(items, work.NewItem{Kind: work.Copy, Attempt: attempt, Delay: delay, Objects: small})
	}
	return items
}

// afresh returns an object whose version is gone: the agent looks first.
func afresh(o work.Object) work.Object {
	o.ETag = ""
	return o
}

// next returns the attempt that follows attempt after a fault. A store that
// asks to slow down costs none.
func next(f work.Fault, attempt int) int {
	if f == work.Throttled {
		return attempt
	}
	return attempt + 1
}

// spent reports whether no attempt is left after a fault.
func spent(f work.Fault, attempt, maxAttempts int) bool { return next(f, attempt) > maxAttempts }

// settle turns what an agent says of an object into its outcome: final, or
// handed on when the fault allows it and attempts are left.
func settle(o work.ObjectOutcome, attempt, maxAttempts int) work.ObjectOutcome {
	switch {
	case o.Outcome == work.Copied || o.Outcome == work.Skipped:
		return o
	case o.Outcome == work.Changed:
		o.Fault = work.SrcChanged
	case o.Outcome != work.Retry && o.Outcome != work.Failed:
		o.Fault, o.Error = work.Internal, fmt.Sprintf("agent reported unknown outcome %q", o.Outcome)
	case o.Fault == "":
		o.Fault = work.Internal
	}
	switch {
	case !o.Fault.Retryable():
		o.Outcome = work.Failed
	case spent(o.Fault, attempt, maxAttempts):
		o.Outcome = work.Failed
		o.Error = exhausted(o.Error, o.Fault, attempt)
	case o.Fault == work.SrcChanged:
		o.Outcome = work.Changed
	default:
		o.Outcome = work.Retry
	}
	return o
}

// exhausted returns the text of a failure that used up its attempts.
func exhausted(text string, f work.Fault, attempts int) string {
	if text == "" {
		text = string(f)
	}
	if attempts == 1 {
		return work.Clip("after 1 attempt: " + text)
	}
	return work.Clip(fmt.Sprintf("after %d attempts: %s", attempts, text))
}

// allThere reports whether every object stands at the target.
func allThere(outcomes []work.ObjectOutcome) bool {
	for _, o := range outcomes {
		if o.Outcome != work.Copied && o.Outcome != work.Skipped {
			return false
		}
	}
	return len(outcomes) > 0
}

// maxDelay bounds how long a retry waits.
const maxDelay = 5 * time.Minute

// delay returns how long to wait before the attempt that follows attempt: full
// jitter under a ceiling that doubles with each attempt. A first retry after a
// passing error waits a second on average.
func (p Planner) delay(f work.Fault, attempt int) time.Duration {
	ceiling := 2 * time.Second
	switch f {
	case work.Throttled:
		ceiling = 10 * time.Second
	case work.Internal:
		ceiling = 5 * time.Second
	case work.SrcChanged:
		ceiling = 500 * time.Millisecond // there is nothing to recover from
	}
	for range attempt - 1 {
		if ceiling *= 2; ceiling >= maxDelay {
			ceiling = maxDelay
			break
		}
	}
	return time.Duration(p.Jitter() * float64(ceiling))
}
