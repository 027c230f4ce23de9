package plan

import (
	"slices"

	"github.com/tranship/tranship/internal/work"
)

// alone is added to what agents say of a suspect that cannot be divided.
const alone = ", alone, each time. Look into the logs of the agents and of their machines (killed, out of memory, " +
	"panic, frozen, cut off), mend the cause, then retry it"

// silent decides on an item that no agent touches any more, because too many
// of those that had it ended without a word.
//
// It may be innocent: an agent that ends takes all down that it has in hand. So
// to become a suspect costs no attempt, and neither does being divided. Agents
// take care that a suspect is all they have in hand; only when one that cannot
// be divided still ends them, it costs an attempt.
func (p Planner) silent(item work.Item, r work.Result) work.Verdict {
	guilty := item.Suspect && len(item.Objects) <= 1
	if guilty {
		r.Fault, r.Error = work.Internal, r.Error+alone
	} else {
		r.Fault = work.Throttled // which costs no attempt either
	}
	v := p.decide(item, r)
	for i := range v.Outcomes {
		v.Outcomes[i].Fault = work.Internal
	}
	var suspects []work.NewItem
	for _, n := range v.Items {
		n.Suspect, n.Delay = true, 0 // it was left alone for long enough
		suspects = append(suspects, halves(n)...)
	}
	v.Items = suspects
	return v
}

// halves divides an item. One that has no two objects stays whole.
func halves(n work.NewItem) []work.NewItem {
	if len(n.Objects) < 2 {
		return []work.NewItem{n}
	}
	first, second := n, n
	half := len(n.Objects) / 2
	first.Objects, second.Objects = slices.Clone(n.Objects[:half]), slices.Clone(n.Objects[half:])
	return []work.NewItem{first, second}
}
