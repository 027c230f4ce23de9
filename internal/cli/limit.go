package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) limitCommand() *cobra.Command {
	cmd := group("limit", "Say how fast the fleet may go",
		`Limits of the coordinator that --server or `+serverVariable+` names. They bound,
over all agents together, what goes to and from a store, what a site moves, or
what a job does. They hold while jobs run, and fall closed: agents that no
coordinator speaks to stop, after a few seconds, what a limit bounds.`)
	cmd.AddCommand(p.limitListCommand(), p.limitSetCommand(), p.limitRemoveCommand())
	return cmd
}

func (p *program) limitListCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the limits and what they allow now",
		Args:    arguments(),
		Example: example("tranship limit ls"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			list, err := c.Limits(cmd.Context())
			if err != nil {
				return answered(err)
			}
			if len(list.Limits) > 0 {
				for _, agent := range list.UnboundedAgents {
					p.say("agent %s keeps to no limit: it is of an older version, or does not answer", work.Quote(agent))
				}
			}
			return writeRows(p.stdout, out, each(list.Limits), limitColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func limitColumns() []column[api.Limit] {
	return []column[api.Limit]{
		plain("scope", func(l api.Limit) string { return string(l.Scope) }),
		plain("name", func(l api.Limit) string { return text(l.Name) }),
		{"bytes", func(l api.Limit) string { return rateText(l.Bytes) }, func(l api.Limit) string { return strconv.FormatInt(l.Bytes, 10) }},
		plain("requests", func(l api.Limit) string { return requestsText(l.Requests) }),
		plain("now", func(l api.Limit) string { return allowedText(l.Now) }),
		countColumn("windows", func(l api.Limit) int64 { return int64(len(l.Windows)) }),
		countColumn("agents", func(l api.Limit) int64 { return int64(len(l.Shares)) }),
		timeColumn("changed", func(l api.Limit) time.Time { return l.ChangedAt }),
		plain("by", func(l api.Limit) string { return text(l.ChangedBy) }),
	}
}

func rateText(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return bytesText(bytes) + "/s"
}

func requestsText(requests float64) string {
	if requests == 0 {
		return "-"
	}
	return strconv.FormatFloat(requests, 'f', -1, 64) + "/s"
}

func allowedText(a api.Allowed) string {
	switch {
	case a.Stop:
		return "nothing"
	case a.Rate == (work.Rate{}):
		return "everything"
	case a.Requests == 0:
		return rateText(a.Bytes)
	case a.Bytes == 0:
		return requestsText(a.Requests) + " requests"
	}
	return rateText(a.Bytes) + ", " + requestsText(a.Requests) + " requests"
}

func (p *program) limitSetCommand() *cobra.Command {
	var (
		server, bytes string
		requests      float64
		windows       []string
		dry           bool
		out           format
	)
	cmd := &cobra.Command{
		Use:   "set SCOPE NAME",
		Short: "Make a limit, or replace it",
		Long: `Make a limit, or replace that of the same scope and name.

SCOPE NAME is one of
  store URL   a bucket, or what lies below a URL, as source and target together
  site NAME   all agents of a site
  job NUMBER  one job

A limit of a store is about those with the URL's scheme and bucket, at its path
or below it, with every parameter that it has; store://NAME is a named store.

--window has another rate hold in a stretch of every week. It is written as
  [DAYS] FROM-UNTIL [ZONE] WHAT
with DAYS such as mon-fri or sat,sun (every day without), ZONE such as
Europe/Berlin (UTC without), and WHAT a number of bytes a second, of requests
such as 50req, both, "unlimited", or "stop". Of windows that overlap the first
counts; one that ends before it begins ends on the next day.`,
		Args: arguments("SCOPE", "NAME"),
		Example: example(
			"tranship limit set store s3://bucket --bytes 200MiB --requests 500",
			"tranship limit set site hub --bytes 1GiB --window 'mon-fri 08:00-18:00 Europe/Berlin 20MiB'",
			"tranship limit set job 7 --window '22:00-06:00 unlimited' --bytes 10MiB --dry-run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l := api.NewLimit{Name: args[1], DryRun: dry, Rate: work.Rate{Requests: requests}}
			var err error
			if l.Scope, err = work.ParseLimitScope(args[0]); err != nil {
				return usage("usage: "+cmd.UseLine(), "%w", err)
			}
			if bytes != "" {
				if l.Bytes, err = work.ParseSize(bytes); err != nil {
					return usage("write for example 200MiB", "--bytes: %w", err)
				}
			}
			for _, text := range windows {
				w, err := work.ParseWindow(text)
				if err != nil {
					return usage("write for example 'mon-fri 08:00-18:00 Europe/Berlin 20MiB'", "--window %q: %w", text, err)
				}
				l.Windows = append(l.Windows, w)
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			done, err := c.SetLimit(cmd.Context(), l)
			if err != nil {
				return answered(err)
			}
			return p.changed(out, done, dry)
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().StringVar(&bytes, "bytes", "", "a second, such as 200MiB (default: as many as there are)")
	cmd.Flags().Float64Var(&requests, "requests", 0, "to stores, a second (default: as many as there are)")
	cmd.Flags().StringArrayVar(&windows, "window", nil, "another rate for a stretch of every week; may be repeated")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "change nothing: say what would change")
	return cmd
}

func (p *program) limitRemoveCommand() *cobra.Command {
	var (
		server string
		dry    bool
		out    format
	)
	cmd := &cobra.Command{
		Use:     "rm SCOPE NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a limit",
		Args:    arguments("SCOPE", "NAME"),
		Example: example("tranship limit rm store s3://bucket"),
		RunE: func(cmd *cobra.Command, args []string) error {
			scope, err := work.ParseLimitScope(args[0])
			if err != nil {
				return usage("usage: "+cmd.UseLine(), "%w", err)
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			done, err := c.RemoveLimit(cmd.Context(), scope, args[1], dry)
			if err != nil {
				return answered(err)
			}
			return p.changed(out, done, dry)
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "change nothing: say what would be removed")
	return cmd
}

// changed writes what became of a limit, or would.
func (p *program) changed(f format, c api.ChangedLimit, dry bool) error {
	if dry {
		p.say("nothing was changed: this is what would be")
	}
	return writeOne(p.stdout, f, c, []column[api.ChangedLimit]{
		plain("limit", func(c api.ChangedLimit) string {
			l := c.Limit
			if l == nil {
				l = c.Before
			}
			return fmt.Sprintf("%s %s", l.Scope, text(l.Name))
		}),
		plain("before", func(c api.ChangedLimit) string { return limitText(c.Before) }),
		plain("now", func(c api.ChangedLimit) string { return limitText(c.Limit) }),
	})
}

// limitText says what a limit allows.
func limitText(l *work.Limit) string {
	if l == nil {
		return "none"
	}
	all := allowedText(api.Allowed{Rate: l.Rate})
	for _, w := range l.Windows {
		all += "; " + w.String()
	}
	return all
}
