package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	eventsEvery = time.Second
	eventsPage  = 1000
	// eventsSettle is after how long no event turns up any more with an id before
	// others: ids are given out when transactions write, not when they commit. It
	// is also how far back a coordinator begins, and less than the queue remembers
	// what it has been told before.
	eventsSettle = time.Minute
)

// A crier publishes the audit log on the queue, for people and programs that
// watch it there. Every coordinator publishes every event: the queue keeps one
// of each. A queue that is away gets what it missed when it is back; only what
// happened in the last second before the last coordinator died may be missing
// there.
type crier struct {
	ledger auditLog
	bus    emitter

	// The rest is owned by the loop that cries.
	begun   bool
	settled int64              // all events up to this id were published
	cried   map[int64]struct{} // and these beyond it
}

type (
	auditLog interface {
		Events(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error)
		EventBefore(ctx context.Context, age time.Duration) (id int64, err error)
	}
	emitter interface {
		Emit(ctx context.Context, e work.Event) error
	}
)

func newCrier(l auditLog, b emitter) *crier {
	return &crier{ledger: l, bus: b, cried: map[int64]struct{}{}}
}

// cry publishes what is new.
func (c *crier) cry(ctx context.Context) error {
	before, err := c.ledger.EventBefore(ctx, eventsSettle)
	if err != nil {
		return err
	}
	if !c.begun {
		c.begun, c.settled = true, before
	}
	for after := c.settled; ; {
		events, err := c.ledger.Events(ctx, 0, after, eventsPage)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := c.once(ctx, e); err != nil {
				return err
			}
			after = e.ID
		}
		if len(events) < eventsPage {
			break
		}
	}
	c.settle(before)
	return nil
}

// once publishes an event that was not published yet.
func (c *crier) once(ctx context.Context, e work.Event) error {
	if _, known := c.cried[e.ID]; known {
		return nil
	}
	if err := c.bus.Emit(ctx, e); err != nil {
		return fmt.Errorf("publish event %d: %w", e.ID, err)
	}
	c.cried[e.ID] = struct{}{}
	return nil
}

// settle forgets what will not be read again.
func (c *crier) settle(upto int64) {
	c.settled = upto
	for id := range c.cried {
		if id <= upto {
			delete(c.cried, id)
		}
	}
}
