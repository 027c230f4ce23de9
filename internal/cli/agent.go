package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
)

func (p *program) agentCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent: it takes items of its site and moves the bytes",
		Long: `Run an agent. It connects to the queue, takes items of its site and streams
objects from source to target. It only dials out, and needs storage credentials
in its environment, but no access to the ledger. On SIGTERM it takes nothing
more, finishes what it holds within its grace and hands back the rest.`,
		Args:    arguments(),
		Example: example("tranship agent --config /etc/tranship/tranship.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runAgent(cmd.Context(), file)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func (p *program) runAgent(ctx context.Context, file string) error {
	cfg, err := p.settings(file)
	if err != nil {
		return err
	}
	if cfg, err = checked(cfg); err != nil {
		return err
	}
	if cfg.Agent.Name == "" {
		cfg.Agent.Name = hostName()
	}
	log := p.logger(cfg.Log)
	b, err := connect(ctx, agentBus(cfg, bus.Options{URL: queueURL(cfg.NATS), Log: log.With("agent", cfg.Agent.Name)}))
	if err != nil {
		return err
	}
	defer b.Close()
	a, err := agent.New(cfg.Agent, agent.Deps{
		Bus: b, Stores: drivers(cfg.Agent.Roots), Log: log,
		Metrics: prometheus.NewRegistry(), Version: buildVersion().Version, AckWait: time.Duration(cfg.NATS.AckWait),
	})
	if err != nil {
		return err
	}
	n := notifier{log: log, status: func() string { return agentStatus(a) }, healthy: b.Healthy}
	return beside(ctx, n.run, a.Run)
}

// queueURL returns where an agent finds the queue: at the address that the
// coordinator's own server listens on, unless there is another.
func queueURL(n config.NATS) string {
	if n.URL.IsZero() {
		return "nats://" + n.Listen
	}
	return n.URL.Reveal()
}

// agentBus adds to o what an agent's connection needs. The name is the one
// that the queue's permissions go by.
func agentBus(cfg config.Config, o bus.Options) bus.Options {
	o.Name, o.Domain = cfg.Agent.Name, cfg.NATS.Domain
	o.Credentials, o.Token = cfg.NATS.Credentials, cfg.NATS.Token.Reveal()
	o.AckWait = time.Duration(cfg.NATS.AckWait)
	return o
}

// agentStatus is what systemctl status shows of an agent.
func agentStatus(a *agent.Agent) string {
	pr := a.Presence()
	return fmt.Sprintf("%s: %d items, %d of %d streams, %s/s; %s objects, %s since the start",
		pr.State, pr.Items, pr.Streams, pr.Limit, bytesText(int64(pr.Rate)), count(pr.Objects), bytesText(pr.Bytes))
}
