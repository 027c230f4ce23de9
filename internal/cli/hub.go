package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/pgserver"
)

// database is the name of the ledger in a private Postgres.
const database = "tranship"

// How long the parts of a hub may take to come up, and requests to end.
const (
	startTimeout   = 2 * time.Minute // recovery of a private Postgres included
	connectTimeout = 10 * time.Second
	requestTimeout = time.Second
)

// A hub is a coordinator with its ledger, its queue and its page, all that a
// fleet has but agents.
type hub struct {
	cfg    config.Config
	log    *slog.Logger
	ledger *ledger.Ledger
	server *bus.Server // nil if the queue is elsewhere
	// authority signs agents' credentials; nil: none are asked for, or others do.
	authority   *bus.Authority
	bus         *bus.Bus
	postgres    *pgserver.Server // nil if the ledger is elsewhere
	url         string           // of the ledger
	page        net.Listener
	certificate *certificate // nil: no TLS
	metrics     *prometheus.Registry

	coordinator *coordinator.Coordinator
	closers     []func() // what close calls, last first
}

// startHub starts everything but the coordinator's own work, which run does.
// command is named to whoever wants the same data folder. What was started is
// stopped again if anything fails.
func startHub(ctx context.Context, cfg config.Config, log *slog.Logger, command string) (*hub, error) {
	h := &hub{cfg: cfg, log: log, metrics: newRegistry()}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := h.start(starting, command)
	if err == nil {
		return h, nil
	}
	h.close()
	if ctx.Err() != nil {
		return nil, fail(ExitCanceled, errors.New("stopped while starting"), "")
	}
	return nil, err
}

func (h *hub) start(ctx context.Context, command string) error {
	release, err := lockData(h.cfg.Data, command)
	if err != nil {
		return err
	}
	h.onClose(release)
	if err := h.withdraw(); err != nil {
		return err
	}
	// The ports come first: it takes no time to find one in use.
	if err := h.listen(); err != nil {
		return err
	}
	notices, err := h.notices()
	if err != nil {
		return err
	}
	if err := h.checkQueue(ctx); err != nil {
		return err
	}
	if err := h.openLedger(ctx); err != nil {
		return err
	}
	if err := h.startQueue(ctx); err != nil { // it asks the ledger whom to keep out
		return err
	}
	h.coordinator = coordinator.New(h.cfg.Coordinator, coordinator.Deps{
		Ledger: h.ledger, Bus: h.bus, Stores: h.cfg.Stores, Log: h.log, Metrics: h.metrics, Version: buildVersion().Version, HTTP: h.cfg.HTTP,
		Admission: h.admission(), Notices: notices,
	})
	return h.ensureToken(ctx)
}

func (h *hub) onClose(f func()) { h.closers = append(h.closers, f) }

// close stops what startHub started, in the opposite order.
func (h *hub) close() {
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
}

func (h *hub) listen() error {
	if files := h.cfg.HTTP.TLS; files.On() {
		var err error
		if h.certificate, err = openCertificate(files, h.log); err != nil {
			return fail(ExitUsage, fmt.Errorf("http.tls: %w", err), "certificate and key are files in PEM, and the coordinator's user must be able to read them")
		}
	}
	l, err := net.Listen("tcp", h.cfg.HTTP.Listen)
	if err != nil {
		return fail(ExitFailed, fmt.Errorf("http.listen %s: %w", h.cfg.HTTP.Listen, err),
			"another tranship may run there; choose another address with http.listen or TRANSHIP_HTTP_LISTEN")
	}
	h.page = l
	h.onClose(func() { _ = l.Close() }) // closed already when run has returned
	return nil
}

// openLedger runs a private Postgres unless there is one elsewhere, brings the
// schema up to date and opens it.
func (h *hub) openLedger(ctx context.Context) error {
	h.url = h.cfg.Postgres.URL.Reveal()
	if h.url == "" {
		if err := h.startPostgres(ctx); err != nil {
			return err
		}
	}
	applied, err := ledger.Migrate(ctx, h.url)
	if err != nil {
		return ledgerError(err)
	}
	if applied > 0 {
		h.log.InfoContext(ctx, "ledger migrated", "migrations", applied)
	}
	h.ledger, err = ledger.Open(ctx, h.url, ledger.Options{
		Connections: h.cfg.Postgres.Connections, Timeout: time.Duration(h.cfg.Postgres.Timeout), Log: h.log,
	})
	if err != nil {
		return ledgerError(err)
	}
	h.onClose(func() {
		if err := h.ledger.Close(); err != nil {
			h.log.Warn("ledger not closed in order", "err", err)
		}
	})
	return nil
}

