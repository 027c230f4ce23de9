package plan

import (
	"github.com/tranship/tranship/internal/work"
)

// batches cuts found objects, in their order, into copy items within the
// limits of an item. Objects that need no copy go into items of their own,
// done at birth. overhead bounds what a message holds besides its objects.
func batches(overhead int, found []work.Found) []work.NewItem {
	var items []work.NewItem
	toCopy, skipped := batch{size: overhead}, batch{size: overhead}
	flush := func(b *batch) {
		if len(b.objects) > 0 {
			items = append(items, work.NewItem{Kind: work.Copy, Attempt: 1, Objects: b.objects, Outcomes: b.outcomes})
		}
		*b = batch{size: overhead}
	}
	for _, f := range found {
		b := &toCopy
		if f.Skip != "" {
			b = &skipped
		}
		if !b.takes(f) {
			flush(b)
		}
		b.add(f)
	}
	flush(&toCopy)
	flush(&skipped)
	return items
}

// A batch is a copy item being filled.
type batch struct {
	objects  []work.Object
	outcomes []work.ObjectOutcome // of skipped objects
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
		(f.Skip != "" || b.bytes <= work.MaxItemBytes-f.Size)
}

func (b *batch) add(f work.Found) {
	b.objects = append(b.objects, f.Object)
	b.size += f.WireSize()
	if f.Skip != "" {
		b.outcomes = append(b.outcomes, work.ObjectOutcome{Outcome: work.Skipped, Reason: f.Skip})
		return
	}
	b.bytes += f.Size
}

// envelope bounds the bytes of a copy item's message besides its objects.
func envelope(item work.Item) int {
	const names = 640 // field names, numbers and words at their longest
	return names + 6*(len(item.Source)+len(item.Target)+len(item.Site))
}
