package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	finishEvery = 500 * time.Millisecond
	finishLeast = 50 * time.Millisecond
	sampleEvery = 5 * time.Second
	tidyEvery   = 5 * time.Second
	tidyAfter   = 10 * time.Second // agents hear within a second that a job has ended, and let go of what they send
	tellWithin  = 2 * time.Second  // a user waits
)

// finish ends the jobs of which nothing is open any more.
func (c *Coordinator) finish(ctx context.Context) error {
	jobs, err := c.ledger.FinishJobs(ctx)
	if err != nil {
		return fmt.Errorf("finish jobs: %w", err)
	}
	for _, j := range jobs {
		c.log.InfoContext(ctx, "job finished", "job", j.ID, "state", j.State, "err", j.Error,
			"copied", j.Copied, "skipped", j.Skipped, "failed", j.Failed, "bytes", j.MovedBytes)
		c.metrics.finished.WithLabelValues(string(j.State)).Inc()
		c.tell(ctx, j, string(j.State), "tranship")
	}
	return nil
}

// tell brings the queue up to what the ledger says of a job. It is a courtesy
// to agents: the ledger has it already, and controls repeats what matters, so
// trouble here fails nothing.
func (c *Coordinator) tell(ctx context.Context, j work.Job, what, who string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	err := c.controls.tell(ctx, j.ID, j.State)
	if j.State == work.Paused || j.State == work.Canceled {
		// What waits would only be refused again and again by agents. A job
		// that goes on is published again.
		err = errors.Join(err, c.bus.PurgeJob(ctx, j.Site, j.ID))
	}
	if err != nil {
		c.log.WarnContext(ctx, "queue not told of a job", "job", j.ID, "what", what, "by", who, "err", err)
	}
}

// tidy has uploads aborted that nothing will come of.
func (c *Coordinator) tidy(ctx context.Context) error {
	n, err := c.ledger.Janitor(ctx, tidyAfter)
	if err != nil {
		return err
	}
	if n > 0 {
		c.log.InfoContext(ctx, "uploads given up, to be aborted", "uploads", n)
	}
	return nil
}

// sample keeps how far each running job has come, and shows how much is open.
func (c *Coordinator) sample(ctx context.Context) error {
	if err := c.ledger.Sample(ctx); err != nil {
		return fmt.Errorf("sample jobs: %w", err)
	}
	backlog, err := c.ledger.Backlog(ctx)
	if err != nil {
		return err
	}
	c.metrics.backlog(backlog)
	loads, err := c.ledger.Loads(ctx, agentGone)
	if err != nil {
		return err
	}
	c.metrics.sites.show(loads)
	uploads, err := c.ledger.Uploads(ctx)
	if err != nil {
		return err
	}
	for state, n := range uploads {
		c.metrics.uploads.WithLabelValues(state).Set(float64(n))
	}
	return nil
}
