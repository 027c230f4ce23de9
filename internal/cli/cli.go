package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tranship/tranship/config"
)

// Run runs the command that args name, without the program's own name, and
// returns the exit status. When ctx ends, the command puts down what it holds
// and returns.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: newConsole(stderr), lookup: os.LookupEnv}
	return p.run(ctx, args)
}

// A program is one run of the command line and the world it sees.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	stderr *console
	lookup func(string) (string, bool) // a variable of the environment
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.completed(p.root())
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	var f *failure
	if err != nil && ctx.Err() != nil && !errors.As(err, &f) {
		err = fail(ExitCanceled, fmt.Errorf("stopped: %w", err), "") // whatever it was in the middle of says of that
	}
	if err != nil {
		report(p.stderr, err)
	}
	return status(err)
}

// say writes a line of talk.
func (p *program) say(format string, args ...any) {
	fmt.Fprintf(p.stderr, format+"\n", args...)
}

// env returns a variable of the environment, or "".
func (p *program) env(name string) string {
	v, _ := p.lookup(name)
	return v
}

func (p *program) root() *cobra.Command {
	root := group("tranship", "Move objects between clouds with a fleet of agents",
		`Tranship moves objects between storage systems with a fleet: a coordinator
plans jobs and keeps the ledger, agents move the bytes.

Exit status: 0 success, 1 failure, 2 usage, 3 finished with failed objects,
4 not allowed, 5 server unreachable, 6 verification mismatch, 10 canceled.`)
	root.Version = buildVersion().Version
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		p.demoCommand(),
		p.upCommand(),
		p.copyCommand(),
		p.jobCommand(),
		p.fleetCommand(),
		p.tokenCommand(),
		p.openCommand(),
		p.limitCommand(),
		p.doctorCommand(),
		p.contextCommand(),
		p.noticeCommand(),
		p.auditCommand(),
		p.coordinatorCommand(),
		p.agentCommand(),
		p.migrateCommand(),
		p.versionCommand(),
		p.manCommand(),
	)
	return root
}

// group returns a command that only holds others.
func group(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
}

func unknownCommand(parent *cobra.Command, word string) error {
	var known []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	next := fmt.Sprintf("see %s --help", parent.CommandPath())
	if near := config.Nearest(word, known); near != "" {
		next = fmt.Sprintf("did you mean %s %s?", parent.CommandPath(), near)
	}
	return usage(next, "unknown command %q for %s", word, parent.CommandPath())
}

// flagError turns what pflag says into a failure with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	next := fmt.Sprintf("see %s --help", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), known); near != "" {
			next = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return usage(next, "%s: %w", cmd.CommandPath(), err)
}

// arguments returns a check that a command got one argument for each name, of
// which those in brackets, at the end, may be missing.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names) && !strings.HasPrefix(names[len(args)], "["):
			return usage("usage: "+cmd.UseLine(), "%s: %s is missing", cmd.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return usage("usage: "+cmd.UseLine(), "%s: %q is one argument too many", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// atMost returns a check that a command got no more arguments than names.
func atMost(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usage("usage: "+cmd.UseLine(), "%s: %q is one argument too many", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// example formats the lines of a command's examples.
func example(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
