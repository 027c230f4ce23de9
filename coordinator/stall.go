package coordinator

import (
	"context"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
)

// stallEvery is how often stalled jobs are looked for, at least.
const stallEvery = 5 * time.Second

// lookForStalls raises the hand for jobs of which something is due and nothing
// moves: in the ledger, which page and command line show, in metrics, in the
// log and in the events.
func (c *Coordinator) lookForStalls(ctx context.Context) error {
	found, err := c.ledger.Stalled(ctx, ledger.StallRule{
		After: time.Duration(c.cfg.Stalled), Gone: agentGone, Watched: time.Since(c.began), QueueDown: c.bus.Healthy(ctx) != nil,
	})
	if err != nil {
		return err
	}
	c.metrics.stalls(found.All, time.Now())
	for _, s := range found.Fresh {
		c.log.WarnContext(ctx, "job stalled", "job", s.Job, "since", s.Since, "cause", s.Cause, "why", s.Why)
	}
	for _, id := range found.Moving {
		c.log.InfoContext(ctx, "job moves again", "job", id)
	}
	return nil
}
