package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) contextCommand() *cobra.Command {
	cmd := group("context", "Give coordinators names, and choose one",
		`A context is a coordinator's address, a token for it and whom its certificate
comes from, under a name. Wherever --server or `+serverVariable+` is read, the name
will do, and where neither is there the context in use is. They are kept in
~/.config/tranship/`+contextFile+`.`)
	cmd.AddCommand(p.contextAddCommand(), p.contextUseCommand(), p.contextListCommand(), p.contextRemoveCommand())
	return cmd
}

func (p *program) contextAddCommand() *cobra.Command {
	var server, token, ca string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Name a coordinator, or change what a name stands for",
		Long: `Name a coordinator, or change what a name stands for. --token names a file that
holds a token alone; with - it is read from standard input and kept in a file
of its own that only you can read.`,
		Args: arguments("NAME"),
		Example: example("tranship context add prod --server https://tranship.example.org --token - < my.token",
			"tranship context add lab --server https://10.0.0.5:8480 --ca ./lab-ca.pem --token ~/lab.token"),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.addContext(args[0], endpoint{Server: server, Token: token, CA: ca})
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "address of the coordinator")
	cmd.Flags().StringVar(&token, "token", "", "file that holds a token, or - for standard input (default: the environment's)")
	cmd.Flags().StringVar(&ca, "ca", "", "file in PEM of whom its certificate comes from (default: whom the system trusts)")
	return cmd
}

func (p *program) addContext(name string, e endpoint) error {
	if err := work.CheckName("context", name); err != nil {
		return usage("choose another name", "%w", err)
	}
	if e.Server == "" {
		return usage("write for example --server "+defaultServer, "--server is missing")
	}
	if _, err := e.address(); err != nil {
		return err
	}
	c, err := p.readContexts()
	if err != nil {
		return err
	}
	switch {
	case e.Token == "-":
		e.Token, err = p.keepToken(name)
	case e.Token != "":
		e.Token, err = existing("--token", e.Token)
	}
	if err == nil && e.CA != "" {
		e.CA, err = existing("--ca", e.CA)
	}
	if err != nil {
		return err
	}
	if c.All == nil {
		c.All = map[string]endpoint{}
	}
	c.All[name] = e
	if err := p.writeContexts(c); err != nil {
		return err
	}
	if c.Current != name {
		p.say("tranship context use %s makes it the one that is asked", name)
	}
	return nil
}

// existing returns the whole path of a file that is there.
func existing(flag, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		return "", usage("name a file that is there", "%s: %w", flag, err)
	}
	return abs, nil
}

func (p *program) contextUseCommand() *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use:     "use [NAME]",
		Short:   "Choose the coordinator that commands ask",
		Long:    "Choose the coordinator that commands ask, copy included, unless they are told another.",
		Args:    arguments("[NAME]"),
		Example: example("tranship context use prod", "tranship context use --none"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := p.readContexts()
			switch {
			case err != nil:
				return err
			case none == (len(args) == 1):
				return usage("tranship context ls lists them", "give a name, or --none")
			case none:
				c.Current = ""
				return p.writeContexts(c)
			}
			if err := c.known(args[0]); err != nil {
				return err
			}
			c.Current = args[0]
			if err := p.writeContexts(c); err != nil {
				return err
			}
			p.say("commands now ask %s, and copy hands jobs to it", c.All[args[0]].Server)
			return nil
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "choose none")
	cmd.ValidArgsFunction = p.completeContexts
	return cmd
}

// known reports whether there is a context of the name.
func (c contexts) known(name string) error {
	if _, ok := c.All[name]; ok {
		return nil
	}
	next := "tranship context add makes one"
	if near := config.Nearest(name, c.names()); near != "" {
		next = fmt.Sprintf("did you mean %s?", near)
	}
	return usage(next, "there is no context %q", name)
}

func (p *program) contextListCommand() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the coordinators that have names",
		Args:    arguments(),
		RunE: func(*cobra.Command, []string) error {
			c, err := p.readContexts()
			if err != nil {
				return err
			}
			var rows []contextRow
			for _, name := range c.names() {
				e := c.All[name]
				rows = append(rows, contextRow{Name: name, Used: name == c.Current, Server: e.Server, Token: e.Token, CA: e.CA})
			}
			return writeRows(p.stdout, out, each(rows), contextColumns())
		},
	}
	formatFlag(cmd, &out)
	return cmd
}

// A contextRow is a context as it is listed.
type contextRow struct {
	Name   string `json:"name"`
	Used   bool   `json:"in_use"`
	Server string `json:"server"`
	Token  string `json:"token_file,omitempty"`
	CA     string `json:"ca,omitempty"`
}

func contextColumns() []column[contextRow] {
	return []column[contextRow]{
		plain("name", func(r contextRow) string { return text(r.Name) }),
		plain("in use", func(r contextRow) string {
			if r.Used {
				return "yes"
			}
			return ""
		}),
		plain("server", func(r contextRow) string { return text(r.Server) }),
		plain("token file", func(r contextRow) string { return text(r.Token) }),
		plain("ca", func(r contextRow) string { return text(r.CA) }),
	}
}

func (p *program) contextRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Forget a name; the coordinator is not asked",
		Args:    arguments("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := p.readContexts()
			if err != nil {
				return err
			}
			if err := c.known(args[0]); err != nil {
				return err
			}
			kept := c.All[args[0]].Token
			delete(c.All, args[0])
			if c.Current == args[0] {
				c.Current = ""
			}
			if err := p.writeContexts(c); err != nil {
				return err
			}
			dir, err := p.contextFolder()
			if err == nil && kept == filepath.Join(dir, args[0]+".token") { // it was made by add
				err = os.Remove(kept)
			}
			return err
		},
	}
	cmd.ValidArgsFunction = p.completeContexts
	return cmd
}

// completeContexts names the contexts.
func (p *program) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.readContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return c.names(), cobra.ShellCompDirectiveNoFileComp
}
