package plan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

// silentResult is what an agent says that does not touch an item.
func silentResult(kind work.Kind) work.Result {
	return work.Result{Kind: kind, Fault: work.Internal, Error: "they died", Silent: 2}
}

func TestSilentBatchIsDivided(t *testing.T) {
	t.Parallel()
	for _, suspect := range []bool{false, true} {
		item := copyItem(2, "a", "b", "c", "d", "e")
		item.Suspect = suspect
		got := full.Decide(item, silentResult(work.Copy))
		half := func(objects []work.Object) work.NewItem {
			return work.NewItem{Kind: work.Copy, Attempt: 2, Objects: objects, Suspect: true}
		}
		o := work.ObjectOutcome{Outcome: work.Retry, Fault: work.Internal, Error: "they died"}
		abcde := objects("a", "b", "c", "d", "e")
		want := work.Verdict{State: work.Done, Outcomes: []work.ObjectOutcome{o, o, o, o, o},
			Items: []work.NewItem{half(abcde[:2]), half(abcde[2:])}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("suspect %v: Decide = %+v\nwant %+v", suspect, got, want)
		}
	}
}

// What cannot be divided becomes a suspect at no cost, then costs an attempt
// each time, and ends as failed with words that a person understands.
func TestSilentItemThatIsOne(t *testing.T) {
	t.Parallel()
	abort := big(work.Abort, 1)
	for name, item := range map[string]work.Item{
		"copy": copyItem(1, "a"), "begin": big(work.Begin, 1), "part": big(work.Part, 1), "finish": big(work.Finish, 1),
		"scan": scanItem(1, "c", "x"), "abort": abort,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			item.Options.MaxAttempts = 2
			for i, attempt := range []int{1, 2} {
				v := full.Decide(item, silentResult(item.Kind))
				if v.State != work.Done || v.Abandon || len(v.Items) != 1 || len(v.Outcomes) != len(outcomesOf(item)) {
					t.Fatalf("death %d: Decide = %+v, want it handed on", i, v)
				}
				n := v.Items[0]
				want := work.NewItem{Kind: item.Kind, Attempt: attempt, Objects: item.Objects, Range: item.Range, N: item.N, Suspect: true}
				if item.Kind == work.Part || item.Kind == work.Abort {
					want.Objects = nil // those of their upload
				}
				if !reflect.DeepEqual(n, want) {
					t.Fatalf("death %d: goes on as %+v\nwant %+v", i, n, want)
				}
				item.Suspect, item.Attempt = n.Suspect, n.Attempt
			}
			v := full.Decide(item, silentResult(item.Kind))
			text, fault := v.Error, v.Fault
			if len(v.Outcomes) == 1 {
				text, fault = v.Outcomes[0].Error, v.Outcomes[0].Fault
				if v.Outcomes[0].Outcome != work.Failed || v.Abandon != (item.Kind == work.Finish) {
					t.Errorf("Decide = %+v, want it failed", v)
				}
			} else if v.State != work.Dead {
				t.Errorf("Decide = %+v, want it dead", v)
			}
			if fault != work.Internal || !strings.Contains(text, "after 2 attempts: they died, alone, each time. Look") ||
				!strings.Contains(text, "retry") || len(v.Items) > 0 {
				t.Errorf("%s: %s, %+v", fault, text, v.Items)
			}
		})
	}
}

// outcomesOf returns as many outcomes as an item must have.
func outcomesOf(item work.Item) []work.Object {
	switch item.Kind {
	case work.Copy, work.Begin, work.Finish:
		return item.Objects
	}
	return nil
}

// An agent that says how a suspect ended has survived it.
func TestSuspectThatIsHeardOfIsNone(t *testing.T) {
	t.Parallel()
	item := copyItem(1, "a", "b")
	item.Suspect = true
	v := full.Decide(item, work.Result{Kind: work.Copy, Outcomes: []work.ObjectOutcome{
		{Outcome: work.Copied}, {Outcome: work.Retry, Fault: work.Transient}}})
	if len(v.Items) != 1 || v.Items[0].Suspect || v.Items[0].Attempt != 2 {
		t.Errorf("Decide = %+v, want a further attempt without suspicion", v)
	}
}

func TestReturnedItemGoesBackAsItIs(t *testing.T) {
	t.Parallel()
	for _, item := range []work.Item{copyItem(3, "a", "b"), big(work.Part, 3), big(work.Finish, 3), scanItem(3, "c", "x")} {
		item.Objects = nil // nothing need be known of them
		got := full.Decide(item, work.Result{Kind: item.Kind, Fault: work.Throttled, Returned: true})
		if !reflect.DeepEqual(got, work.Verdict{State: work.Ready, Delay: got.Delay}) || got.Delay < returnRest {
			t.Errorf("%s: Decide = %+v, want it ready again", item.Kind, got)
		}
	}
}

// TestEveryPoisonIsFound has agents take the items of a job at random, several
// at a time and a suspect alone, and end whenever one of them holds an object
// that kills them, or for no reason. However it goes, every innocent object is
// copied, every other fails, and few agents die of each.
func TestEveryPoisonIsFound(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newPlague(seed).run(t)
		})
	}
}

