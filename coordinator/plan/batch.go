package plan

import (
	"github.com/tranship/tranship/internal/work"
)

// batches cuts found objects, in their order, into copy items within the
// limits of an item. Big objects go into begin items, each alone. Objects that
// need no copy, or cannot have one, go into items of their own, done at birth.
// overhead bounds what a message holds besides its objects.
func batches(o work.Options, overhead int, found []work.Found) []work.NewItem {
	var items []work.NewItem
	toCopy, settled := batch{size: overhead}, batch{size: overhead}
	flush := func(b *batch) {
		if len(b.objects) > 0 {
			items = append(items, work.NewItem{Kind: work.Copy, Attempt: 1, Objects: b.objects, Outcomes: b.outcomes})
		}
		*b = batch{size: overhead}
	}
	for _, f := range found {
		b := &toCopy
		switch {
		case isSettled(f):
			b = &settled
		case o.KindFor(f.Size) == work.Begin:
			items = append(items, work.NewItem{Kind: work.Begin, Attempt: 1, Objects: []work.Object{f.Object}})
			continue
		}
		if !b.takes(f) {
			flush(b)
		}
		b.add(f)
	}
	flush(&toCopy)
	flush(&settled)
	return items
}

// isSettled reports whether the scan has already said what becomes of f.
func isSettled(f work.Found) bool { return f.Skip != "" || f.Fail != "" }

// A batch is a copy item being filled.
type batch struct {
	objects  []work.Object
	outcomes []work.ObjectOutcome // of settled objects
	bytes    int64                // of the objects that are to be copied
	size     int                  // at most, of the message
}

// takes reports whether f fits. An empty batch takes anything: an object over
// the limits travels alone.
func (b *batch) takes(f work.Found) bool {
	if len(b.objects) == 0 {
		return true
	}
	return len(b.objects) < work.MaxItemObjects &&
		b.size+f.WireSize() <= work.MaxItemJSON &&
		(isSettled(f) || b.bytes <= work.MaxItemBytes-f.Size)
}

func (b *batch) add(f work.Found) {
	b.objects = append(b.objects, f.Object)
	b.size += f.WireSize()
	switch {
	case f.Fail != "":
		b.outcomes = append(b.outcomes, work.ObjectOutcome{
			Outcome: work.Failed, Fault: work.Unsupported, Error: work.Clip(f.Fail),
		})
	case f.Skip != "":
		b.outcomes = append(b.outcomes, work.ObjectOutcome{Outcome: work.Skipped, Reason: f.Skip})
	default:
		b.bytes += f.Size
	}
}

// envelope bounds the bytes of a copy item's message besides its objects.
func envelope(item work.Item) int {
	const names = 640 // field names, numbers and words at their longest
	return names + 6*(len(item.Source)+len(item.Target)+len(item.Site))
}
