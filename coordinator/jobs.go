package coordinator

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

// jobs is what the API does to jobs; it implements web.Commander. The ledger
// does it; the queue is told so that it shows within a second.
type jobs struct{ c *Coordinator }

// CreateJob creates a job, or returns the one that the request created before.
func (j jobs) CreateJob(ctx context.Context, nj work.NewJob, idem work.Idempotency) (work.Job, bool, error) {
	if err := j.c.waitForSetup(ctx); err != nil {
		return work.Job{}, false, err
	}
	var err error
	if nj.Site, err = siteOf(j.c.stores, nj); err != nil {
		return work.Job{}, false, err
	}
	job, created, err := j.c.ledger.CreateJob(ctx, nj, idem)
	if err != nil {
		return job, false, err
	}
	if created {
		j.c.log.InfoContext(ctx, "job created", "job", job.ID, "source", job.Source, "target", job.Target,
			"site", job.Site, "by", job.SubmittedBy)
		j.changed(ctx, job, "created", job.SubmittedBy)
	}
	return job, created, nil
}

// siteOf returns where a job runs: at the site that it names, or that of its
// source or its target as it asks. One that says nothing runs at its source if
// the configuration says where that is, else at its target, else at the default
// site. The error is a work.ErrSite.
func siteOf(stores config.Stores, nj work.NewJob) (string, error) {
	source, target := stores.Site(nj.Source), stores.Site(nj.Target)
	at := func(what, url, site string) (string, error) {
		if site != "" {
			return site, nil
		}
		entry := "add an entry to stores that matches it and has a site"
		if name := work.StoreName(url); name != "" {
			entry = "give stores." + name + " a site"
		}
		return "", fmt.Errorf("%w: the coordinator's configuration has no site for its %s; %s, or name the site itself", work.ErrSite, what, entry)
	}
	switch nj.Site {
	case work.AtSource:
		return at("source", nj.Source, source)
	case work.AtTarget:
		return at("target", nj.Target, target)
	case "":
		return cmp.Or(source, target, work.DefaultSite), nil
	}
	return nj.Site, nil
}

// Pause holds a job.
func (j jobs) Pause(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	return j.change(ctx, id, "paused", who, j.c.ledger.Pause)
}

// Resume lets a paused job go on.
func (j jobs) Resume(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	job, err := j.change(ctx, id, "resumed", who, j.c.ledger.Resume)
	wake(j.c.lost) // what the pause took off the queue
	return job, err
}

// Cancel ends a job. What was copied stays.
func (j jobs) Cancel(ctx context.Context, id work.JobID, who string) (work.Job, error) {
	return j.change(ctx, id, "canceled", who, j.c.ledger.Cancel)
}

// SetClass makes a job more urgent, or less.
func (j jobs) SetClass(ctx context.Context, id work.JobID, class work.Class, who string) (work.Job, error) {
	return j.change(ctx, id, "priority set", who, func(ctx context.Context, id work.JobID, who string) (work.Job, error) {
		return j.c.ledger.SetClass(ctx, id, class, who)
	})
}

// Retry opens failed objects of a job again and reports how many.
func (j jobs) Retry(ctx context.Context, q work.RetryQuery, who string) (int64, error) {
	if err := j.c.waitForSetup(ctx); err != nil {
		return 0, err
	}
	n, err := j.c.ledger.Retry(ctx, q, who)
	if err != nil {
		return 0, err
	}
	job, err := j.c.ledger.Job(ctx, q.Job)
	if err != nil {
		return n, err
	}
	j.c.log.InfoContext(ctx, "job retried", "job", q.Job, "objects", n, "by", who)
	j.changed(ctx, job, "retried", who)
	return n, nil
}

func (j jobs) change(ctx context.Context, id work.JobID, what, who string,
	do func(context.Context, work.JobID, string) (work.Job, error)) (work.Job, error) {
	job, err := do(ctx, id, who)
	if err != nil {
		return job, err
	}
	j.c.log.InfoContext(ctx, "job "+what, "job", id, "by", who)
	j.changed(ctx, job, what, who)
	return job, nil
}

// changed lets it show what was done to a job.
func (j jobs) changed(ctx context.Context, job work.Job, what, who string) {
	j.c.tell(ctx, job, what, who)
	j.c.dispatch.Wake()
	wake(j.c.finishing)
}
