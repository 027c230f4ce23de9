package cli

import (
	"context"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobFailuresCommand() *cobra.Command {
	var (
		server, fault, prefix string
		limit                 int
		out                   format
	)
	cmd := &cobra.Command{
		Use:     "failures JOB",
		Short:   "List the objects that a job gave up, with the reason of each",
		Args:    arguments("JOB"),
		Example: example("tranship job failures 7", "tranship job failures 7 --fault denied -o ndjson"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			f, err := checkFault(fault)
			if err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			some := false
			rows := func(yield func(api.Failure, error) bool) {
				for row, err := range p.failures(cmd.Context(), c, work.FailureQuery{Job: id, Fault: f, Prefix: prefix}, limit) {
					some = some || err == nil
					if !yield(row, err) {
						return
					}
				}
			}
			if err := writeRows(p.stdout, out, rows, failureColumns()); err != nil {
				return err
			}
			if some {
				p.say("tranship job attempts %d KEY shows every attempt at one of them", id)
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	limitFlag(cmd, &limit, 0)
	cmd.Flags().StringVar(&fault, "fault", "", "only objects that failed for this reason, such as denied")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only objects whose key begins with this")
	return cmd
}

// failures lists what q selects, at most limit; 0 means all.
func (p *program) failures(ctx context.Context, c *api.Client, q work.FailureQuery, limit int) iter.Seq2[api.Failure, error] {
	return pages(limit, func(page api.Page) ([]api.Failure, string, error) {
		q.Cursor, q.Limit = page.Cursor, page.Limit
		l, err := c.Failures(ctx, q)
		return l.Failures, l.Next, err
	})
}

func failureColumns() []column[api.Failure] {
	return []column[api.Failure]{
		plain("fault", func(f api.Failure) string { return string(f.Fault) }),
		countColumn("attempts", func(f api.Failure) int64 { return int64(f.Attempts) }),
		timeColumn("at", func(f api.Failure) time.Time { return f.At }),
		plain("agent", func(f api.Failure) string { return text(f.Agent) }),
		plain("key", func(f api.Failure) string { return work.Quote(f.Key) }),
		plain("message", func(f api.Failure) string { return text(f.Message) }),
	}
}
