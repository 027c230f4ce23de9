package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
)

func (p *program) jobShowCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "show JOB",
		Short:   "Show one job: how far it is, when it will end, what fails",
		Args:    arguments("JOB"),
		Example: example("tranship job show 7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			job, err := c.Job(cmd.Context(), id)
			if err != nil {
				return answered(err)
			}
			if out == formatTable || (out == formatAuto && isTerminal(p.stdout)) {
				return showJob(cmd.Context(), p.stdout, c, job)
			}
			return writeOne(p.stdout, out, job, jobColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

// showJob writes a job as people read it.
func showJob(ctx context.Context, w io.Writer, c *api.Client, job api.Job) error {
	tallies, err := c.Tallies(ctx, job.ID)
	if err != nil {
		return answered(err)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(tw, name+"\t"+format+"\n", args...)
	}
	line("job", "%d", job.ID)
	if job.Name != "" {
		line("name", "%s", text(job.Name))
	}
	line("state", "%s", job.State)
	if job.Error != "" {
		line("error", "%s", text(job.Error))
	}
	line("source", "%s", text(job.Source))
	line("target", "%s", text(job.Target))
	line("options", "verify %s, compare %s, %d attempts", job.Options.Verify, job.Options.Compare, job.Options.MaxAttempts)
	line("site", "%s, class %s", job.Site, job.Class)
	line("created", "%s by %s", stamp(job.CreatedAt), text(job.SubmittedBy))
	if !job.FinishedAt.IsZero() {
		line("finished", "%s, after %s", stamp(job.FinishedAt), took(job.Job))
	}
	line("objects", "%s planned%s = %s copied + %s skipped + %s failed + %s open", count(job.Planned), listing(job.Scanning),
		count(job.Copied), count(job.Skipped), count(job.Failed), count(job.Open))
	line("bytes", "%s of %s done, %s moved", bytesText(job.DoneBytes), bytesText(job.PlannedBytes), bytesText(job.MovedBytes))
	if pr := job.Progress; pr != nil && job.State.Open() {
		line("rate", "%.0f objects/s, %s/s", pr.ObjectsRate, bytesText(int64(pr.BytesRate)))
		if !pr.ETA.IsZero() {
			line("end", "in %s, %s", span(time.Until(pr.ETA)), pr.Basis)
		} else if pr.Basis != "" {
			line("end", "%s", pr.Basis)
		}
	}
	line("retries", "%s", count(job.Retries))
	for _, t := range tallies.Skips {
		line("skipped", "%s because of the same %s", count(t.Count), t.Name)
	}
	for _, t := range tallies.Failures {
		line("failed", "%s %s, for example %s: %s", count(t.Count), t.Name, text(t.Key), text(t.Text))
	}
	return tw.Flush()
}

// listing says that a number still grows.
func listing(scanning bool) string {
	if scanning {
		return " so far"
	}
	return ""
}
