package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	controlsEvery  = 2 * time.Second
	controlsAnew   = 10 * time.Second
	controlsLinger = time.Minute
)

// controls keeps the queue's table of open jobs, which agents watch, like the
// ledger's, whoever changed either. A canceled job stays in the table a while,
// so that agents refuse what of it is still on its way to them. A finished one
// must not: it may be retried at any moment.
type controls struct {
	ledger openControls
	bus    jobTable

	turn chan struct{} // holds one while somebody tells, so that what is told last is true
	told map[work.JobID]told
	anew time.Time // when to tell all again: the table may have been lost or changed since
}

type (
	openControls interface {
		OpenControls(ctx context.Context) (map[work.JobID]work.JobControl, error)
	}
	jobTable interface {
		SetJob(ctx context.Context, id work.JobID, c work.JobControl) error
		DropJob(ctx context.Context, id work.JobID) error
		Jobs(ctx context.Context) ([]work.JobID, error)
	}
)

func newControls(l openControls, b jobTable) *controls {
	return &controls{ledger: l, bus: b, turn: make(chan struct{}, 1), told: make(map[work.JobID]told)}
}

// told is what agents were last told of a job.
type told struct {
	state work.JobState
	ended time.Time // when it was found to be no longer open; zero: it is open
}

// tell tells agents where a job stands, at once.
func (c *controls) tell(ctx context.Context, id work.JobID, s work.JobState) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if s.Open() || s == work.Canceled {
		return c.set(ctx, id, s)
	}
	return c.drop(ctx, id)
}

func (c *controls) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *controls) unlock() { <-c.turn }

// set needs the lock.
func (c *controls) set(ctx context.Context, id work.JobID, s work.JobState) error {
	if err := c.bus.SetJob(ctx, id, work.JobControl{State: s}); err != nil {
		return err
	}
	c.told[id] = told{state: s}
	return nil
}

// drop needs the lock.
func (c *controls) drop(ctx context.Context, id work.JobID) error {
	if err := c.bus.DropJob(ctx, id); err != nil {
		return err
	}
	delete(c.told, id)
	return nil
}

// sync tells what has changed in the ledger since the last time, and now and
// then all.
func (c *controls) sync(ctx context.Context) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	open, err := c.ledger.OpenControls(ctx)
	if err != nil {
		return fmt.Errorf("read the state of open jobs: %w", err)
	}
	all := time.Now().After(c.anew)
	if all {
		if err := c.findStale(ctx, open); err != nil {
			return err
		}
	}
	for id, control := range open {
		if !all && c.told[id] == (told{state: control.State}) {
			continue
		}
		if err := c.set(ctx, id, control.State); err != nil {
			return err
		}
	}
	for id, t := range c.told {
		if _, ok := open[id]; ok {
			continue
		}
		if t.ended.IsZero() {
			t.ended = time.Now()
			c.told[id] = t
		}
		if time.Since(t.ended) < controlsLinger { // another coordinator may have canceled it
			continue
		}
		if err := c.drop(ctx, id); err != nil {
			return err
		}
	}
	if all {
		c.anew = time.Now().Add(controlsAnew)
	}
	return nil
}

// findStale finds jobs in the table of which nothing is known here: they ended
// before this coordinator began, or stood in a ledger that was replaced by an
// older one. They leave the table like those that end. It needs the lock.
func (c *controls) findStale(ctx context.Context, open map[work.JobID]work.JobControl) error {
	listed, err := c.bus.Jobs(ctx)
	if err != nil {
		return err
	}
	for _, id := range listed {
		_, isOpen := open[id]
		if _, known := c.told[id]; !known && !isOpen {
			c.told[id] = told{ended: time.Now()}
		}
	}
	return nil
}
