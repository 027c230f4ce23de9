package plan

import (
	"fmt"
	"math"

	"github.com/tranship/tranship/internal/work"
)

// begin decides on an object that was to be opened for its parts. One that
// needed no upload has an outcome, as one of a copy has.
func (p Planner) begin(item work.Item, r work.Result) work.Verdict {
	if r.Fault != "" || r.Upload == nil {
		return p.copy(item, r)
	}
	if len(item.Objects) != 1 {
		return work.Verdict{} // nothing is known of the object, so nothing may be opened
	}
	if err := checkUpload(item.Objects[0], r); err != nil {
		r.Fault, r.Error = work.Internal, err.Error()
		return p.copy(item, r)
	}
	v := work.Verdict{
		State: work.Done, Outcomes: []work.ObjectOutcome{{Outcome: work.Begun}}, Upload: r.Upload, Object: r.Object,
	}
	n := r.Upload.Parts(r.Object.Size)
	v.Items = make([]work.NewItem, 0, 1+n)
	v.Items = append(v.Items, work.NewItem{Kind: work.Finish, Attempt: item.Attempt, Objects: []work.Object{*r.Object}})
	for i := range n {
		v.Items = append(v.Items, work.NewItem{Kind: work.Part, Attempt: 1, N: i + 1})
	}
	return v
}

// checkUpload refuses an upload that is not one of the object.
func checkUpload(o work.Object, r work.Result) error {
	switch {
	case r.Object == nil:
		return fmt.Errorf("agent opened an upload of no object")
	case r.Object.Key != o.Key:
		return fmt.Errorf("agent opened an upload of %s for %s", work.Quote(r.Object.Key), work.Quote(o.Key))
	case r.Object.Size < 1 || r.Upload.ID == "" || r.Upload.Part < 1 || r.Upload.Part > math.MaxInt64-r.Object.Size:
		return fmt.Errorf("agent opened an upload of %d bytes in parts of %d", r.Object.Size, r.Upload.Part)
	case (r.Object.Size-1)/r.Upload.Part >= work.MaxParts:
		return fmt.Errorf("agent opened an upload of %d bytes in parts of %d: more than %d parts",
			r.Object.Size, r.Upload.Part, work.MaxParts)
	}
	return nil
}

// part decides on a part of a big object: what ends it also ends its upload.
func (p Planner) part(item work.Item, r work.Result) work.Verdict {
	if r.Fault == "" && (r.Part == nil || r.Part.N != item.N) {
		r.Fault, r.Error = work.Internal, fmt.Sprintf("agent reported another part than %d", item.N)
	}
	if r.Fault == "" {
		return work.Verdict{State: work.Done, Part: r.Part}
	}
	switch {
	case r.Gone, r.Fault == work.SrcChanged, !r.Fault.Retryable():
		return deadPart(item, r.Fault, r.Error)
	case spent(r.Fault, item.Attempt, item.Options.MaxAttempts):
		return deadPart(item, r.Fault, exhausted(r.Error, r.Fault, item.Attempt))
	}
	return work.Verdict{State: work.Done, Fault: r.Fault, Error: r.Error, Items: []work.NewItem{{
		Kind: work.Part, Attempt: next(r.Fault, item.Attempt), Delay: p.delay(r.Fault, item.Attempt), N: item.N,
	}}}
}

func deadPart(item work.Item, f work.Fault, text string) work.Verdict {
	return work.Verdict{State: work.Dead, Fault: f, Error: work.Clip(fmt.Sprintf("part %d: %s", item.N, text))}
}

// finish decides on a big object whose parts were put together, or one of
// whose parts was given up.
func (p Planner) finish(item work.Item, r work.Result) work.Verdict {
	if r.Fault == "" && allThere(r.Outcomes) && len(r.Outcomes) == 1 {
		return work.Verdict{State: work.Done, Outcomes: r.Outcomes, Abandon: r.Outcomes[0].Outcome == work.Skipped}
	}
	if len(item.Objects) != 1 {
		return work.Verdict{} // nothing is known of the object, so nothing may be closed
	}
	o := finishOutcome(r)
	if r.Kind == work.Part && o.Outcome != work.Retry && o.Outcome != work.Changed {
		return work.Verdict{State: work.Done, Outcomes: []work.ObjectOutcome{o}, Abandon: true}
	}
	o = settle(o, item.Attempt, item.Options.MaxAttempts)
	v := work.Verdict{State: work.Done, Outcomes: []work.ObjectOutcome{o}}
	goesOn := work.NewItem{Kind: work.Finish, Attempt: next(o.Fault, item.Attempt), Delay: p.delay(o.Fault, item.Attempt), Objects: item.Objects}
	switch {
	case o.Outcome.Final():
		v.Abandon = true
		return v
	case o.Outcome == work.Changed:
		goesOn.Kind, goesOn.Objects = work.Begin, []work.Object{afresh(item.Objects[0])}
	case r.Gone || r.Kind == work.Part || o.Fault == work.Corrupt:
		goesOn.Kind = work.Begin
	}
	v.Abandon = goesOn.Kind == work.Begin
	v.Items = []work.NewItem{goesOn}
	return v
}

// finishOutcome returns what a result that is no success says of the object.
// A part that used up its attempts, or whose fault no attempt can heal, is the
// end of its object; an upload that is gone is worth another.
func finishOutcome(r work.Result) work.ObjectOutcome {
	o := work.ObjectOutcome{Outcome: work.Retry, Fault: r.Fault, Error: r.Error}
	switch {
	case r.Fault == "" && len(r.Outcomes) == 1:
		o = r.Outcomes[0]
	case r.Fault == "":
		o.Fault, o.Error = work.Internal, fmt.Sprintf("agent reported %d outcomes for one object", len(r.Outcomes))
	}
	switch {
	case o.Fault == work.SrcChanged:
		o.Outcome = work.Changed
	case r.Gone && !o.Fault.Retryable():
		o.Outcome, o.Fault = work.Retry, work.Transient
	case r.Kind == work.Part && !r.Gone:
		o.Outcome = work.Failed
	}
	return o
}

// abort decides on an upload that was to be given up. One that is not there is
// as good as aborted.
func (p Planner) abort(item work.Item, r work.Result) work.Verdict {
	switch {
	case r.Fault == "", r.Fault == work.NotFound:
		return work.Verdict{State: work.Done}
	case !r.Fault.Retryable():
		return work.Verdict{State: work.Dead, Fault: r.Fault, Error: r.Error}
	case spent(r.Fault, item.Attempt, item.Options.MaxAttempts):
		return work.Verdict{State: work.Dead, Fault: r.Fault, Error: exhausted(r.Error, r.Fault, item.Attempt)}
	}
	return work.Verdict{State: work.Done, Fault: r.Fault, Error: r.Error, Items: []work.NewItem{{
		Kind: work.Abort, Attempt: next(r.Fault, item.Attempt), Delay: p.delay(r.Fault, item.Attempt),
	}}}
}
