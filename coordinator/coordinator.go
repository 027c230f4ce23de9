package coordinator

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/collect"
	"github.com/tranship/tranship/coordinator/dispatch"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/coordinator/reconcile"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// Deps are what a coordinator works with. They belong to the caller, who
// closes them after Run has returned.
type Deps struct {
	Ledger  *ledger.Ledger
	Bus     *bus.Bus
	Log     *slog.Logger         // nil: silent
	Metrics *prometheus.Registry // nil: the coordinator's alone
	Version string
	HTTP    config.HTTP // how the API and the page are reached, and who may
	// Admission is how agents join.
	Admission Admission
}

// noteUseEvery is how late the ledger learns that a token was used.
const noteUseEvery = 10 * time.Second

// reconcileEvery is how long a loss may go unnoticed, once it is overdue.
const reconcileEvery = 3 * time.Second

// A Coordinator decides and remembers.
type Coordinator struct {
	cfg       config.Coordinator
	http      config.HTTP
	ledger    *ledger.Ledger
	bus       *bus.Bus
	log       *slog.Logger
	registry  *prometheus.Registry
	metrics   *metrics
	version   string
	began     time.Time
	dispatch  *dispatch.Dispatcher
	collect   *collect.Collector
	reconcile *reconcile.Reconciler
	prepared  chan struct{} // closed once the queue is set up
	finishing chan struct{} // wakes the loop that ends jobs
	lost      chan struct{} // wakes the loop that publishes again
	fleet     fleet
	controls  *controls
	herald    *herald
	troubles  *troubles
	pulse     *pulse
	admission Admission
	revoked   chan struct{} // wakes the loop that shuts agents out
	excluded  exclusion
}

// New joins the parts of a coordinator; it talks to nobody yet.
func New(cfg config.Coordinator, d Deps) *Coordinator {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = prometheus.NewRegistry()
	}
	c := &Coordinator{
		cfg: cfg, http: d.HTTP, ledger: d.Ledger, bus: d.Bus, log: d.Log, registry: d.Metrics, version: d.Version, began: time.Now(),
		metrics:   newMetrics(d.Metrics),
		prepared:  make(chan struct{}),
		finishing: make(chan struct{}, 1),
		lost:      make(chan struct{}, 1),
		controls:  newControls(d.Ledger, d.Bus),
		herald:    &herald{ledger: d.Ledger, bus: d.Bus},
		troubles:  &troubles{},
		pulse:     newPulse(),
		admission: d.Admission,
		revoked:   make(chan struct{}, 1),
	}
	queue := publisher{Bus: d.Bus, herald: c.herald, published: c.metrics.published}
	c.dispatch = dispatch.New(d.Ledger, queue, c.outage("dispatching"), cfg.Window)
	c.collect = collect.New(d.Bus, d.Ledger, collect.Options{
		Planner:  plan.Planner{Jitter: rand.Float64},
		Queue:    c.outage("taking results"),
		Ledger:   c.outage("recording results"),
		Recorded: c.recorded,
		Log:      d.Log,
	})
	c.reconcile = reconcile.New(d.Ledger, queue, reconcile.Options{
		OlderThan: time.Duration(cfg.Reconcile),
		Lost:      func(n int) { c.metrics.reconciled.Add(float64(n)) },
		Log:       d.Log,
	})
	return c
}

// Run coordinates until ctx ends and returns nil then, once what it held is
// settled. It waits for a queue or a ledger that does not answer. It returns
// work.ErrSetBack if the ledger was set back meanwhile. It may be called once.
func (c *Coordinator) Run(ctx context.Context) error {
	c.setup(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.dispatch.Run(ctx) })
	g.Go(func() error { return c.collect.Run(ctx) })
	g.Go(func() error { return c.listen(ctx) })
	g.Go(func() error { return c.feelLedger(ctx) })
	for _, l := range c.loops() {
		g.Go(func() error { return l.run(ctx, c.outage(l.what)) })
	}
	return g.Wait()
}

// setup makes the queue whole, and sees to it that it and the ledger know the
// same; until then nothing else would work.
func (c *Coordinator) setup(ctx context.Context) {
	trouble := c.outage("setting up the queue")
	for ctx.Err() == nil {
		err := c.bus.Setup(ctx)
		if err == nil {
			// Small installations have this site only. Others are made when an
			// agent or an item is there.
			err = c.bus.AddSite(ctx, work.DefaultSite)
		}
		if err == nil {
			err = c.recognise(ctx)
		}
		if err == nil {
			trouble.Worked()
			close(c.prepared)
			return
		}
		trouble.Failed(ctx, err)
	}
}

// loops are the parts that are simple enough to be a loop around one step.
func (c *Coordinator) loops() []loop {
	return []loop{
		{what: "reconciling", every: reconcileEvery, wake: c.lost, turn: c.findLost},
		{what: "finishing jobs", every: finishEvery, least: finishLeast, wake: c.finishing, turn: c.finish},
		{what: "telling agents the state of jobs", every: controlsEvery, turn: c.controls.sync},
		{what: "letting the queue remember the ledger", every: rememberEvery, turn: c.herald.remember},
		{what: "recording the fleet", every: fleetEvery, turn: c.keepFleet},
		{what: "giving up uploads", every: tidyEvery, turn: c.tidy},
		{what: "shutting out revoked agents", every: shutOutEvery, wake: c.revoked, turn: c.shutOut},
		{what: "sampling", every: sampleEvery, turn: c.sample},
		{what: "noting which tokens are used", every: noteUseEvery, turn: c.ledger.NoteUse},
		{what: "looking for stalled jobs", every: min(stallEvery, time.Duration(c.cfg.Stalled)/2), turn: c.lookForStalls},
	}
}

// findLost publishes again what was lost from the queue.
func (c *Coordinator) findLost(ctx context.Context) error {
	_, err := c.reconcile.Round(ctx)
	return err
}

// recorded is told after each commit of results.
func (c *Coordinator) recorded(changed int) {
	c.metrics.recorded.Add(float64(changed))
	c.dispatch.Wake()
	wake(c.finishing)
}

func (c *Coordinator) outage(what string) *outage {
	return &outage{log: c.log, what: what, all: c.troubles}
}

// A publisher is a queue that counts the items that are put on it.
type publisher struct {
	*bus.Bus
	herald    *herald
	published prometheus.Counter
}

// Publish implements dispatch.Publisher and reconcile.Queue.
func (p publisher) Publish(ctx context.Context, items []work.Item) []work.Receipt {
	if err := p.herald.announce(ctx, items); err != nil {
		return slices.Repeat([]work.Receipt{{Err: err}}, len(items))
	}
	receipts := p.Bus.Publish(ctx, items)
	for _, r := range receipts {
		if r.Stored {
			p.published.Inc()
		}
	}
	return receipts
}