func (h *hub) startPostgres(ctx context.Context) error {
	s, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(h.cfg.Data, "postgres"), Log: h.log})
	if errors.Is(err, pgserver.ErrNoBinaries) {
		return fail(ExitFailed, err, "")
	} else if err != nil {
		return fail(ExitFailed, fmt.Errorf("private Postgres: %w", err), "its own log is "+filepath.Join(h.cfg.Data, "postgres", "postgres.log"))
	}
	h.postgres = s
	h.onClose(func() {
		if err := s.Stop(); err != nil {
			h.log.Warn("private Postgres not stopped in order", "err", err)
		}
	})
	if err := s.CreateDatabase(ctx, database); err != nil {
		return fmt.Errorf("private Postgres: %w", err)
	}
	h.url = s.URL(database)
	return nil
}

// ledgerError says what to look at when the ledger cannot be used.
func ledgerError(err error) error {
	var network *net.OpError
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) {
		return fail(ExitUnreachable, fmt.Errorf("cannot reach Postgres: %w", err),
			"is it running, and is postgres.url (TRANSHIP_DATABASE_URL) right?")
	}
	return fail(ExitFailed, fmt.Errorf("use Postgres: %w", err), "")
}

// address returns where users reach the page.
func (h *hub) address() string {
	switch {
	case h.cfg.HTTP.URL != "":
		return strings.TrimRight(h.cfg.HTTP.URL, "/")
	case h.certificate != nil:
		return "https://" + h.page.Addr().String()
	}
	return "http://" + h.page.Addr().String()
}

// startAgent returns an agent in this process, with a connection of its own.
func (h *hub) startAgent(ctx context.Context, cfg config.Agent) (_ *agent.Agent, err error) {
	if cfg.Name == "" {
		cfg.Name = hostName()
	}
	if err := h.bus.AddSite(ctx, cfg.Site); err != nil { // or the agent would find no queue at first
		return nil, fmt.Errorf("NATS: %w", err)
	}
	all := h.cfg
	all.Agent = cfg
	o := agentBus(all, bus.Options{URL: h.cfg.NATS.URL.Reveal(), Server: h.server, Log: h.log})
	if o.JWT, o.Seed, err = h.identify(cfg.Name, cfg.Site); err != nil {
		return nil, err
	}
	b, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	h.onClose(b.Close)
	return agent.New(cfg, agent.Deps{
		Bus: b, Stores: drivers(cfg.Roots), Known: h.cfg.Stores, Log: h.log, Metrics: h.metrics,
		Version: buildVersion().Version,
	})
}

// identify returns what an agent of this process proves who it is with: a key
// that ends with the process, and a JWT for it. There is none where nobody asks.
func (h *hub) identify(agent, site string) (token func() (string, error), seed string, err error) {
	if h.authority == nil {
		return nil, "", nil
	}
	seed, key, err := bus.NewKey()
	if err != nil {
		return nil, "", err
	}
	signed, err := h.authority.Issue(agent, site, key, time.Time{})
	if err != nil {
		return nil, "", fail(ExitUsage, err, "agent.name (TRANSHIP_AGENT_NAME) and agent.site (TRANSHIP_SITE) set them")
	}
	return func() (string, error) { return signed, nil }, seed, nil
}

// run does the coordinator's work, serves the page and runs agents, until ctx
// ends or a part fails. Agents end first, so that their last results can still
// be recorded.
func (h *hub) run(ctx context.Context, agents ...*agent.Agent) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	outliving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	core, serving := errgroup.WithContext(outliving)
	context.AfterFunc(serving, stop)
	core.Go(func() error { return orderly(h.coordinator.Run(serving)) })
	core.Go(func() error { return h.serve(serving) })
	core.Go(func() error { return h.watchPostgres(serving) })

	fleet, taking := errgroup.WithContext(ctx)
	for _, a := range agents {
		fleet.Go(func() error { return orderly(a.Run(taking)) })
	}
	<-taking.Done()
	err := errors.Join(fleet.Wait(), h.withdraw()) // the port is given up next
	end()
	return errors.Join(err, core.Wait())
}

// runWhile runs the hub and its agents while f runs, and f while they run.
func (h *hub) runWhile(ctx context.Context, f func(context.Context) error, agents ...*agent.Agent) error {
	return beside(ctx, f, func(ctx context.Context) error { return h.run(ctx, agents...) })
}

// beside runs both functions; when one ends, the other's context does. It
// returns their errors but for those that only say so.
func beside(ctx context.Context, f, g func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- orderly(g(ctx))
	}()
	err := orderly(f(ctx))
	cancel()
	return errors.Join(err, <-ended)
}

// orderly returns nil for an error that only says that the context ended.
func orderly(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (h *hub) serve(ctx context.Context) error {
	return serve(ctx, h.page, h.coordinator.Handler(), h.certificate, h.log)
}

// watchPostgres reports the end of a private Postgres that nobody stopped.
func (h *hub) watchPostgres(ctx context.Context) error {
	if h.postgres == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-h.postgres.Done():
		return fail(ExitFailed, errors.New("the private Postgres ended by itself"),
			"its own log is "+filepath.Join(h.cfg.Data, "postgres", "postgres.log")+"; starting again recovers")
	}
}
