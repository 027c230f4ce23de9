package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobPauseCommand() *cobra.Command {
	return p.stateCommand("pause", "Hold a job: agents take no more of its items", (*api.Client).Pause)
}

func (p *program) jobResumeCommand() *cobra.Command {
	return p.stateCommand("resume", "Let a paused job go on", (*api.Client).Resume)
}

func (p *program) jobCancelCommand() *cobra.Command {
	return p.stateCommand("cancel", "End a job; what was copied stays at the target", (*api.Client).Cancel)
}

// stateCommand returns a command that changes a job's state and writes the job.
func (p *program) stateCommand(verb, short string, change func(*api.Client, context.Context, work.JobID) (api.Job, error)) *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     verb + " JOB",
		Short:   short,
		Args:    arguments("JOB"),
		Example: example("tranship job " + verb + " 7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := jobID(args[0])
			if err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			job, err := change(c, cmd.Context(), id)
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
