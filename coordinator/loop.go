package coordinator

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// An outage is the trouble of one loop: it is logged when it begins and when
// it ends, and not for each time in between.
//
// All fields are owned by the loop that calls Failed and Worked.
type outage struct {
	log   *slog.Logger
	what  string    // that does not work
	all   *troubles // where it is told of, too
	since time.Time // zero: all is well
	pause time.Duration
}

// Failed logs err if it is the first and waits before the next try, longer
// each time, or until ctx ends.
func (o *outage) Failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // an end, not a failure
	}
	if o.since.IsZero() {
		o.since, o.pause = time.Now(), minPause
		o.log.WarnContext(ctx, o.what+" fails, trying on", "err", err)
	} else {
		o.log.DebugContext(ctx, o.what+" still fails", "err", err)
	}
	o.all.begin(o.what, err)
	sleep(ctx, o.pause/2+rand.N(o.pause/2))
	o.pause = min(2*o.pause, maxPause)
}

// Worked ends the outage, if there is one.
func (o *outage) Worked() {
	if o.since.IsZero() {
		return
	}
	o.log.Info(o.what+" works again", "after", time.Since(o.since).Round(time.Millisecond))
	o.since = time.Time{}
	o.all.end(o.what)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// A loop does one thing again and again.
type loop struct {
	what  string
	every time.Duration // at the latest
	least time.Duration // between two turns, however often it is woken
	wake  chan struct{} // nil: nobody wakes it
	turn  func(ctx context.Context) error
}

// run takes turns until ctx ends, and returns nil then.
func (l loop) run(ctx context.Context, trouble *outage) error {
	for ctx.Err() == nil {
		if err := l.turn(ctx); err != nil {
			trouble.Failed(ctx, err)
			continue
		}
		trouble.Worked()
		sleep(ctx, l.least)
		timer := time.NewTimer(l.every - l.least)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// wake lets the loop that listens on c take its turn. It never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is woken already
	}
}
