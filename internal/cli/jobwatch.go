package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobWatchCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:   "watch JOB",
		Short: "Follow a job to its end; the exit status is the job's",
		Long: `Follow a job to its end: how far it is, how fast, which agents move it and what
fails, rewritten in place on a terminal; a line of JSON every few seconds
elsewhere. The exit status is 0 if it succeeded, 3 if it finished with
failed objects, 1 if it failed and 10 if it was canceled. Stopping the command
does not stop the job.`,
		Args: arguments("JOB"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			return p.watch(cmd.Context(), c, id, out)
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

// watch follows a job of a server to its end, writes it and returns what its
// end means. A server that goes away meanwhile is waited for.
func (p *program) watch(ctx context.Context, c *api.Client, id work.JobID, out format) error {
	job, err := c.Job(ctx, id)
	if err != nil {
		return answered(err)
	}
	shown := p.newView(c)
	defer shown.end()
	shown.show(ctx, job)
	p.sayStill(api.Job{}, job)
	if job.State.Open() {
		job, err = p.awaitEnd(ctx, c, job, shown)
	}
	shown.end()
	switch {
	case ctx.Err() != nil:
		return fail(ExitCanceled, fmt.Errorf("stopped following job %d, which goes on", id),
			fmt.Sprintf("tranship job watch %d follows it again", id))
	case err != nil:
		return answered(err)
	}
	tallies, err := c.Tallies(ctx, id)
	if err != nil {
		return answered(err)
	}
	p.summarize(job.Job, evidenceOf(tallies))
	if err := writeOne(p.stdout, out, job, jobColumns()); err != nil {
		return err
	}
	return withNext(jobEnd(job.Job), fmt.Sprintf("tranship job failures %d lists them; tranship job retry %d tries them again", id, id))
}

// awaitEnd follows the live view of an open job until it has ended. The error
// is why the view ended before.
func (p *program) awaitEnd(ctx context.Context, c *api.Client, job api.Job, shown *view) (api.Job, error) {
	var last error
	for m, err := range c.Events(ctx, api.StreamQuery{Job: job.ID}) {
		if last = err; err != nil {
			p.say("waiting for the server: %v", err)
			continue
		}
		if m.Job == nil || m.Job.ID != job.ID {
			continue
		}
		p.sayStill(job, *m.Job)
		job = *m.Job
		if !job.State.Open() {
			// The view may lag behind: right after a retry it still knows the
			// job's first end.
			if job, last = c.Job(ctx, job.ID); last != nil || !job.State.Open() {
				shown.show(ctx, job)
				return job, last
			}
		}
		shown.show(ctx, job)
	}
	return job, last
}

// sayStill tells people that a job stands still, or that no agent takes work of
// it, and why, when that is news.
func (p *program) sayStill(before, now api.Job) {
	if is := now.Stalled; is != nil {
		if was := before.Stalled; was == nil || was.Why != is.Why {
			p.say("job %d is stalled, nothing has moved since %s: %s\n  %s", now.ID, stamp(is.Since), text(is.Why), text(is.Next))
		}
		return
	}
	if is := now.Waiting; is != nil && (before.Waiting == nil || before.Waiting.Why != is.Why) {
		p.say("job %d is waiting for an agent: %s\n  %s", now.ID, text(is.Why), text(is.Next))
	}
}
