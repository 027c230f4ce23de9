package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/work"
)

func (p *program) fleetCommand() *cobra.Command {
	cmd := group("fleet", "Look at the agents, let new ones join, revoke old ones",
		`Agents of the coordinator that --server or `+serverVariable+` names.`)
	cmd.AddCommand(
		p.fleetListCommand(),
		p.fleetShowCommand(),
		p.fleetInviteCommand(),
		p.fleetInvitesCommand(),
		p.fleetUninviteCommand(),
		p.fleetJoinCommand(),
		p.fleetDrainCommand(),
		p.fleetRevokeCommand(),
		p.fleetKeysCommand(),
		p.fleetLeafCommand(),
	)
	return cmd
}

func (p *program) fleetListCommand() *cobra.Command {
	var (
		server, site string
		out          format
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the agents: where they are, what they do, when they were last heard",
		Args:    arguments(),
		Example: example("tranship fleet ls"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			agents, err := c.Agents(cmd.Context())
			if err != nil {
				return answered(err)
			}
			if site != "" {
				agents = slices.DeleteFunc(agents, func(a work.AgentRow) bool { return a.Site != site })
			}
			return writeRows(p.stdout, out, each(agents), agentColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().StringVar(&site, "site", "", "only those of this site")
	return cmd
}

func agentColumns() []column[work.AgentRow] {
	return []column[work.AgentRow]{
		plain("agent", func(a work.AgentRow) string { return text(a.Agent) }),
		plain("site", func(a work.AgentRow) string { return text(a.Site) }),
		plain("state", agentState),
		timeColumn("seen", func(a work.AgentRow) time.Time { return a.LastSeen }),
		countColumn("items", func(a work.AgentRow) int64 { return int64(a.Items) }),
		plain("streams", func(a work.AgentRow) string { return fmt.Sprintf("%d/%d", a.Streams, a.Limit) }),
		bytesColumn("rate", func(a work.AgentRow) int64 { return int64(a.Rate) }),
		countColumn("objects", func(a work.AgentRow) int64 { return a.Objects }),
		bytesColumn("moved", func(a work.AgentRow) int64 { return a.Bytes }),
		plain("host", func(a work.AgentRow) string { return text(a.Host) }),
		plain("version", func(a work.AgentRow) string { return text(a.Version) }),
		plain("trouble", func(a work.AgentRow) string { return text(a.Trouble) }),
	}
}
