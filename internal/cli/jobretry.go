package cli

import (
	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobRetryCommand() *cobra.Command {
	var (
		server, fault, prefix string
		dryRun, wait          bool
		out                   format
	)
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Try failed objects of a job again",
		Long: `Try failed objects of a job again, all of them or those of one fault and
below one prefix. The job runs again until they are done.`,
		Args:    arguments("JOB"),
		Example: example("tranship job retry 7 --fault denied", "tranship job retry 7 --dry-run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
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
			if dryRun {
				n := int64(0)
				for _, err := range p.failures(ctx, c, work.FailureQuery{Job: id, Fault: f, Prefix: prefix}, 0) {
					if err != nil {
						return err
					}
					n++
				}
				p.say("would try %s objects of job %d again", count(n), id)
				return nil
			}
			r, err := c.Retry(ctx, id, api.Retry{Fault: f, Prefix: prefix})
			if err != nil {
				return answered(err)
			}
			p.say("%s objects of job %d are tried again", count(r.Objects), id)
			if wait {
				return p.watch(ctx, c, id, out)
			}
			return writeOne(p.stdout, out, r.Job, jobColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().StringVar(&fault, "fault", "", "only objects that failed for this reason, such as denied")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only objects whose key begins with this")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count them")
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the job to its end")
	return cmd
}
