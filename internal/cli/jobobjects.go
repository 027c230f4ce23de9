package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobObjectsCommand() *cobra.Command {
	var (
		server, outcome, prefix string
		open                    bool
		limit                   int
		out                     format
	)
	cmd := &cobra.Command{
		Use:     "objects JOB",
		Short:   "List the objects of a job and what became of each",
		Args:    arguments("JOB"),
		Example: example("tranship job objects 7 --outcome failed", "tranship job objects 7 --limit 0 -o ndjson > objects.ndjson"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			if outcome != "" {
				if _, err := oneOf("outcome", work.Outcome(outcome), work.Copied, work.Skipped, work.Failed); err != nil {
					return err
				}
				if open {
					return usage("use one of them", "--open and --outcome exclude each other")
				}
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			q := work.ObjectQuery{Job: id, Outcome: work.Outcome(outcome), Open: open, Prefix: prefix}
			rows := pages(limit, func(page api.Page) ([]api.Object, string, error) {
				q.Cursor, q.Limit = page.Cursor, page.Limit
				l, err := c.Objects(cmd.Context(), q)
				return l.Objects, l.Next, err
			})
			return writeRows(p.stdout, out, rows, objectColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	limitFlag(cmd, &limit, 1000)
	cmd.Flags().StringVar(&outcome, "outcome", "", "only objects with this outcome: copied, skipped or failed")
	cmd.Flags().BoolVar(&open, "open", false, "only objects that are not done")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only objects whose key begins with this")
	return cmd
}

func objectColumns() []column[api.Object] {
	return []column[api.Object]{
		plain("outcome", func(o api.Object) string {
			if o.Outcome == "" {
				return "open"
			}
			return string(o.Outcome)
		}),
		bytesColumn("size", func(o api.Object) int64 { return o.Size }),
		countColumn("attempt", func(o api.Object) int64 { return int64(o.Attempt) }),
		plain("proof", func(o api.Object) string { return text(o.Proof) }),
		plain("checksum", func(o api.Object) string { return text(o.Checksum) }),
		timeColumn("at", func(o api.Object) time.Time { return o.At }),
		plain("agent", func(o api.Object) string { return text(o.Agent) }),
		plain("key", func(o api.Object) string { return work.Quote(o.Key) }),
		plain("reason", func(o api.Object) string { return text(o.Reason) }),
		plain("error", func(o api.Object) string { return text(o.Error) }),
		plain("dropped", func(o api.Object) string { return text(o.Dropped) }),
	}
}
