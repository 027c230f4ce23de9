package cli

import (
	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobPriorityCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:   "priority JOB CLASS",
		Short: "Make a job more urgent, or less: hi, norm or lo",
		Long: `Make a job more urgent, or less: hi, norm or lo.

What of the job is on the queue already, which is little, is still done in the
class that the job had.`,
		Args:    arguments("JOB", "CLASS"),
		Example: example("tranship job priority 7 hi"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			class, err := oneOf("class", work.Class(args[1]), work.Classes()...)
			if err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			job, err := c.SetPriority(cmd.Context(), id, class)
			if err != nil {
				return answered(err)
			}
			return writeOne(p.stdout, out, job, jobColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}
