package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
)

// queueTimeout is how long the queue may take to answer before the status says
// that it does not.
const queueTimeout = 2 * time.Second

func (p *program) agentCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run an agent: it takes items of its site and moves the bytes",
		Long: `Run an agent. It connects to the queue, takes items of its site and streams
objects from source to target. It only dials out, and needs storage credentials
in its environment, but no access to the ledger. On SIGTERM it takes nothing
more, finishes what it holds within its grace and hands back the rest.

An agent that has joined (tranship fleet join) finds in its data folder who it
is and where the queue is; its name and site are then those that it joined with.
Once it is revoked it puts down what it holds and ends with exit status 4.`,
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
	if p.env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.Agent.Memory) + agent.OwnMemory)
	}
	log := p.logger(cfg.Log)
	k, err := keeperOf(cfg.Data, log)
	if err != nil {
		return err
	}
	cfg, b, err := enter(ctx, cfg, k, log)
	if err != nil {
		return err
	}
	defer b.Close()
	metrics := newRegistry()
	a, err := agent.New(cfg.Agent, agent.Deps{
		Bus: b, Stores: drivers(cfg.Agent.Roots), Log: log,
		Metrics: metrics, Version: buildVersion().Version,
	})
	if err != nil {
		return err
	}
	n := notifier{
		log:    log,
		status: func() string { return agentStatus(ctx, a, b) },
		// An agent that is cut off from the queue finishes what it holds and
		// connects again; a restart would only throw that away. One that is
		// stuck does not come back from here.
		healthy: func(context.Context) error { a.Presence(); return nil },
	}
	work := a.Run
	if k != nil {
		k.healthy = b.Healthy
		work = func(ctx context.Context) error { return beside(ctx, a.Run, k.keep(a)) }
	}
	if cfg.Agent.Metrics == "" {
		return beside(ctx, n.run, work)
	}
	l, err := net.Listen("tcp", cfg.Agent.Metrics)
	if err != nil {
		return fail(ExitFailed, fmt.Errorf("agent.metrics %s: %w", cfg.Agent.Metrics, err), "choose another address, or none, with agent.metrics")
	}
	answer := func(ctx context.Context) error {
		return serve(ctx, l, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), nil, log)
	}
	return beside(ctx, answer, func(ctx context.Context) error { return beside(ctx, n.run, work) })
}

// enter connects an agent to the queue: as who it is, if it has joined, or else
// by what its configuration says. It returns the configuration with its name and
// site.
func enter(ctx context.Context, cfg config.Config, k *keeper, log *slog.Logger) (config.Config, *bus.Bus, error) {
	if k != nil {
		var err error
		if cfg.Agent, err = k.identity().named(cfg.Agent, filepath.Join(k.dir, identityFile)); err != nil {
			return cfg, nil, err
		}
		if err := k.begin(ctx); err != nil {
			return cfg, nil, err
		}
		b, err := connect(ctx, k.options(cfg))
		return cfg, b, err
	}
	if cfg.Agent.Name == "" {
		cfg.Agent.Name = hostName()
	}
	b, err := connect(ctx, agentBus(cfg, bus.Options{URL: queueURL(cfg.NATS), Log: log.With("agent", cfg.Agent.Name)}))
	if err != nil && cfg.NATS.Credentials == "" {
		err = withAdvice(err, "an agent that has not joined is let in only where nats.auth is open: tranship fleet invite --site "+
			cfg.Agent.Site+", asked of the coordinator, prints the command by which this one joins")
	}
	return cfg, b, err
}

// newRegistry returns a registry that tells of this process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
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
	o.Credentials, o.TLS = cfg.NATS.Credentials, bus.TLS(cfg.NATS.TLS)
	o.AckWait = time.Duration(cfg.NATS.AckWait)
	return o
}

// agentStatus is what systemctl status shows of an agent.
func agentStatus(ctx context.Context, a *agent.Agent, b *bus.Bus) string {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	cut := ""
	if err := b.Healthy(ctx); err != nil {
		cut = "cut off, " + oneLine(err) + "; "
	}
	pr := a.Presence()
	return fmt.Sprintf("%s%s: %d items, %d of %d streams, %s/s; %s objects, %s since the start",
		cut, pr.State, pr.Items, pr.Streams, pr.Limit, bytesText(int64(pr.Rate)), count(pr.Objects), bytesText(pr.Bytes))
}
