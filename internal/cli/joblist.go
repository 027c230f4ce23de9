package cli

import (
	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobListCommand() *cobra.Command {
	var (
		server, state string
		limit         int
		out           format
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List jobs, newest first",
		Args:    arguments(),
		Example: example("tranship job ls", "tranship job ls --state running -o json"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" {
				if _, err := oneOf("state", work.JobState(state), work.Running, work.Paused, work.Succeeded,
					work.Incomplete, work.JobFailed, work.Canceled); err != nil {
					return err
				}
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			rows := pages(limit, func(page api.Page) ([]api.Job, string, error) {
				l, err := c.Jobs(cmd.Context(), work.JobState(state), page)
				return l.Jobs, l.Next, err
			})
			return writeRows(p.stdout, out, rows, jobColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	limitFlag(cmd, &limit, 50)
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this state: running, paused, succeeded, incomplete, failed or canceled")
	return cmd
}