// A plague is a queue of copies among which some objects kill.
type plague struct {
	rnd    *rand.Rand
	queue  []*delivered
	deadly map[string]bool
	ended  map[string]work.Outcome
	deaths int
}

// A delivered is an item and how many of its deliveries ended without a word.
type delivered struct {
	work.Item
	silent int
}

const plagueAttempts = 3

func newPlague(seed uint64) *plague {
	p := &plague{rnd: rand.New(rand.NewPCG(seed, 4)), deadly: map[string]bool{}, ended: map[string]work.Outcome{}}
	for i := range 1 + p.rnd.IntN(5) {
		var keys []string
		for j := range 1 + p.rnd.IntN(work.MaxItemObjects) {
			keys = append(keys, fmt.Sprintf("%d/%03d", i, j))
		}
		for range p.rnd.IntN(4) {
			p.deadly[keys[p.rnd.IntN(len(keys))]] = true
		}
		it := copyItem(1, keys...)
		it.Options.MaxAttempts = plagueAttempts
		p.queue = append(p.queue, &delivered{Item: it})
	}
	return p
}

func (p *plague) run(t *testing.T) {
	whims := 0
	for step := 0; len(p.queue) > 0; step++ {
		if step > 100_000 {
			t.Fatalf("%d items never end", len(p.queue))
		}
		hand := p.take()
		if p.rnd.IntN(10) == 0 && !hand[0].Suspect && whims < 5 {
			whims++ // an agent is killed for no reason
			p.die(hand)
			continue
		}
		p.agent(t, hand)
	}
	most := whims + len(p.deadly)*(2+7+plagueAttempts)
	if p.deaths > most {
		t.Errorf("%d agents died of %d objects, want at most %d", p.deaths, len(p.deadly), most)
	}
	for key, o := range p.ended {
		if (o == work.Failed) != p.deadly[key] {
			t.Errorf("%s is %s, deadly: %v", key, o, p.deadly[key])
		}
	}
}

// take returns what an agent has in hand: some items, or one suspect.
func (p *plague) take() []*delivered {
	var hand []*delivered
	for range 1 + p.rnd.IntN(3) {
		i := p.rnd.IntN(max(len(p.queue), 1))
		if len(p.queue) == 0 || p.queue[i].Suspect && len(hand) > 0 {
			break
		}
		hand = append(hand, p.queue[i])
		p.queue = slices.Delete(p.queue, i, i+1)
		if hand[0].Suspect {
			break
		}
	}
	return hand
}

func (p *plague) die(hand []*delivered) {
	p.deaths++
	for _, d := range hand {
		d.silent++
		p.queue = append(p.queue, d)
	}
}

// agent does what is in hand, or dies of it.
func (p *plague) agent(t *testing.T, hand []*delivered) {
	touched := slices.DeleteFunc(slices.Clone(hand), func(d *delivered) bool {
		untouched := d.silent >= 2 || d.silent > 0 && d.Suspect
		if untouched {
			p.record(t, d.Item, silentResult(work.Copy))
		}
		return untouched
	})
	for _, d := range touched {
		if slices.ContainsFunc(d.Objects, func(o work.Object) bool { return p.deadly[o.Key] }) {
			p.die(touched)
			return
		}
	}
	for _, d := range touched {
		r := work.Result{Kind: work.Copy}
		for range d.Objects {
			o := work.ObjectOutcome{Outcome: work.Copied}
			if d.Attempt == 1 && p.rnd.IntN(50) == 0 {
				o = work.ObjectOutcome{Outcome: work.Retry, Fault: work.Transient}
			}
			r.Outcomes = append(r.Outcomes, o)
		}
		p.record(t, d.Item, r)
	}
}

// record does what the ledger does with a result.
func (p *plague) record(t *testing.T, it work.Item, r work.Result) {
	v := Planner{Jitter: p.rnd.Float64}.Decide(it, r)
	if v.State != work.Done || len(v.Outcomes) != len(it.Objects) {
		t.Fatalf("Decide = %+v", v)
	}
	var handed []string
	for i, o := range v.Outcomes {
		key := it.Objects[i].Key
		if !o.Outcome.Final() {
			handed = append(handed, key)
			continue
		}
		if p.ended[key] != "" {
			t.Fatalf("%s has ended twice", key)
		}
		p.ended[key] = o.Outcome
	}
	for _, n := range v.Items {
		for _, o := range n.Objects {
			i := slices.Index(handed, o.Key)
			if i < 0 {
				t.Fatalf("%s goes on twice, or was not handed on", o.Key)
			}
			handed = slices.Delete(handed, i, i+1)
		}
		next := work.Item{Kind: n.Kind, Attempt: n.Attempt, Objects: n.Objects, Suspect: n.Suspect, Options: it.Options}
		p.queue = append(p.queue, &delivered{Item: next})
	}
	if len(handed) > 0 {
		t.Fatalf("%d objects are lost", len(handed))
	}
}
