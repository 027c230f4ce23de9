package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/web"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// How far ids move on when the ledger was set back, beyond the last that the
// queue remembers. Nothing has ids beyond those; this is room for mistakes.
const (
	itemMargin = 1_000_000
	jobMargin  = 1_000
)

// setupWithin bounds how long a user waits.
const setupWithin = 5 * time.Second

// recognise compares the ledger with what the queue remembers of it. A ledger
// that has not come as far was set back: a dump was restored. It would give
// the ids of items that are on the queue or with agents to other items, and
// take what is reported of the former for what became of the latter.
//
// So all ids that were given out are skipped. What the ledger does not know
// any more leaves the queue, and what is still open is compared at the target
// before it is copied. Results that lie on the queue are good: what they name
// is either known and the same, or unknown from now on.
//
// Each step may be repeated, and after a crash is: the mark remembers that
// there is something to put right until all of it is.
func (c *Coordinator) recognise(ctx context.Context) error {
	return c.ledger.Alone(ctx, "recognise the queue", func(ctx context.Context) error {
		mark, err := c.bus.Mark(ctx)
		if err != nil {
			return err
		}
		issued, err := c.ledger.Issued(ctx)
		if err != nil {
			return err
		}
		switch {
		case mark.SetBack != nil:
			return c.putRight(ctx, mark.Issued, *mark.SetBack)
		case mark == work.Mark{} && issued.Item > 0 && !c.bus.Private():
			return c.beginAnew(ctx, issued)
		case mark.Issued.Beyond(issued):
			err := c.bus.MoveMark(ctx, func(m work.Mark) work.Mark {
				m.SetBack = &issued
				return m
			})
			if err != nil {
				return err
			}
			return c.putRight(ctx, mark.Issued, issued)
		}
		return nil
	})
}

// beginAnew goes on with a queue that is new, or was lost. It cannot tell of
// which ledger agents hold items, which may be this one's later self.
func (c *Coordinator) beginAnew(ctx context.Context, known work.Issued) error {
	next := beyond(known)
	done, err := c.secure(ctx, next, known, "doubted", fmt.Sprintf("the queue is new, or was lost: "+
		"what is open is compared at the target before it is copied, new items begin behind %d and new jobs behind %d", next.Item, next.Job))
	if err == nil {
		c.log.InfoContext(ctx, "the queue is new, or was lost: items and jobs go on with ids that were never on one, what is open is compared before it is copied",
			"open_jobs", done.jobs, "next_job", next.Job+1, "next_item", next.Item+1, "items_removed", done.forgotten)
	}
	return err
}

// putRight makes a ledger that had come as far as was, and was set back to
// known, safe to go on with.
func (c *Coordinator) putRight(ctx context.Context, was, known work.Issued) error {
	next := beyond(was.And(known))
	done, err := c.secure(ctx, next, known, "restored", fmt.Sprintf("the ledger was set back: it knew items up to %d and the queue up to %d, as after a restore; "+
		"what is open is compared at the target before it is copied, new items begin behind %d and new jobs behind %d",
		known.Item, was.Item, next.Item, next.Job))
	if err != nil {
		return err
	}
	c.log.WarnContext(ctx, "the ledger is older than the queue: it was restored; nothing is lost, what is open is compared before it is copied",
		"open_jobs", done.jobs, "knew_job", known.Job, "knew_item", known.Item, "queue_job", was.Job, "queue_item", was.Item,
		"next_job", next.Job+1, "next_item", next.Item+1, "items_removed", done.forgotten)
	return c.bus.MoveMark(ctx, func(m work.Mark) work.Mark {
		m.Issued = m.Issued.And(next) // whoever has moved it meanwhile had a reason
		if m.SetBack != nil && *m.SetBack == known {
			m.SetBack = nil
		}
		return m
	})
}

// secured is how much there was to secure.
type secured struct{ jobs, forgotten int }

// secure has the ledger go on behind next, removes from the queue what is beyond
// known, and has what is open compared before it is copied, which the history of
// each open job tells.
func (c *Coordinator) secure(ctx context.Context, next, known work.Issued, what, note string) (s secured, err error) {
	if err := c.ledger.Skip(ctx, next); err != nil {
		return s, err
	}
	if s.forgotten, err = c.bus.Forget(ctx, known); err != nil {
		return s, err
	}
	s.jobs, err = c.ledger.Doubt(ctx, what, note)
	return s, err
}

// beyond returns i with ids that surely nothing has.
func beyond(i work.Issued) work.Issued {
	i.Job += jobMargin
	i.Item += itemMargin
	return i
}

// rememberEvery is by how much a dump may be older than the ledger and pass for
// it, as long as no ids were given out since.
const rememberEvery = 5 * time.Second

// A herald lets the queue remember how far the ledger has come, and the ids of
// items before they are published.
type herald struct {
	ledger *ledger.Ledger
	bus    *bus.Bus

	mu    sync.Mutex
	known work.ItemID // the mark is not before it
}

// announce returns once the queue remembers the ids of all items. Mostly it
// does: the mark is moved to the newest item that there is, not to the newest
// that is published.
func (h *herald) announce(ctx context.Context, items []work.Item) error {
	var last work.ItemID
	for _, it := range items {
		last = max(last, it.ID)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if last <= h.known {
		return nil
	}
	newest, err := h.ledger.Newest(ctx)
	if err != nil {
		return err
	}
	return h.move(ctx, newest)
}

// remember moves the ledger's clock on and has the queue remember that, and all
// that it should know already: the queue may have lost it.
func (h *herald) remember(ctx context.Context) error {
	newest, err := h.ledger.Tick(ctx) // first: the queue never knows more than is committed
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.move(ctx, newest)
}

// move needs the lock.
func (h *herald) move(ctx context.Context, newest work.Issued) error {
	h.ledger.Expect(newest)
	err := h.bus.MoveMark(ctx, func(m work.Mark) work.Mark {
		m.Issued = m.Issued.And(newest)
		return m
	})
	if err == nil {
		h.known = max(h.known, newest.Item)
	}
	return err
}

// waitForSetup returns once ids are safe to give out, see recognise. Mostly
// they are when the first request comes.
func (c *Coordinator) waitForSetup(ctx context.Context) error {
	timer := time.NewTimer(setupWithin)
	defer timer.Stop()
	select {
	case <-c.prepared:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return cmp.Or(c.ledgerTrouble(ctx), error(errSettingUp)) // both have to be there for it
	}
}

var errSettingUp = &web.Trouble{Of: "The queue", Why: "is not set up yet", Err: errors.New("it does not answer, or holds what another coordinator puts right")}

func (c *Coordinator) isPrepared() bool {
	select {
	case <-c.prepared:
		return true
	default:
		return false
	}
}
