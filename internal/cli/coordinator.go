package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (p *program) coordinatorCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Run the coordinator: planning, ledger, API and status page",
		Long: `Run the coordinator. It brings the ledger's schema up to date, starts a private
Postgres and an embedded NATS where the configuration names none, and serves
the API and the status page. It holds no storage credentials and moves no
bytes: agents do. Under systemd it says when it is ready and that it lives.`,
		Args:    arguments(),
		Example: example("tranship coordinator --config /etc/tranship/tranship.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runCoordinator(cmd.Context(), file)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func (p *program) runCoordinator(ctx context.Context, file string) error {
	cfg, err := p.settings(file)
	if err != nil {
		return err
	}
	if cfg, err = checked(cfg); err != nil {
		return err
	}
	log := p.logger(cfg.Log)
	h, err := startHub(ctx, cfg, log, "coordinator")
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.announce(); err != nil {
		return err
	}
	log.InfoContext(ctx, "coordinator is up", "page", h.address(), "version", buildVersion().Version)
	n := notifier{log: log, status: func() string { return "serving " + h.address() }, healthy: h.coordinator.Healthy}
	return h.runWhile(ctx, n.run)
}
