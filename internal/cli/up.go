package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
)

func (p *program) upCommand() *cobra.Command {
	var file, data string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run coordinator, queue, ledger and one agent here, all in one",
		Long: `Run everything that a fleet of one machine needs in this process, on a data
folder: a private Postgres, an embedded NATS, the coordinator with its status
page and one agent. Stopped or killed, it goes on where it was at the next
start. Other agents can join if nats.listen is an address that they reach. The
first token for the API and the page lies in the data folder as admin.token;
commands of the same user that name no server find both there.`,
		Args:    arguments(),
		Example: example("tranship up", "tranship up --data /srv/tranship"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.up(cmd.Context(), file, data)
		},
	}
	configFlag(cmd, &file)
	dataFlag(cmd, &data)
	return cmd
}

func (p *program) up(ctx context.Context, file, data string) error {
	cfg, err := p.settings(file)
	if err != nil {
		return err
	}
	def := config.Default()
	if data != "" || cfg.Data == def.Data {
		if cfg.Data, err = p.dataFolder(data); err != nil {
			return err
		}
	}
	if cfg.NATS.AckWait == def.NATS.AckWait {
		cfg.NATS.AckWait = config.Duration(aloneAckWait)
	}
	if cfg, err = checked(cfg); err != nil {
		return err
	}
	h, err := startHub(ctx, cfg, p.logger(cfg.Log), "up")
	if err != nil {
		return err
	}
	defer h.close()
	a, err := h.startAgent(ctx, cfg.Agent)
	if err != nil {
		return err
	}
	page, err := h.signInLink(ctx)
	if err != nil {
		return err
	}
	if err := h.announce(); err != nil {
		return err
	}
	if err := h.introduce(p.stdout, page, h.copyLine(p.resident().token(h.address()))); err != nil {
		return err
	}
	if page != h.address() {
		p.say("the page's link signs in once, within 10 minutes; tranship open prints another. The token of %s may do everything", h.tokenFile())
	}
	p.say("^C stops it; what is open goes on at the next start")
	return h.run(ctx, a)
}

// introduce writes how to look in.
func (h *hub) introduce(w io.Writer, page, copyLine string) error {
	lines := []struct{ what, how string }{
		{"page", page},
		{"job", copyLine},
		{"ledger", h.psqlLine()},
		{"queue", h.natsLine()},
		{"data", h.cfg.Data},
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-8s%s\n", l.what, l.how); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}

// copyLine returns the command that starts a job here. Where the command line
// finds another token by itself for that address, or none, the line says where
// the right one is.
func (h *hub) copyLine(found string) string {
	line := fmt.Sprintf("tranship copy --server %s SOURCE TARGET", h.address())
	secret, err := readSecret(h.tokenFile())
	if h.cfg.HTTP.Open || err != nil || found == secret {
		return line
	}
	return tokenFileVariable + "=" + shellQuote(h.tokenFile()) + " " + line
}

// psqlLine returns the command that looks into the ledger, without a secret.
func (h *hub) psqlLine() string {
	if h.postgres == nil {
		return `psql "$TRANSHIP_DATABASE_URL" -c 'SELECT * FROM tranship.jobs'`
	}
	return shellQuote("psql", h.url, "-c", "SELECT * FROM tranship.jobs")
}

// natsLine returns the command that looks into the queue, without a secret.
func (h *hub) natsLine() string {
	args := []string{"nats", "--js-domain", h.cfg.NATS.Domain}
	switch {
	case h.server == nil:
		return shellQuote(append(args, "--server")...) + ` "$TRANSHIP_NATS_URL" stream ls`
	case h.server.URL() == "":
		return "in this process only; set nats.listen to reach it"
	}
	args = append(args, "--server", h.server.URL())
	if creds := h.server.ViewerCredentials(); creds != "" {
		args = append(args, "--creds", creds)
	}
	if ca := h.cfg.NATS.TLS.CA; ca != "" {
		args = append(args, "--tlsca", ca)
	}
	return shellQuote(append(args, "stream", "ls")...)
}

// shellQuote returns words as a shell takes them.
func shellQuote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$&|;<>()*?[]#~=%!{}`") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
