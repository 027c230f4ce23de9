package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) tokenCommand() *cobra.Command {
	cmd := group("token", "Make, list and revoke what lets callers in",
		`Whoever uses the API or the page shows a token. Its scope says what it allows:
read to look, operate to create and steer jobs, admin for everything. The
coordinator keeps only a hash of it. The first one, with all rights, lies in
the data folder as admin.token.`)
	cmd.AddCommand(p.tokenCreateCommand(), p.tokenListCommand(), p.tokenRevokeCommand())
	return cmd
}

func (p *program) tokenCreateCommand() *cobra.Command {
	var server, scope, expires string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, this once",
		Long: `Make a token and print it alone on standard output: nobody can read it again.
NAME is who or what will show it, as the audit log calls them.`,
		Args: arguments("NAME"),
		Example: example("tranship token create grafana > grafana.token",
			"tranship token create ada@example.org --scope operate --expires 30d",
			"tranship token create ci --scope operate --expires never"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := api.NewToken{Name: args[0]}
			var err error
			if n.Scope, err = work.ParseScope(scope); err != nil {
				return usage("see tranship token create --help", "--scope: %w", err)
			}
			if n.ExpiresIn, err = parseExpiry(expires); err != nil {
				return err
			}
			c, err := p.client(server)
			if err != nil {
				return err
			}
			made, err := c.CreateToken(cmd.Context(), n)
			if err != nil {
				return answered(err)
			}
			if _, err := fmt.Fprintln(p.stdout, made.Secret); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			p.say("%s may %s, %s; keep it now, it is not shown again", made.Token.Name, made.Token.Scope, untilText(made.Token))
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&scope, "scope", string(work.ScopeRead), "read, operate or admin")
	cmd.Flags().StringVar(&expires, "expires", "90d", "after how long it lets nobody in any more, such as 12h or 30d; or never")
	return cmd
}

func untilText(t work.Token) string {
	if t.ExpiresAt.IsZero() {
		return "for ever"
	}
	return "until " + t.ExpiresAt.Format(time.RFC3339)
}

// parseExpiry reads a duration, which may be in days, in seconds; 0 is never.
func parseExpiry(text string) (*int64, error) {
	if text == "never" {
		return new(int64(0)), nil
	}
	var d config.Duration
	err := d.UnmarshalText([]byte(text))
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = config.Duration(time.Duration(n) * 24 * time.Hour)
	}
	if err != nil || time.Duration(d) < time.Minute {
		return nil, usage("write for example 12h, 30d or never", "--expires: %q is not a time of a minute or more", text)
	}
	return new(int64(time.Duration(d) / time.Second)), nil
}

func (p *program) tokenListCommand() *cobra.Command {
	var (
		server string
		out    format
	)
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the tokens, the revoked ones last",
		Args:    arguments(),
		Example: example("tranship token ls"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return answered(err)
			}
			return writeRows(p.stdout, out, each(tokens), tokenColumns())
		},
	}
	serverFlag(cmd, &server)
	formatFlag(cmd, &out)
	return cmd
}

func tokenColumns() []column[work.Token] {
	return []column[work.Token]{
		plain("id", func(t work.Token) string { return strconv.FormatInt(int64(t.ID), 10) }),
		plain("name", func(t work.Token) string { return text(t.Name) }),
		plain("scope", func(t work.Token) string { return string(t.Scope) }),
		timeColumn("created", func(t work.Token) time.Time { return t.CreatedAt }),
		plain("by", func(t work.Token) string { return text(t.CreatedBy) }),
		timeColumn("expires", func(t work.Token) time.Time { return t.ExpiresAt }),
		timeColumn("used", func(t work.Token) time.Time { return t.UsedAt }),
		timeColumn("revoked", func(t work.Token) time.Time { return t.RevokedAt }),
	}
}

func (p *program) tokenRevokeCommand() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:     "revoke NAME",
		Short:   "End a token: within seconds it lets nobody in",
		Long:    `End a token, and the sessions of browsers that signed in with it. NAME may also be its number.`,
		Args:    arguments("NAME"),
		Example: example("tranship token revoke grafana"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return answered(err)
			}
			id, err := findToken(tokens, args[0])
			if err != nil {
				return err
			}
			t, err := c.RevokeToken(cmd.Context(), id)
			if err != nil {
				return answered(err)
			}
			p.say("%s lets nobody in any more", t.Name)
			return nil
		},
	}
	serverFlag(cmd, &server)
	return cmd
}

// findToken returns the token with the name or the number. No name is a number,
// and no two tokens that count have one name; of those that do not, it does not
// matter which.
func findToken(tokens []work.Token, word string) (work.TokenID, error) {
	var names []string
	for _, t := range tokens {
		if t.Name == word || strconv.FormatInt(int64(t.ID), 10) == word {
			return t.ID, nil
		}
		names = append(names, t.Name)
	}
	next := "tranship token ls lists them"
	if near := config.Nearest(word, names); near != "" {
		next = fmt.Sprintf("did you mean %s?", near)
	}
	return 0, usage(next, "there is no token %q", word)
}

func (p *program) openCommand() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "open",
		Short: "Print a link that signs a browser in, once",
		Long: `Print the address of the status page as a link that signs a browser in with the
rights of the token that this command shows. It is good once, for ten minutes.`,
		Args:    arguments(),
		Example: example("tranship open", "xdg-open \"$(tranship open)\""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client(server)
			if err != nil {
				return err
			}
			link, err := c.SignIn(cmd.Context())
			if err != nil {
				return answered(err)
			}
			if _, err := fmt.Fprintln(p.stdout, link.URL); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	return cmd
}
