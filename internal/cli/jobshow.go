package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
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
	if s := job.Stalled; s != nil {
		line("stalled", "since %s: %s", stamp(s.Since), text(s.Why))
		line("", "%s", text(s.Next))
		line("", "%s items are due, %s are handed out", count(s.Ready), count(s.Queued))
	} else if w := job.Waiting; w != nil {
		line("waiting", "for an agent: %s", text(w.Why))
		line("", "%s", text(w.Next))
	}
	line("source", "%s", text(job.Source))
	if job.Report != nil {
		facts(line, job.Report.Source)
	}
	line("target", "%s", text(job.Target))
	if job.Report != nil {
		facts(line, job.Report.Target)
		for _, l := range job.Report.Losses {
			line("cannot hold", "%s: %s; %s", text(string(l.Field)), api.PolicyWords(l.Policy), text(l.Why))
		}
	}
	line("options", "%s", optionWords(job.Options))
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
	found := evidenceOf(tallies)
	if s := api.Proven(job.Job, found.proofs); s != "" {
		line("proof", "%s", s)
	}
	for _, t := range found.dropped {
		line("left behind", "%s by %s objects%s", text(t.Name), count(t.Count), suchAs(t))
	}
	for _, t := range found.skips {
		line("skipped", "%s because %s%s", count(t.Count), text(api.Because(t.Name)), suchAs(t))
	}
	for _, t := range found.failures {
		line("failed", "%s %s, for example %s: %s", count(t.Count), t.Name, text(t.Key), text(t.Text))
	}
	return tw.Flush()
}

// facts writes what a store is, and what an agent found out about it.
func facts(line func(name, format string, args ...any), s work.StoreReport) {
	line("", "kind: %s", text(s.Driver))
	for _, f := range s.Facts {
		line("", "%s: %s", text(f.Name), text(f.Text))
	}
}

// optionWords says what a job's user chose.
func optionWords(o work.Options) string {
	words := fmt.Sprintf("verify %s, compare %s, %d attempts", o.Verify, o.Compare, o.MaxAttempts)
	if o.Split != 0 {
		words += ", parts from " + bytesText(o.Split)
	}
	if o.Class != "" {
		words += ", storage class " + text(string(o.Class))
	}
	if o.Carry != "" {
		words += ", carry " + text(string(o.Carry))
	}
	return words
}

// listing says that a number still grows.
func listing(scanning bool) string {
	if scanning {
		return " so far"
	}
	return ""
}
