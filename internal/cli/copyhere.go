package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// aloneSite is the site of jobs that run in the process of their copy command.
// It keeps them apart from the jobs of an up on the same data folder.
const aloneSite = "alone"

// In one process nothing is far away, and whoever held an item before the
// process was killed is gone: what is overdue is looked for soon.
const (
	aloneReconcile = 2 * time.Second
	aloneAckWait   = 30 * time.Second
	lookInterval   = 100 * time.Millisecond // between two looks at a job of this process
)

// alone returns the settings of a fleet within this process: everything of the
// environment but the queue, which nobody else is to reach.
func (p *program) alone(data string) (config.Config, error) {
	c, err := p.settings("")
	if err != nil {
		return c, err
	}
	if c.Data, err = p.dataFolder(data); err != nil {
		return c, err
	}
	if p.env("TRANSHIP_LOG_LEVEL") == "" {
		c.Log.Level = "warn" // progress is shown anyway
	}
	c.NATS = config.Default().NATS
	c.NATS.AckWait = config.Duration(aloneAckWait)
	c.Coordinator.Reconcile = config.Duration(aloneReconcile)
	c.HTTP = config.HTTP{Listen: "127.0.0.1:0", Open: c.HTTP.Open}
	if c, err = checked(c); err != nil {
		return c, err
	}
	c.NATS.Listen = "" // in this process only
	return c, nil
}

// copyHere runs the whole job in this process. It continues the newest open
// job with the same ends and options, if there is one.
func (p *program) copyHere(ctx context.Context, o *copyOrder) error {
	cfg, err := p.alone(o.data)
	if err != nil {
		return err
	}
	if o.streams != 0 {
		cfg.Agent.Streams = o.streams
	}
	if err := cfg.Agent.Validate(); err != nil {
		return fail(ExitUsage, err, "")
	}
	if err := checkStores(ctx, drivers(cfg.Agent.Roots), o.source, o.target); err != nil {
		return err
	}
	h, err := startHub(ctx, cfg, p.logger(cfg.Log), "copy")
	if err != nil {
		return err
	}
	defer h.close()
	job, err := p.openJob(ctx, h, o)
	if err != nil {
		return err
	}
	page, err := h.signInLink(ctx)
	if err != nil {
		return err
	}
	p.say("status page: %s", page)
	cfg.Agent.Site = job.Site
	a, err := h.startAgent(ctx, cfg.Agent)
	if err != nil {
		return err
	}
	shown := newProgress(p.stderr)
	defer shown.end()
	err = h.runWhile(ctx, func(ctx context.Context) error {
		_, err := p.follow(ctx, h, job.ID, lookInterval, shown.show)
		return err
	}, a)
	shown.end()
	if err != nil {
		return err
	}
	return p.finish(context.WithoutCancel(ctx), h, o, job.ID)
}

// checkStores opens both ends for a moment, so that a mistake in a URL is said
// before anything is started.
func checkStores(ctx context.Context, known storage.Drivers, urls ...string) error {
	for _, u := range urls {
		s, err := known.Open(ctx, u)
		if storage.Is(err, work.Invalid) {
			return fail(ExitUsage, err, "see tranship copy --help")
		} else if err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// openJob continues the newest open job with the order's ends and options, or
// creates it.
func (p *program) openJob(ctx context.Context, h *hub, o *copyOrder) (work.Job, error) {
	job, found, err := h.ledger.OpenJob(ctx, o.source, o.target, o.options)
	if err != nil {
		return job, err
	}
	if found {
		p.say("continuing job %d: %s of %s objects are done", job.ID, count(job.Planned-job.Open), count(job.Planned)+more(job.Scanning))
		if job.State == work.Paused {
			job, err = h.ledger.Resume(ctx, job.ID, who())
		}
	} else {
		site := o.site
		if site == work.DefaultSite {
			site = aloneSite
		}
		job, _, err = h.ledger.CreateJob(ctx, work.NewJob{
			Name: o.name, Source: o.source, Target: o.target, Options: o.options,
			Site: site, Class: o.class, SubmittedBy: who(),
		}, work.Idempotency{})
	}
	if err != nil {
		return job, err
	}
	return job, p.pauseOthers(ctx, h, job)
}

// pauseOthers holds what other copies left running when they were killed: the
// user asked for one job. In a ledger that others may use, theirs are left
// alone.
func (p *program) pauseOthers(ctx context.Context, h *hub, mine work.Job) error {
	if h.postgres == nil {
		return nil
	}
	q := work.JobQuery{State: work.Running, Limit: pageRows}
	for {
		jobs, next, err := h.ledger.Jobs(ctx, q)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.ID == mine.ID || j.Site != mine.Site {
				continue
			}
			if _, err := h.ledger.Pause(ctx, j.ID, who()); err != nil {
				return err
			}
			p.say("job %d, %s to %s, was interrupted and waits: its own command continues it", j.ID, text(j.Source), text(j.Target))
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}

// follow looks at a job every so often, and hands it to each, until it has
// ended or ctx has. It returns the job as it was seen last.
func (p *program) follow(ctx context.Context, h *hub, id work.JobID, every time.Duration, each func(work.Job)) (work.Job, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var job work.Job
	said := ""
	for {
		seen, err := h.ledger.Job(ctx, id)
		switch {
		case err == nil:
			job = seen
			each(job)
			if said = ""; !job.State.Open() {
				return job, nil
			}
		case ctx.Err() != nil:
		case errors.Is(err, work.ErrNoJob):
			return job, err
		case err.Error() != said: // the database may be restarting
			said = err.Error()
			p.say("waiting for the ledger: %s", said)
		}
		select {
		case <-ctx.Done():
			return job, ctx.Err()
		case <-tick.C:
		}
	}
}

// finish tells how a job ended, or that it was interrupted.
func (p *program) finish(ctx context.Context, h *hub, o *copyOrder, id work.JobID) error {
	job, err := h.ledger.Job(ctx, id)
	if err != nil {
		return err
	}
	if job.State.Open() {
		if job.State == work.Running {
			if _, err := h.ledger.Pause(ctx, id, who()); err != nil {
				return err
			}
		}
		return fail(ExitCanceled,
			fmt.Errorf("stopped: %s of %s objects of job %d are done", count(job.Planned-job.Open), count(job.Planned)+more(job.Scanning), id),
			"the same command continues it")
	}
	found, err := readEvidence(ctx, h.ledger, id)
	if err != nil {
		return err
	}
	p.summarize(job, found)
	if err := writeOne(p.stdout, o.out, api.Job{Job: job}, jobColumns()); err != nil {
		return err
	}
	return withNext(jobEnd(job), fmt.Sprintf("the same command tries them again; tranship up --data %s lists them", h.cfg.Data))
}
