package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// An agentOrder is a command to one agent.
type agentOrder struct {
	server      string
	yes, dryRun bool
}

func (p *program) fleetRevokeCommand() *cobra.Command {
	var o agentOrder
	cmd := &cobra.Command{
		Use:   "revoke SITE/AGENT",
		Short: "Shut an agent out of the fleet at once, and for good",
		Long: `Shut an agent out of the fleet. Its connection ends at once and its key is never
let in again. What it holds goes to other agents once its time there is over
(nats.ack_wait); nothing is lost. Its name may be used again by an agent that is
invited. Storage credentials that were on its machine are yours to revoke.`,
		Args:    arguments("AGENT"),
		Example: example("tranship fleet revoke aws-eu-west-1/agent-7 --yes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.toAgent(cmd.Context(), o, args[0], p.revoke)
		},
	}
	serverFlag(cmd, &o.server)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do it; there is no way back")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would happen")
	return cmd
}

// toAgent does something to the agent that a command names.
func (p *program) toAgent(ctx context.Context, o agentOrder, name string, do func(context.Context, *api.Client, agentOrder, work.AgentRow) error) error {
	c, err := p.client(o.server)
	if err != nil {
		return err
	}
	a, err := findAgent(ctx, c, name)
	if err != nil {
		return err
	}
	return do(ctx, c, o, a)
}

func (p *program) revoke(ctx context.Context, c *api.Client, o agentOrder, a work.AgentRow) error {
	name := a.Site + "/" + a.Agent
	holds := fmt.Sprintf("%s items that it holds go to other agents once nats.ack_wait is over", count(int64(a.Items)))
	switch {
	case a.Identity == nil:
		return fail(ExitFailed, fmt.Errorf("agent %s has not joined by an invitation", name),
			"it connects by credentials of NATS, or to servers that let everybody in: shut it out there")
	case o.dryRun:
		p.say("would revoke agent %s; %s", name, holds)
		return nil
	case !o.yes:
		return usage("say --yes to do it, or --dry-run to see what would happen", "revoking agent %s cannot be undone", name)
	}
	if _, err := c.RevokeAgent(ctx, a.Site, a.Agent); err != nil {
		return answered(err)
	}
	p.say("agent %s is revoked; %s", name, holds)
	return nil
}

func (p *program) fleetDrainCommand() *cobra.Command {
	var o agentOrder
	cmd := &cobra.Command{
		Use:   "drain SITE/AGENT",
		Short: "Have an agent finish what it holds, take nothing more, and end",
		Long: `Have an agent finish what it holds, take nothing more, and end. Under systemd it
is started again: stop the unit on its machine if it is to stay away.`,
		Args:    arguments("AGENT"),
		Example: example("tranship fleet drain aws-eu-west-1/agent-7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.toAgent(cmd.Context(), o, args[0], p.drain)
		},
	}
	serverFlag(cmd, &o.server)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would happen")
	return cmd
}

func (p *program) drain(ctx context.Context, c *api.Client, o agentOrder, a work.AgentRow) error {
	holds := fmt.Sprintf("%s items that it holds", count(int64(a.Items)))
	if o.dryRun {
		p.say("would have agent %s/%s finish %s and end", a.Site, a.Agent, holds)
		return nil
	}
	if err := c.DrainAgent(ctx, a.Site, a.Agent); err != nil {
		return answered(err)
	}
	p.say("agent %s/%s finishes %s and ends", a.Site, a.Agent, holds)
	return nil
}

// findAgent returns the agent that a command names, by its name alone if no
// other site has one of that name.
func findAgent(ctx context.Context, c *api.Client, name string) (work.AgentRow, error) {
	agents, err := c.Agents(ctx)
	if err != nil {
		return work.AgentRow{}, answered(err)
	}
	site, agent, both := strings.Cut(name, "/")
	if !both {
		site, agent = "", name
	}
	var found []work.AgentRow
	var names []string
	for _, a := range agents {
		if a.Agent == agent && (!both || a.Site == site) {
			found, names = append(found, a), append(names, a.Site+"/"+a.Agent)
		}
	}
	switch len(found) {
	case 0:
		return work.AgentRow{}, fail(ExitFailed, fmt.Errorf("no agent is called %s", text(name)), "tranship fleet ls lists them")
	case 1:
		return found[0], nil
	}
	return work.AgentRow{}, usage("say which: "+strings.Join(names, " or "), "several agents are called %s", text(name))
}
