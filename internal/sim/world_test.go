package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	site = "here"

	chaosSteps = 500  // at most, in which everything may go wrong
	calmSteps  = 6000 // in which the job must come to its end
	deepest    = 3    // calls that are held up inside of others
	lastEvents = 120  // that a failure shows
)

// A world is all that there is in a story. Everything in it happens one after
// the other.
type world struct {
	rng    *rand.Rand
	ctx    context.Context
	now    time.Time
	began  time.Time
	calm   bool // nothing goes wrong any more
	odds   odds
	events []string
	wrong  string // the first promise that was broken

	ledger backend
	queue  *queue
	source *source
	target *target
	actors []*actor
	agents []*agent
	coords []*coordinator
	guard  *guard
	job    work.JobID
	depth  int   // of calls that are held up
	serial int64 // of results and uploads

	attempts int // at most, at an object
}

// odds are how often what goes wrong, in one story.
type odds struct {
	refuse, unheard float64 // a call to the ledger or the queue: not done; done, but not told
	die, freeze     float64 // a coordinator, in a call
	lose, repeat    float64 // a message
	agentDie        float64 // in a step
	agentFreeze     float64
	change          float64 // the source, in a step of nature
	storm           float64 // loss of a stream, in a step of nature
	jump            float64 // of a clock
	meddle          float64 // of users
	nonsense        float64 // of an agent, in a result
}

// An actor takes its turn when it is its turn.
type actor struct {
	name  string
	step  func()
	agent bool
	busy  bool // it is in the middle of a turn
}

// newWorld begins a story: a source, a target and a job from one to the other.
func newWorld(ctx context.Context, seed uint64, ledger backend) (*world, error) {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 7)), ctx: ctx, ledger: ledger,
		now: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC),
	}
	w.began = w.now
	w.odds = w.rollOdds()
	w.queue = newQueue(w)
	w.source, w.target = newStores(w)
	w.guard = newGuard(w)
	options := work.DefaultOptions()
	w.attempts = 1 + w.rng.IntN(4)
	options.Split, options.MaxAttempts = splitSize, w.attempts
	job, _, err := ledger.CreateJob(ctx, work.NewJob{
		Name: "story", Source: "sim://source", Target: "sim://target", Site: site, Options: options, SubmittedBy: "sim",
	}, work.Idempotency{})
	if err != nil {
		return nil, err
	}
	w.job = job.ID
	for i := range 1 + w.rng.IntN(2) {
		w.coords = append(w.coords, newCoordinator(w, fmt.Sprintf("c%d", i+1)))
	}
	for i := range 1 + w.rng.IntN(3) {
		w.agents = append(w.agents, newAgent(w, fmt.Sprintf("a%d", i+1)))
	}
	w.actors = append(w.actors, &actor{name: "nature", step: w.nature}, &actor{name: "users", step: w.users})
	return w, nil
}

// rollOdds gives each story troubles of its own: some never happen in it.
func (w *world) rollOdds() odds {
	p := func(most float64) float64 {
		switch w.rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return most
		}
		return most * w.rng.Float64() / 2
	}
	return odds{
		refuse: p(0.1), unheard: p(0.1), die: p(0.02), freeze: p(0.15), lose: p(0.05), repeat: p(0.1),
		agentDie: p(0.02), agentFreeze: p(0.05), change: p(0.3), storm: p(0.1), jump: p(0.2), meddle: p(0.1), nonsense: p(0.02),
	}
}

// run tells the story to its end. It returns what was broken, empty if nothing
// was.
func (w *world) run() string {
	troubles := w.odds
	w.goWrong()
	w.calmDown()
	if w.settles() && w.wrong == "" && w.rng.IntN(4) == 0 && w.again() {
		w.calm, w.odds = false, troubles
		w.goWrong()
		w.calmDown()
		w.settles()
	}
	return w.wrong
}

// goWrong is the part of a story in which everything may.
func (w *world) goWrong() {
	for n := range chaosSteps/4 + w.rng.IntN(chaosSteps*3/4) {
		if w.wrong != "" || n%16 == 0 && w.rng.IntN(3) == 0 && w.over() {
			return // little more can happen
		}
		w.step()
	}
}

// settles is the part in which the job must come to its end.
func (w *world) settles() bool {
	for n := range calmSteps {
		if w.step(); w.wrong != "" {
			return false
		}
		if n%16 == 0 && w.over() {
			w.judge()
			return w.wrong == ""
		}
	}
	w.stuck()
	return false
}

// again has everything tried again that failed, some of which may work now. It
// reports false if there is nothing.
func (w *world) again() bool {
	for _, key := range w.source.keys() {
		if w.rng.IntN(2) == 0 {
			w.source.objects[key].fault = ""
		}
	}
	l := w.coords[0].alive()
	if l == nil || w.guard.canceled {
		return false
	}
	l.command("retry", l.retryAll)
	j, err := w.ledger.Job(w.ctx, w.job)
	return err == nil && j.State.Open()
}

// calmDown ends all troubles but those of objects that can never be copied.
func (w *world) calmDown() {
	w.calm, w.odds = true, odds{}
	w.logf("from now on nothing goes wrong")
	w.source.heal()
	for _, a := range w.agents {
		a.thaw()
	}
	for _, c := range w.coords {
		c.back = w.now
	}
	if j, err := w.ledger.Job(w.ctx, w.job); err == nil && j.State == work.Paused {
		if _, err := w.ledger.Resume(w.ctx, w.job, "sim"); err != nil {
			w.breaks("resume at the end: %v", err)
		}
	}
}

// step lets one actor take its turn.
func (w *world) step() {
	w.pass(w.tick())
	free := make([]*actor, 0, len(w.actors))
	agents := w.rng.IntN(2) == 0 // they have the most to do
	for _, a := range w.actors {
		if !a.busy && (!agents || a.agent) {
			free = append(free, a)
		}
	}
	if len(free) == 0 {
		return
	}
	a := free[w.rng.IntN(len(free))]
	a.busy = true
	a.step()
	a.busy = false
}

// others lets other actors go first, in the middle of somebody's turn.
func (w *world) others() {
	if w.depth == deepest {
		return
	}
	w.depth++
	for range 1 + w.rng.IntN(12) {
		if w.wrong == "" {
			w.step()
		}
	}
	w.depth--
}

// tick is how long it takes until something happens.
func (w *world) tick() time.Duration {
	switch n := w.rng.IntN(100); {
	case n < 60:
		return time.Duration(w.rng.IntN(200)) * time.Millisecond
	case n < 97 || w.calm:
		return time.Duration(w.rng.IntN(3000)) * time.Millisecond
	}
	return time.Duration(w.rng.IntN(90)) * time.Second
}

// pass lets time go by, everywhere.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.ledger.Advance(d)
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// within returns a moment of the next d.
func (w *world) within(d time.Duration) time.Time {
	return w.now.Add(time.Duration(w.rng.Int64N(int64(d))))
}

// next returns a number that was not returned before.
func (w *world) next() int64 {
	w.serial++
	return w.serial
}

func (w *world) logf(format string, args ...any) {
	at := w.now.Sub(w.began).Round(time.Millisecond)
	w.events = append(w.events, fmt.Sprintf("%10s %s", at, fmt.Sprintf(format, args...)))
}

// breaks notes that a promise was broken. The first one counts.
func (w *world) breaks(format string, args ...any) {
	w.logf("BROKEN: "+format, args...)
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// tale returns the last events.
func (w *world) tale() string {
	from := max(0, len(w.events)-lastEvents)
	return fmt.Sprintf("… %d events before\n%s", from, strings.Join(w.events[from:], "\n"))
}
