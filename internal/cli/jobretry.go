package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
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
below one prefix. Without either, a listing of the source that broke off goes
on too. The job runs again until they are done.`,
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
			r, err := c.Retry(ctx, id, api.Retry{Fault: f, Prefix: prefix, DryRun: dryRun})
			if err != nil {
				return answered(err)
			}
			if dryRun {
				p.say("would try %s objects of job %d again%s", count(r.Objects), id, ranges(r.Ranges))
				return nil
			}
			p.say("%s objects of job %d are tried again%s", count(r.Objects), id, goesOn(r.Job))
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

// ranges says that the listing of a source would go on.
func ranges(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return " and list a range of its source that could not be listed"
	}
	return fmt.Sprintf(" and list %s ranges of its source that could not be listed", count(n))
}

// goesOn says that the listing of a source does.
func goesOn(j api.Job) string {
	if !j.Scanning {
		return ""
	}
	return "; the listing of its source goes on"
}
