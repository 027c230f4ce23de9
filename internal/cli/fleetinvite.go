package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) fleetInviteCommand() *cobra.Command {
	var (
		server, site string
		life         time.Duration
		dryRun       bool
		out          format
	)
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Invite an agent to a site: prints the one command to run on its machine",
		Long: `Invite an agent to a site. What is printed is the one command to run on the
agent's machine. The token in it works once and for a short time, and is shown
this once. The agent makes a key of its own, which never leaves its machine, and
gets the rights of one agent of that site. A second agent on one machine, beside
that of tranship up, needs --name and --data: a name and a folder of its own.`,
		Args:    arguments(),
		Example: example("tranship fleet invite --site aws-eu-west-1", "tranship fleet invite --site lab --expires 24h"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := work.CheckSite(site); err != nil {
				return usage("name the site with --site", "%w", err)
			}
			if life < work.LeastInvite || life > work.MostInvite {
				return usage("write for example --expires 1h", "--expires %v is not between %v and %v", life, work.LeastInvite, work.MostInvite)
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			invited, err := c.Invite(cmd.Context(), site, life, dryRun)
			if err != nil {
				return answered(err)
			}
			return p.showInvited(invited, out)
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().StringVar(&site, "site", "", "where the agent is to stand")
	cmd.Flags().DurationVar(&life, "expires", work.InviteLife, "how long the invitation counts; at most 168h")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say where the agent would join")
	return cmd
}

// showInvited writes the command that an invitation is.
func (p *program) showInvited(i api.Invited, out format) error {
	for _, note := range i.Notes {
		p.say("note: %s", text(note))
	}
	if i.Token == "" {
		p.say("would invite an agent to %s until %s; it would join at %s and find NATS at %s",
			i.Invite.Site, stamp(i.Invite.ExpiresAt), text(i.Server), text(i.NATS))
	} else {
		p.say("on the agent's machine, until %s (if another agent runs there, add --name and --data, for a name and a folder of its own):",
			stamp(i.Invite.ExpiresAt))
	}
	if out == formatJSON || out == formatNDJSON {
		return writeOne(p.stdout, out, i, nil)
	}
	if i.Token == "" {
		return nil
	}
	_, err := fmt.Fprintln(p.stdout, shellQuote(i.Command()...))
	return err
}

func (p *program) fleetInvitesCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "invites",
		Short:   "List the invitations that may still be used",
		Args:    arguments(),
		Example: example("tranship fleet invites"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			invites, err := c.Invites(cmd.Context())
			if err != nil {
				return answered(err)
			}
			return writeRows(p.stdout, out, each(invites), inviteColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func inviteColumns() []column[work.Invite] {
	return []column[work.Invite]{
		plain("id", func(i work.Invite) string { return strconv.FormatInt(i.ID, 10) }),
		plain("site", func(i work.Invite) string { return text(i.Site) }),
		timeColumn("created", func(i work.Invite) time.Time { return i.CreatedAt }),
		plain("by", func(i work.Invite) string { return text(i.CreatedBy) }),
		plain("expires", func(i work.Invite) string { return stamp(i.ExpiresAt) }),
	}
}

func (p *program) fleetUninviteCommand() *cobra.Command {
	var (
		server string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:     "uninvite ID",
		Short:   "Take an invitation back that was not used yet",
		Args:    arguments("ID"),
		Example: example("tranship fleet uninvite 7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return usage("tranship fleet invites lists them", "%q is not the number of an invitation", args[0])
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			if dryRun {
				return p.wouldUninvite(cmd, c, id)
			}
			if err := c.Uninvite(cmd.Context(), id); err != nil {
				return answered(err)
			}
			p.say("invitation %d is taken back", id)
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say whether there is one to take back")
	return cmd
}

func (p *program) wouldUninvite(cmd *cobra.Command, c *api.Client, id int64) error {
	invites, err := c.Invites(cmd.Context())
	if err != nil {
		return answered(err)
	}
	for _, i := range invites {
		if i.ID == id {
			p.say("would take back invitation %d, to %s", id, i.Site)
			return nil
		}
	}
	return fail(ExitFailed, fmt.Errorf("there is no open invitation %d", id), "tranship fleet invites lists them")
}
