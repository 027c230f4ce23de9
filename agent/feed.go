package agent

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// mostOpen is how many items are fed side by side.
	mostOpen = 32
	// spareWait is how long an item waits for the one before it on its lane to be
	// fed, before it goes back to the queue: behind it may be items that could
	// move at once.
	spareWait = 3 * time.Second
)

// errCrowded puts an item back: the way between its stores is taken up by
// another item in hand.
var errCrowded = errors.New("another item of the same stores is in hand")

// A feeder hands the tasks of items to the streams: of each lane one item at a
// time, and of those task by task in turn. So a pair of stores that is slow,
// throttles or is kept slow by a limit holds up no other, and no listing.
//
// It takes the next item only when a stream waits and none of those that it
// feeds has a task for it; and where one job runs alone, only when the item
// before is fed, for the next would have to wait for the same. It is owned by one
// goroutine.
type feeder struct {
	*Agent
	taking context.Context
	ready  <-chan *held
	ended  bool // no more items will come

	open  []*feeding
	next  int              // of open, whose turn it is
	spare *held            // of a lane that is being fed, or is full
	late  <-chan time.Time // when the spare goes back
	waits bool             // a stream, for a task
	stirs chan struct{}    // says that an item must be put down; holds one
}

// A feeding is an item that is being fed.
type feeding struct {
	*held
	fed    int
	forget func() bool // ends the watch over starting
}

// feed hands tasks to the streams until no more items will come and all are fed.
func (a *Agent) feed(taking context.Context, ready <-chan *held) {
	defer close(a.tasks)
	defer close(a.over)
	f := &feeder{Agent: a, taking: taking, ready: ready, stirs: make(chan struct{}, 1)}
	for f.settleOpen(); !f.ended || len(f.open) > 0 || f.spare != nil; f.settleOpen() {
		if !f.waits || !f.hand() {
			f.await()
		}
	}
}

// settleOpen lets go of the items of which nothing more is to be begun, and
// takes the spare into their place. Once the agent takes nothing more, that is
// so for those that were not begun.
func (f *feeder) settleOpen() {
	leaving := f.taking.Err() != nil
	f.open = slices.DeleteFunc(f.open, func(o *feeding) bool {
		if leaving && o.fed == 0 {
			o.stop(errStopping)
		}
		if o.fed < o.tasks() && o.starting.Err() == nil {
			return false
		}
		o.forget()
		o.done(o.tasks() - o.fed + 1)
		return true
	})
	switch h := f.spare; {
	case h == nil:
	case leaving || h.starting.Err() != nil:
		f.giveBack(errStopping) // the first cause counts
	case !f.feeds(h.pair.lane) && h.pair.lane.room():
		f.spare, f.late = nil, nil
		f.begin(h)
	}
}

// feeds reports whether an item of the lane is being fed.
func (f *feeder) feeds(l *lane) bool {
	return slices.ContainsFunc(f.open, func(o *feeding) bool { return o.travels() && o.pair.lane == l })
}

func (f *feeder) begin(h *held) {
	h.left.Store(int64(h.tasks()) + 1)
	f.open = append(f.open, &feeding{held: h, forget: context.AfterFunc(h.starting, func() { notify(f.stirs) })})
}

// giveBack gives the spare back to the queue.
func (f *feeder) giveBack(why error) {
	f.spare.stop(why)
	f.spare.settle()
	f.spare, f.late = nil, nil
}

// hand gives the stream that waits a task, if there is one for which there is
// room on its lane.
func (f *feeder) hand() bool {
	for range f.open {
		f.next = (f.next + 1) % len(f.open)
		o := f.open[f.next]
		if !o.enter() {
			continue
		}
		f.tasks <- task{o.held, o.fed}
		o.fed++
		f.waits = false
		return true
	}
	return false
}

// await waits until there may be something to hand out. Whoever wants to know
// whether there is need of another item hears so from asks.
func (f *feeder) await() {
	var (
		idle  <-chan struct{}
		ready <-chan *held
		asks  chan<- struct{}
	)
	leaving := f.taking.Done()
	if !f.waits {
		idle = f.idle
	}
	switch {
	case f.ended:
		leaving = nil
	case f.taking.Err() != nil:
		leaving, ready = nil, f.ready // to hear of its end
	case f.waits && f.spare == nil && len(f.open) < mostOpen && f.needs():
		ready, asks = f.ready, f.asks
	}
	select {
	case <-idle:
		f.waits = true
	case h, more := <-ready:
		f.accept(h, more)
	case asks <- struct{}{}:
	case <-f.lanes.freed:
	case <-f.stirs:
	case <-leaving:
	case <-f.late:
		f.giveBack(errCrowded)
	}
}

// needs reports whether there may be something to do for a stream that waits:
// where several jobs run there may be, between other stores.
func (f *feeder) needs() bool {
	f.mu.Lock()
	several := len(f.runs) > 1
	f.mu.Unlock()
	return several || len(f.open) == 0 && int(f.lanes.busy.Load()) < f.lanes.streams()
}

// accept takes an item over.
func (f *feeder) accept(h *held, more bool) {
	switch {
	case !more:
		f.ended = true
	case h.travels() && (f.feeds(h.pair.lane) || !h.pair.lane.room()):
		f.spare, f.late = h, time.After(spareWait)
	default:
		f.begin(h)
	}
}
