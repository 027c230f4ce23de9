package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

const (
	// silentLimit is how many deliveries of an item may end without a word
	// before nobody touches it any more. Of a suspect it is one.
	silentLimit = 2
	// waryFor is how many times items are taken one at a time after a suspect.
	waryFor = 2 * takeMost
)

// A silence is why an item is not touched.
type silence struct {
	deliveries int // that ended without a word
}

func (s *silence) Error() string {
	if s.deliveries == 1 {
		return "agents ended without a word while they had it in hand"
	}
	return fmt.Sprintf("agents ended without a word, %d in a row, while they had it in hand", s.deliveries)
}

// silences returns how many deliveries of an item ended without a word, 0 if
// they were not too many. The queue counts those that were given back as well,
// which are few (see giveBack), and those that found their agent gone, which are
// fewer: what an innocent item loses by that is an attempt at most.
//
// Agents of the version before give back without bound, above all items of jobs
// that are paused. So what was published then, which does not tell of AckWait, is
// not judged. What they give back of later items does count: until the last of
// them is upgraded, innocent items may become suspects.
func silences(d *bus.Delivery) int {
	n := d.Deliveries - 1
	if d.AckWait > 0 && (n >= silentLimit || n > 0 && d.Item.Suspect) {
		return n
	}
	return 0
}

// giveBack hands an item that is not done to other agents. The queue counts
// that as it counts the deliveries that end without a word; so only the first
// time, and never with a suspect, it is left to the queue. Else the ledger is
// told, and has the item handed out in a new message: so it is, too, where the
// coordinators know better when that should be, because the job is paused or
// limits bound it.
func (h *held) giveBack(d *bus.Delivery, why error, delay time.Duration) error {
	if d.Deliveries < silentLimit && !h.item.Suspect && !errors.Is(why, errPaused) && !errors.Is(why, errNoShare) {
		return d.Nak(delay)
	}
	r := h.newResult()
	r.Returned, r.Fault, r.Error, r.Moved = true, work.Throttled, fmt.Sprintf("given back: %v", why), 0
	err := h.report(r)
	switch {
	case err == nil:
		return d.Ack()
	case h.item.Suspect: // the ledger will find that it is not on the queue
		return also(err, d.Term("given back"))
	}
	return also(err, d.Nak(delay))
}

// offerAlone hands the first of the suspects to the feeder when nothing else is
// in hand, or when that takes too long, and waits until it is put down. So it
// takes as little as possible with it if it ends the agent, and nothing else
// makes it look guilty. The others are given back, and so is it while its
// stores are away: nothing else must wait for them.
func (a *Agent) offerAlone(taking context.Context, suspects []*held, ready chan<- *held) (crowded bool) {
	if len(suspects) == 0 {
		return false
	}
	h := suspects[0]
	for _, other := range suspects[1:] {
		other.stop(errBusy)
		other.settle()
	}
	if h.pair.away() {
		h.stop(errRefused)
		h.settle()
		return false
	}
	limit := time.NewTimer(a.wait)
	defer limit.Stop()
	for late := false; !late && a.inHand() > 1 && h.starting.Err() == nil && taking.Err() == nil; {
		select {
		case <-a.settled:
		case <-h.starting.Done():
		case <-taking.Done():
		case <-limit.C:
			late = true
		}
	}
	crowded = a.offer(taking, suspects[:1], ready)
	look := time.NewTicker(time.Duration(a.cfg.Stall) / 12)
	defer look.Stop()
	for !h.hung.Load() {
		select {
		case <-h.over:
			return crowded
		case <-taking.Done():
			return crowded
		case <-look.C:
		}
	}
	return crowded
}
