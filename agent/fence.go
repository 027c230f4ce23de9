package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// errLease ends what stores an object on no condition that would do. See the
// package's documentation for the two fences.
var errLease = errors.New("the agent was cut off from the queue, which has handed the item to another by now")

// A lease is how long an item is known to be this agent's. Its zero value, and
// nil, last for ever.
type lease struct {
	mu    sync.Mutex
	limit func() time.Duration // without a sign of life
	heard time.Time            // the last one that the queue confirmed was sent then
	lost  bool                 // it was over once: what comes later does not bring it back
}

// over reports whether the item may be somebody else's. A process that was
// stopped finds out by the monotonic clock, a machine that was by the other.
func (l *lease) over() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit != nil {
		now, limit := time.Now(), l.limit()
		l.lost = l.lost || now.Sub(l.heard) >= limit || now.Round(0).Sub(l.heard.Round(0)) >= limit
	}
	return l.lost
}

// renew begins the lease anew at a time when the queue was told or asked of the
// item, unless it is over.
func (l *lease) renew(at time.Time) {
	if l.over() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.heard) {
		l.heard = at
	}
}

// keep tells the queue that the item is being worked on, and renews its lease
// when the queue has confirmed that.
func (h *held) keep(ctx context.Context) {
	h.mu.Lock()
	d := h.delivery
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, h.agent.ackWait()/4)
	defer cancel()
	now := time.Now()
	if err := d.InProgress(ctx); err != nil {
		h.agent.log.DebugContext(ctx, "queue not told", "item", h.item.ID, "err", err)
		return
	}
	h.lease.renew(now)
}

// lapsed has no more of the item begun if err says that its lease is over.
func (h *held) lapsed(err error) bool {
	if !errors.Is(err, errLease) {
		return false
	}
	h.stop(errLease)
	return true
}

// leased fails if the item's lease is over.
func (t *transfer) leased() error {
	if t.lease.over() {
		return errLease
	}
	return nil
}

// fence returns the lease that a Put must keep to, nil if its condition is
// enough.
func (t *transfer) fence() *lease {
	if t.over.Absent && t.dst.Traits().Fences {
		return nil
	}
	return t.lease
}

// A fenced body can be read, from wherever, only while the lease lasts: a
// driver may send it again much later.
type fenced struct {
	body  io.ReadSeeker
	lease *lease
}

// Read implements io.Reader.
func (f *fenced) Read(p []byte) (int, error) {
	if f.lease.over() {
		return 0, errLease
	}
	return f.body.Read(p)
}

// Seek implements io.Seeker.
func (f *fenced) Seek(off int64, whence int) (int64, error) { return f.body.Seek(off, whence) }

// listed is the condition that follows from the scan: if it had seen anything at
// the target, the object would be looked at first.
func (t *transfer) listed() storage.Condition {
	return storage.Condition{Absent: t.options.Compare != work.CompareNone}
}

// seen is the condition that follows from a look at the target.
func seen(there storage.Info, err error) storage.Condition {
	switch {
	case storage.Is(err, work.NotFound):
		return storage.Condition{Absent: true}
	case err != nil:
		return storage.Condition{}
	}
	return storage.Condition{ETag: there.ETag}
}

// clashed looks whether what is in the way is the object itself: another agent
// was handed it too, or the answer to a request of our own was lost. Anything
// else stays, for the next attempt to compare.
func (t *transfer) clashed(ctx context.Context, clash error) (out work.ObjectOutcome, err error) {
	t.again = true
	err = t.turn.insist(ctx, t.carrier, t.flight, []*end{t.src, t.dst}, func() (err error) {
		out, err = t.present(ctx)
		return err
	})
	if err == nil && out.Outcome == "" {
		err = t.inTheWay(clash)
	}
	return out, err
}

// inTheWay is the error of a clash with something else.
func (t *transfer) inTheWay(clash error) error {
	return &storage.Error{Op: "write", Store: t.dst.url, Key: t.obj.Key, Fault: work.Transient, Clash: true,
		Err: fmt.Errorf("somebody else wrote the object at the target meanwhile, and it is not what the source has; the next attempt compares it first: %w", clash)}
}

// stood writes a condition as a begin reports it, for the finish.
func stood(c storage.Condition) string {
	if c.Absent {
		return work.StoodNothing
	}
	return c.ETag
}

// overStood reads it again.
func overStood(text string) storage.Condition {
	if text == work.StoodNothing {
		return storage.Condition{Absent: true}
	}
	return storage.Condition{ETag: text}
}
