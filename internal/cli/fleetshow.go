package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/work"
)

func (p *program) fleetShowCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "show SITE/AGENT",
		Short:   "Show one agent: what it does, what it knows, how it joined",
		Args:    arguments("AGENT"),
		Example: example("tranship fleet show aws-eu-west-1/agent-7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			a, err := findAgent(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if out == formatTable || (out == formatAuto && isTerminal(p.stdout)) {
				return showAgent(p.stdout, a)
			}
			return writeOne(p.stdout, out, a, agentColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

// showAgent writes an agent as people read it.
func showAgent(w io.Writer, a work.AgentRow) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(tw, name+"\t"+format+"\n", args...)
	}
	line("agent", "%s", text(a.Agent))
	line("site", "%s", text(a.Site))
	line("state", "%s", agentState(a))
	if a.Trouble != "" {
		line("trouble", "%s", text(a.Trouble))
	}
	line("host", "%s", text(a.Host))
	if !a.LastSeen.IsZero() {
		line("process", "%d, version %s, since %s", a.PID, text(a.Version), stamp(a.Started))
		line("seen", "%s", stamp(a.LastSeen))
		line("holds", "%s items, %d of %d streams move %s/s", count(int64(a.Items)), a.Streams, a.Limit, bytesText(int64(a.Rate)))
		line("moved", "%s objects, %s since its start", count(a.Objects), bytesText(a.Bytes))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		line("label "+text(name), "%s", text(a.Labels[name]))
	}
	if len(a.Stores) > 0 {
		line("stores", "%s", text(strings.Join(a.Stores, ", ")))
	}
	for _, t := range a.Tuning {
		line("streams", "%d from %s to %s, %s/s: %s", t.Streams, text(t.Source), text(t.Target), bytesText(int64(t.Rate)), text(t.Why))
	}
	if i := a.Identity; i != nil {
		line("joined", "%s, from host %s", stamp(i.JoinedAt), text(i.Host))
		if !i.RenewedAt.IsZero() {
			line("renewed", "%s", stamp(i.RenewedAt))
		}
		line("key", "%s", text(i.Key))
		if !i.RevokedAt.IsZero() {
			line("revoked", "%s by %s", stamp(i.RevokedAt), text(i.RevokedBy))
		}
	} else {
		line("joined", "not by an invitation")
	}
	return tw.Flush()
}

// agentState returns in a word or two how an agent is.
func agentState(a work.AgentRow) string {
	switch i := a.Identity; {
	case i != nil && !i.RevokedAt.IsZero():
		return "revoked"
	case a.LastSeen.IsZero():
		return "never seen"
	}
	return text(a.State)
}
