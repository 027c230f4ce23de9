package agent

import (
	"fmt"
	"time"
)

const (
	// tuneEvery is how long a turn is: for so long it is measured what moves.
	tuneEvery = time.Second
	// firstStreams is how many streams two buckets begin with.
	firstStreams = 8
	// streamMemory is how much of the budget a stream must be able to hold; more
	// streams than that would only wait for it.
	streamMemory = 1 << 20
	// objectWorth is how many bytes an object counts for besides its own: of
	// small ones it is their number that tells how fast they go.
	objectWorth = 64 << 10
)

// How the number of streams is found. Turns are those of a tuner.
const (
	// gain is how much more must move for more streams to stay, and loss how much
	// less may move for fewer to stay. A step is an eighth of the number: where
	// streams still count for all they are, it gains or loses more than that.
	gain, loss = 1.06, 0.96
	// probeTurns is how long a step is tried, and settleTurns how long it is
	// until the next, when the last was for nothing.
	probeTurns, settleTurns = 3, 10
	// recoverTurns is how long a stream takes to come back after a store has
	// throttled, and doubtTurns how long the number that was too many is not
	// tried again.
	recoverTurns, doubtTurns = 2, 120
)

// mostStreams returns how many streams an agent may have that finds out by
// itself, for its budget of memory.
func mostStreams(memory int64) int { return int(min(max(memory/streamMemory, firstStreams), 256)) }

// A turnout is what one number of streams led to in one turn.
type turnout struct {
	worth     float64 // moved, a second: see objectWorth
	throttles int64   // refusals of stores that want to be asked more slowly
	full      bool    // all streams were in use: more might have moved more
}

// A phase is what a tuner is at.
type phase int

const (
	rising     phase = iota // it doubles the number as long as more moves
	settled                 // it leaves the number as it is
	probing                 // it tries a step
	recovering              // a store throttled: the streams come back one by one
)

// A tuner finds the number of streams between two buckets, by climbing. At
// first it doubles the number as long as more moves. Then it tries a few more,
// which stay if they move more, and a few fewer, which do if they move as much,
// now and then and by turns. A store that throttles takes three tenths away at
// once, and they come back one by one, up to just below the number that was too
// many. While streams are idle for want of work nothing is learned, and nothing
// changed.
//
// It is owned by one goroutine.
type tuner struct {
	limit, most int
	fixed       bool
	why         string

	phase  phase
	wait   int     // turns until the phase goes on
	base   float64 // what moves with the number that is settled on: an average of the last turns
	up     bool    // of a step: which way; when settled, that of the next
	step   int     // that is tried
	tried  float64 // what moved in the turns of the step so far, together
	ceil   int     // the number that was too many for a store; 0: none was
	doubts int     // turns until that is forgotten
}

// newTuner returns a tuner for a number that is fixed, or for 0, which it finds.
func newTuner(fixed, most int) *tuner {
	if fixed > 0 {
		return &tuner{limit: fixed, most: fixed, fixed: true, why: "fixed by agent.streams"}
	}
	return &tuner{limit: min(firstStreams, most), most: most, up: true, why: "just begun"}
}

// turn judges the present number by its turnout and chooses the next.
func (t *tuner) turn(o turnout) {
	if t.doubts = max(t.doubts-1, 0); t.doubts == 0 {
		t.ceil = 0
	}
	switch {
	case t.fixed:
	case o.throttles > 0:
		t.throttled(o)
	case !o.full:
		if t.phase == probing {
			t.settle() // nothing can be said of the step
		}
		t.why = "there is not more to do at once"
	case t.phase == rising:
		t.rise(o)
	case t.phase == recovering:
		t.recover(o)
	case t.phase == settled:
		t.rest(o)
	default:
		t.probe(o)
	}
}

// throttled takes streams away. Refusals that follow within a few turns are of
// requests from before.
func (t *tuner) throttled(o turnout) {
	if t.phase == recovering && t.wait > 0 {
		t.wait--
		return
	}
	t.ceil, t.doubts = t.limit, doubtTurns
	t.limit = max(1, t.limit*7/10)
	t.phase, t.wait, t.base = recovering, 2*recoverTurns, o.worth
	t.why = fmt.Sprintf("a store throttled %d", t.ceil)
}

// recover brings streams back.
func (t *tuner) recover(o turnout) {
	if t.wait--; t.wait > 0 {
		return
	}
	if t.limit+1 < t.ceil {
		t.limit++
		t.wait = recoverTurns
		return
	}
	t.base = o.worth
	t.settle()
}

// rise doubles the number for as long as that helps.
func (t *tuner) rise(o turnout) {
	if o.worth <= t.base*gain || t.limit == t.most {
		t.base = max(t.base, o.worth)
		t.settle()
		t.explain()
		return
	}
	t.base = o.worth
	t.limit = min(2*t.limit, t.most)
	t.why = "more move more"
}

// rest learns what the number is good for, and begins the next step when it is
// time.
func (t *tuner) rest(o turnout) {
	t.base += (o.worth - t.base) / 4
	if t.wait--; t.wait > 0 {
		return
	}
	if t.up && t.limit == t.roof() {
		t.up = false
	}
	if !t.up && t.limit == 1 {
		t.up = true
	}
	t.try()
}

// roof is the highest number that may be tried.
func (t *tuner) roof() int {
	if t.ceil > 1 {
		return min(t.most, t.ceil-1)
	}
	return t.most
}

// try begins a step, up or down.
func (t *tuner) try() {
	before := t.limit
	t.limit -= max(1, before/8)
	if t.up {
		t.limit = before + max(1, before/8)
	}
	t.limit = max(1, min(t.limit, t.roof()))
	t.step, t.tried = t.limit-before, 0
	t.phase, t.wait = probing, probeTurns
}

// probe judges a step once it was tried for long enough. One that was good is
// followed by another.
func (t *tuner) probe(o turnout) {
	t.tried += o.worth
	if t.wait--; t.wait > 0 {
		return
	}
	mean := t.tried / probeTurns
	good := mean >= t.base*loss
	if t.up {
		good = mean > t.base*gain
	}
	if !good {
		t.limit -= t.step
		t.up = !t.up
		t.settle()
		t.explain()
		return
	}
	t.base = mean
	t.why = "fewer move as much"
	if t.up {
		t.why = "more move more"
	}
	if t.limit == 1 || t.limit == t.roof() {
		t.up = !t.up
		t.settle()
		return
	}
	t.try()
}

// settle leaves the number as it is for a while.
func (t *tuner) settle() {
	t.phase, t.wait = settled, settleTurns
}

// explain says why there are not more.
func (t *tuner) explain() {
	switch {
	case t.limit == t.most:
		t.why = "agent.memory allows no more"
	case t.ceil > 0:
		t.why = fmt.Sprintf("a store throttled %d", t.ceil)
	default:
		t.why = "more move no more"
	}
}
