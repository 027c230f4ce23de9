package plan

import (
	"unicode/utf8"

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
		b.size+jsonSize(f.Object) <= work.MaxItemJSON &&
		(f.Skip != "" || b.bytes <= work.MaxItemBytes-f.Size)
}

func (b *batch) add(f work.Found) {
	b.objects = append(b.objects, f.Object)
	b.size += jsonSize(f.Object)
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

// jsonSize bounds the bytes of an object in a message from above, without
// encoding it.
func jsonSize(o work.Object) int {
	const names = 112 // field names, two numbers, a bool and a comma
	key := (len(o.Key) + 2) / 3 * 4
	if work.IsText(o.Key) {
		key = textSize(o.Key)
	}
	return names + key + textSize(o.ETag)
}

// textSize bounds the bytes of a string in JSON from above.
func textSize(s string) int {
	const longest = 6 // \u001f
	if !utf8.ValidString(s) {
		return longest * len(s)
	}
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			n += longest - 1
		case c == 0xE2: // may begin U+2028, which is escaped
			n += longest - 3
		}
	}
	return n
}
