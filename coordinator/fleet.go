package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	fleetEvery = time.Second
	agentGone  = 45 * time.Second // without a sign of life
)

// A fleet holds the signs of life that are not in the ledger yet.
type fleet struct {
	mu    sync.Mutex
	fresh map[string]work.Presence // by site and agent
}

func (f *fleet) saw(p work.Presence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fresh == nil {
		f.fresh = make(map[string]work.Presence)
	}
	f.fresh[p.Site+"."+p.Agent] = p
}

// take returns what was seen since the last call.
func (f *fleet) take() []work.Presence {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make([]work.Presence, 0, len(f.fresh))
	for _, p := range f.fresh {
		seen = append(seen, p)
	}
	f.fresh = nil
	return seen
}

// listen hears the agents' signs of life until ctx ends.
func (c *Coordinator) listen(ctx context.Context) error {
	trouble := c.outage("hearing agents")
	for ctx.Err() == nil {
		err := c.bus.Beats(ctx, func(p work.Presence) {
			trouble.Worked()
			c.fleet.saw(p)
		})
		trouble.Failed(ctx, err)
	}
	return nil
}

// keepFleet writes what was heard to the ledger, at once for all agents, and
// makes the queues of their sites, so that agents can wait there for the first
// job. What a failure loses is said again a few seconds later.
func (c *Coordinator) keepFleet(ctx context.Context) error {
	seen := c.fleet.take()
	if len(seen) == 0 {
		return nil
	}
	var errs []error
	if err := c.ledger.Beat(ctx, seen); err != nil {
		errs = append(errs, fmt.Errorf("record %d signs of life: %w", len(seen), err))
	}
	sites := make(map[string]bool)
	for _, p := range seen {
		if !sites[p.Site] {
			sites[p.Site] = true
			errs = append(errs, c.bus.AddSite(ctx, p.Site))
		}
	}
	return errors.Join(errs...)
}
