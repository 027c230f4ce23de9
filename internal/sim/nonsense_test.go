package sim

import (
	"github.com/tranship/tranship/internal/work"
)

// nonsense makes of a result what no agent should say: one that is broken, or
// of a version with a defect. It claims no success that was none, for nobody
// could tell; whatever else it says must do no harm but to its own item.
func (h *hand) nonsense(r *work.Result) {
	h.guard.mad[r.TookMS] = true
	for _, o := range h.item.Objects {
		h.source.blame(o.Key, work.Internal)
	}
	if h.item.Kind == work.Scan {
		h.source.wasUnlisted = true // it may be given up
	}
	switch {
	case h.rng.IntN(6) == 0:
		r.Kind = []work.Kind{work.Scan, work.Copy, work.Begin, work.Part, work.Finish, work.Abort}[h.rng.IntN(6)]
	case h.rng.IntN(6) == 0:
		r.Moved = -1
	case r.Page != nil:
		h.nonsensePage(r.Page)
	case r.Upload != nil:
		u := *r.Upload
		u.Part, r.Upload = 1<<40, &u
		if h.rng.IntN(2) == 0 {
			o := *r.Object
			o.Key, r.Object = o.Key+"x", &o
		}
	case r.Part != nil:
		r.Part.N++
	case len(r.Outcomes) > 0:
		h.nonsenseOutcomes(r)
	}
}

func (h *hand) nonsensePage(p *work.Page) {
	switch n := h.rng.IntN(5); {
	case n == 0:
		p.Upto, p.Last = "", false
	case n == 1 && len(p.Found) > 0:
		p.Found[0].Size = -1
	case n == 2 && len(p.Found) > 1:
		p.Found[0], p.Found[1] = p.Found[1], p.Found[0]
	case n == 3 && h.item.Range.Upto != "":
		p.Upto = "zzz"
	default:
		p.Rest = []work.Range{{After: "b", Upto: "a"}, {After: "x"}}
	}
}

func (h *hand) nonsenseOutcomes(r *work.Result) {
	r.Outcomes = append([]work.ObjectOutcome(nil), r.Outcomes...)
	switch h.rng.IntN(4) {
	case 0:
		r.Outcomes = r.Outcomes[1:]
	case 1:
		r.Outcomes = append(r.Outcomes, r.Outcomes[0])
	case 2:
		r.Outcomes[0] = work.ObjectOutcome{Outcome: "moved"}
	case 3:
		r.Outcomes[0] = work.ObjectOutcome{Outcome: work.Retry}
	}
}
