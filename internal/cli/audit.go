package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) auditCommand() *cobra.Command {
	var (
		server string
		limit  int
		out    format
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List who did what, and from where, newest first",
		Long: `List the audit log: who did what to jobs, agents, tokens, limits and receivers,
when, and from which address. The newest come first.`,
		Args:    arguments(),
		Example: example("tranship audit", "tranship audit --limit 0 -o ndjson"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			rows := pages(limit, func(page api.Page) ([]work.Event, string, error) {
				before, _ := strconv.ParseInt(page.Cursor, 10, 64) // of the page before; "" is 0
				events, err := c.Audit(cmd.Context(), before, page.Limit)
				if len(events) < page.Limit {
					return events, "", err
				}
				return events, strconv.FormatInt(events[len(events)-1].ID, 10), err
			})
			return writeRows(p.stdout, out, rows, eventColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	limitFlag(cmd, &limit, 50)
	return cmd
}

func eventColumns() []column[work.Event] {
	return []column[work.Event]{
		plain("id", func(e work.Event) string { return strconv.FormatInt(e.ID, 10) }),
		timeColumn("at", func(e work.Event) time.Time { return e.At }),
		plain("who", func(e work.Event) string { return text(e.Who) }),
		plain("from", func(e work.Event) string { return text(e.From) }),
		plain("job", func(e work.Event) string { return jobText(e.Job) }),
		plain("what", func(e work.Event) string { return text(e.What) }),
		plain("note", func(e work.Event) string { return text(e.Note) }),
	}
}
