package ledger

import (
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// plain makes foreign text fit for a text column, which takes neither NUL nor
// what is not UTF-8.
func plain(s string) string {
	if work.IsText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// plainOutcomes makes the texts of outcomes fit for a jsonb column. Agents
// fill them with what servers say.
func plainOutcomes(outcomes []work.ObjectOutcome) []work.ObjectOutcome {
	isText := func(o work.ObjectOutcome) bool {
		return work.IsText(o.Reason) && work.IsText(o.Proof) && work.IsText(o.Checksum) &&
			work.IsText(o.Dropped) && work.IsText(string(o.Fault)) && work.IsText(o.Error)
	}
	cloned := false
	for i, o := range outcomes {
		if isText(o) {
			continue
		}
		if !cloned {
			outcomes, cloned = slices.Clone(outcomes), true
		}
		o.Reason, o.Proof, o.Checksum, o.Dropped = plain(o.Reason), plain(o.Proof), plain(o.Checksum), plain(o.Dropped)
		o.Fault, o.Error = work.Fault(plain(string(o.Fault))), plain(o.Error)
		outcomes[i] = o
	}
	return outcomes
}

// plainObjects does the same for objects; their keys look after themselves.
func plainObjects(objects []work.Object) []work.Object {
	cloned := false
	for i, o := range objects {
		if work.IsText(o.ETag) {
			continue
		}
		if !cloned {
			objects, cloned = slices.Clone(objects), true
		}
		objects[i].ETag = plain(o.ETag)
	}
	return objects
}

// beyond returns the smallest key that is greater than every key with the
// prefix, or nil if there is none.
func beyond(prefix string) []byte {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return b[:i+1]
		}
	}
	return nil
}
