package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// TestEveryBigObjectEnds plays random results over all items of big objects.
// However it goes, the object is in exactly one open item that counts it, an
// upload is finished or abandoned once, only with all its parts is it
// finished, and the object ends.
func TestEveryBigObjectEnds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newVoyage(t, seed).run()
		})
	}
}

// A voyage is the way of one big object. It does what the ledger does.
type voyage struct {
	t      *testing.T
	rnd    *rand.Rand
	p      Planner
	holder *work.Item        // the begin or the finish that has the object
	parts  map[int]work.Item // open
	there  map[int]bool
	waits  bool // the holder, for parts
	ended  work.Outcome
	open   bool // an upload
}

func newVoyage(t *testing.T, seed uint64) *voyage {
	v := &voyage{t: t, rnd: rand.New(rand.NewPCG(seed, 3))}
	v.p = Planner{Jitter: v.rnd.Float64}
	it := big(work.Begin, 1)
	it.Options.MaxAttempts = 1 + v.rnd.IntN(4)
	v.holder = &it
	return v
}

func (v *voyage) run() {
	for step := 0; v.ended == ""; step++ {
		if step > 10_000 {
			v.t.Fatal("the object never ends")
		}
		if len(v.parts) > 0 {
			v.part()
			continue
		}
		if v.waits {
			v.t.Fatal("a finish waits and no part is on its way")
		}
		r := v.result(*v.holder)
		v.apply(v.p.Decide(*v.holder, r), r)
	}
	if v.open {
		v.t.Error("the object has ended and its upload is open")
	}
}

// result makes up what an agent says.
func (v *voyage) result(it work.Item) work.Result {
	r := work.Result{Kind: it.Kind, Gone: it.Kind != work.Begin && v.rnd.IntN(10) == 0}
	all := append(work.Faults(), "", "", "", "", "")
	r.Fault = all[v.rnd.IntN(len(all))]
	if v.rnd.IntN(2) == 0 {
		r.Fault, r.Gone = "", false
	}
	switch {
	case r.Fault != "" && v.rnd.IntN(4) == 0:
		r.Fault, r.Silent, r.Gone = work.Internal, 1, false
	case r.Fault != "" && v.rnd.IntN(8) == 0:
		r.Fault, r.Returned, r.Gone = work.Throttled, true, false
	case r.Fault != "":
	case it.Kind == work.Part:
		r.Part = &work.StoredPart{N: it.N, Tag: "t"}
	case it.Kind == work.Begin && v.rnd.IntN(4) > 0:
		o := it.Objects[0]
		o.ETag, o.Size = "pinned", 1+v.rnd.Int64N(1000)
		r.Object, r.Upload = &o, &work.Upload{ID: "u", Part: 1 + v.rnd.Int64N(300)}
	default:
		words := []work.Outcome{work.Copied, work.Copied, work.Skipped, work.Retry, work.Changed, work.Failed, work.Begun}
		r.Outcomes = []work.ObjectOutcome{{Outcome: words[v.rnd.IntN(len(words))], Fault: all[v.rnd.IntN(len(all))]}}
	}
	return r
}

// part decides on a part that is on its way.
func (v *voyage) part() {
	var n int
	for n = range v.parts {
		if v.rnd.IntN(2) == 0 {
			break
		}
	}
	it := v.parts[n]
	delete(v.parts, n)
	r := v.result(it)
	got := v.p.Decide(it, r)
	switch {
	case got.State == work.Ready && r.Returned:
		v.parts[n] = it
	case got.State == work.Dead:
		end := v.p.Decide(*v.holder, work.Result{Kind: work.Part, Fault: got.Fault, Error: got.Error, Gone: r.Gone})
		if !end.Abandon {
			v.t.Fatalf("an upload without part %d is kept: %+v", n, end)
		}
		v.apply(end, r)
	case got.Part != nil:
		if v.there[n] || len(got.Items) > 0 {
			v.t.Fatalf("part %d is there twice", n)
		}
		v.there[n] = true
		if len(v.there) == v.holder.Upload.Parts(v.holder.Objects[0].Size) {
			v.waits = false
		}
	case len(got.Items) == 1 && got.Items[0].N == n && got.Items[0].Attempt == after(it, r, r.Fault) && got.Items[0].Attempt <= it.Options.MaxAttempts:
		it.Attempt, it.Suspect = got.Items[0].Attempt, got.Items[0].Suspect
		v.parts[n] = it
	default:
		v.t.Fatalf("part %d is lost: %+v", n, got)
	}
}

// after returns the attempt that must follow a result.
func after(it work.Item, r work.Result, f work.Fault) int {
	if r.Silent > 0 && !it.Suspect {
		return it.Attempt
	}
	return next(f, it.Attempt)
}

// apply makes the changes of a verdict on the begin or the finish.
func (v *voyage) apply(got work.Verdict, r work.Result) {
	if got.State == work.Ready && r.Returned {
		return
	}
	if got.State != work.Done || len(got.Outcomes) != 1 {
		v.t.Fatalf("the object is lost: %+v", got)
	}
	was := *v.holder
	goesOn := len(got.Items) > 0 && got.Items[0].Kind == work.Finish
	if got.Abandon || was.Kind == work.Finish && !goesOn {
		if !v.open || got.Abandon == (got.Outcomes[0].Outcome == work.Copied) {
			v.t.Fatalf("the upload ends a second time or not as the object: %+v", got)
		}
		v.open, v.parts, v.there, v.waits = false, nil, nil, false
	}
	if got.Outcomes[0].Outcome.Final() {
		if len(got.Items) > 0 {
			v.t.Fatalf("an object with an outcome goes on: %+v", got)
		}
		v.ended = got.Outcomes[0].Outcome
		return
	}
	n := got.Items[0]
	follows := work.Item{
		Kind: n.Kind, Attempt: n.Attempt, Objects: n.Objects, Options: was.Options, Upload: was.Upload, Suspect: n.Suspect,
	}
	switch {
	case got.Upload != nil:
		follows.Upload, v.open, v.waits = got.Upload, true, true
		v.parts, v.there = map[int]work.Item{}, map[int]bool{}
		for i, n := range got.Items[1:] {
			if n.Kind != work.Part || n.N != i+1 {
				v.t.Fatalf("part %d is %+v", i+1, n)
			}
			part := follows
			part.Kind, part.Attempt, part.N = work.Part, n.Attempt, n.N
			v.parts[n.N] = part
		}
		if len(v.parts) != follows.Upload.Parts(n.Objects[0].Size) || n.Attempt != was.Attempt {
			v.t.Fatalf("%d parts of %d bytes by %d", len(v.parts), n.Objects[0].Size, follows.Upload.Part)
		}
	case len(got.Items) != 1 || n.Attempt != after(was, r, got.Outcomes[0].Fault) || n.Attempt > was.Options.MaxAttempts:
		v.t.Fatalf("attempt %d of %d goes on as %+v", was.Attempt, was.Options.MaxAttempts, got.Items)
	}
	v.holder = &follows
}
