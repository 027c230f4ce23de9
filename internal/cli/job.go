package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/work"
)

func (p *program) jobCommand() *cobra.Command {
	cmd := group("job", "Look at jobs and steer them",
		`Jobs of the coordinator that --server or `+serverVariable+` names.`)
	cmd.AddCommand(
		p.jobListCommand(),
		p.jobShowCommand(),
		p.jobWatchCommand(),
		p.jobPauseCommand(),
		p.jobResumeCommand(),
		p.jobCancelCommand(),
		p.jobRetryCommand(),
		p.jobPriorityCommand(),
		p.jobFailuresCommand(),
		p.jobAttemptsCommand(),
		p.jobObjectsCommand(),
		p.jobReportCommand(),
	)
	return cmd
}

// checkFault reports whether s, if it is not empty, names a fault.
func checkFault(s string) (work.Fault, error) {
	if s == "" {
		return "", nil
	}
	return oneOf("fault", work.Fault(s), work.Faults()...)
}

// oneOf returns value if it is one of known, else a failure that lists them.
func oneOf[T ~string](what string, value T, known ...T) (T, error) {
	list := ""
	for i, k := range known {
		if k == value {
			return value, nil
		}
		switch i {
		case 0:
		case len(known) - 1:
			list += " or "
		default:
			list += ", "
		}
		list += string(k)
	}
	return "", usage(fmt.Sprintf("use %s", list), "unknown %s %q", what, value)
}
