package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Deps are what an agent works with. All of them outlive its Run.
type Deps struct {
	Bus     *bus.Bus
	Stores  storage.Drivers
	Known   config.Stores         // what the configuration says of stores
	Log     *slog.Logger          // nil: silent
	Metrics prometheus.Registerer // nil: none
	Version string
}

// An Agent takes items of one site and works on them.
type Agent struct {
	cfg     config.Agent
	bus     *bus.Bus
	log     *slog.Logger
	version string
	host    string
	ackWait func() time.Duration // see bus.Bus.AckWait
	wait    time.Duration        // see waitLimit
	rest    time.Duration        // see restLimit
	started time.Time
	metrics *metrics

	stores  *stores
	carrier *carrier
	lanes   *lanes
	limits  *limits
	vouched vouched
	scans   *semaphore.Weighted // listings under way
	flights []*flight           // one for each stream
	bytes   atomic.Int64        // moved since the start
	objects atomic.Int64        // finished since the start
	busy    atomic.Int64        // streams
	rate    atomic.Int64        // bytes a second, lately
	moving  atomic.Pointer[[]work.JobID]
	leaving atomic.Bool // nothing more is taken

	tasks   chan task
	idle    chan struct{}   // a stream that waits for a task sends here first
	over    chan struct{}   // closed when no more tasks will come
	asks    chan struct{}   // the feeder, while it waits for an item, sends here
	sooner  chan struct{}   // says that ackWait has changed; holds one
	settled chan struct{}   // says that an item was put down; holds one
	settles *errgroup.Group // reports and acknowledgements on their way

	draining, killed context.Context
	drain, kill      context.CancelFunc

	mu     sync.Mutex
	held   map[work.ItemID]*held
	states map[work.JobID]work.JobState // of jobs that are not simply running
	runs   map[work.JobID]bool          // jobs that are known to run
}

// Why things in hand are put down.
var (
	errStopping = errors.New("the agent stops")
	errBusy     = errors.New("the agent is busy with other items")
	errPaused   = errors.New("the job is paused")
	errOver     = errors.New("the job is over")
	errCanceled = errors.New("the job was canceled")
)

const (
	settlesAtOnce   = 32
	scansPerStreams = 8 // streams to one listing
)

// New returns an agent that does nothing yet. It fails if the agent's name or
// site cannot be used, or its metrics are registered already.
func New(cfg config.Agent, d Deps) (*Agent, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find this machine's name: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name = nameOf(host)
	}
	if err := errors.Join(work.CheckName("agent", cfg.Name), work.CheckName("site", cfg.Site)); err != nil {
		return nil, err
	}
	if cfg.Stall <= 0 {
		cfg.Stall = config.Default().Agent.Stall
	}
	if cfg.Streams < 0 || cfg.Memory < bufferLimit {
		return nil, fmt.Errorf("agent %s: %d streams and %v of memory: it needs at least one, or 0 to find out, and 1MiB", cfg.Name, cfg.Streams, cfg.Memory)
	}
	ways := newLanes(cfg.Streams, int64(cfg.Memory))
	cfg.Streams = ways.most
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		cfg: cfg, bus: d.Bus, log: d.Log.With("agent", cfg.Name), version: d.Version,
		host: host, ackWait: d.Bus.AckWait, wait: waitLimit, rest: restLimit, started: time.Now(),
		stores:  &stores{opener: Opener{Drivers: d.Stores, Known: d.Known}, lanes: ways, open: map[string]*end{}},
		lanes:   ways,
		carrier: &carrier{sizes: usualSizes, budget: newBudget(int64(cfg.Memory)), streams: semaphore.NewWeighted(int64(ways.pool()))},
		scans:   semaphore.NewWeighted(int64(max(1, cfg.Streams/scansPerStreams))),
		tasks:   make(chan task),
		idle:    make(chan struct{}),
		over:    make(chan struct{}),
		asks:    make(chan struct{}),
		sooner:  make(chan struct{}, 1),
		settled: make(chan struct{}, 1),
		settles: &errgroup.Group{},
		held:    map[work.ItemID]*held{},
		states:  map[work.JobID]work.JobState{},
		runs:    map[work.JobID]bool{},
	}
	a.carrier.lounge = &lounge{seats: int64(cfg.Streams / 2)}
	a.limits = newLimits(cfg.Site, a.carrier.lounge)
	a.moving.Store(&[]work.JobID{})
	a.settles.SetLimit(settlesAtOnce)
	for range ways.pool() {
		a.flights = append(a.flights, &flight{total: &a.bytes})
	}
	a.draining, a.drain = context.WithCancel(context.Background())
	a.killed, a.kill = context.WithCancel(context.Background())
	if a.metrics, err = newMetrics(a, d.Metrics); err != nil {
		return nil, fmt.Errorf("agent %s: %w", cfg.Name, err)
	}
	a.stores.throttles = a.metrics.throttles
	return a, nil
}

// nameOf makes a host's name fit for an agent.
func nameOf(host string) string {
	name := strings.Map(func(r rune) rune {
		if work.CheckName("", "x"+string(r)) == nil {
			return r
		}
		return '-'
	}, host)
	return strings.TrimLeft(name[:min(len(name), 40)], "-_")
}

// Run takes and does items until ctx ends, Drain is called or Kill. It may be
// called once.
//
// When ctx ends, no further item is begun; what is in hand may finish within
// the grace time, and goes back to the queue after that. After Drain it may
// take as long as it takes. Kill puts everything down at once. In each case
// Run returns nil, and every goroutine it started has ended.
func (a *Agent) Run(ctx context.Context) error {
	taking, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(a.draining, stop)()
	moving, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(errStopping)
	defer context.AfterFunc(a.killed, func() {
		stop()
		abandon(errStopping)
	})()

	a.log.InfoContext(ctx, "agent started", "site", a.cfg.Site, "most_streams", a.cfg.Streams, "version", a.version)
	var background, foreground sync.WaitGroup
	present, leave := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { a.grace(ctx, present, func() { abandon(errStopping) }) })
	background.Go(func() { a.beat(taking, present) })
	background.Go(func() { a.serve(present) })
	background.Go(func() { a.watchJobs(present) })
	background.Go(func() { a.keepAlive(present) })
	background.Go(func() { a.lanes.tune(present) })
	background.Go(func() { watch(present, a.flights, time.Duration(a.cfg.Stall)) })

	ready := make(chan *held)
	foreground.Go(func() { a.take(taking, moving, ready) })
	foreground.Go(func() { a.feed(taking, ready) })
	for _, f := range a.flights {
		foreground.Go(func() { a.stream(f) })
	}
	foreground.Wait()
	err := a.settles.Wait()
	leave()
	background.Wait()
	err = errors.Join(err, a.stores.close())
	a.log.InfoContext(ctx, "agent stopped", "objects", a.objects.Load(), "bytes", a.bytes.Load())
	return err
}

// grace abandons what is in hand when ctx has ended for so long.
func (a *Agent) grace(ctx, present context.Context, abandon func()) {
	select {
	case <-present.Done():
		return
	case <-ctx.Done():
	}
	if sleep(present, time.Duration(a.cfg.Grace)) == nil {
		a.log.WarnContext(ctx, "grace time is over", "items", a.inHand())
		abandon()
	}
}

// Drain makes the agent finish what it holds, take nothing new, and end Run.
// It returns at once and may be called at any time.
func (a *Agent) Drain() {
	a.log.Info("agent drains")
	a.drain()
}

// Kill makes the agent put down what it holds, give it back to the queue and
// end Run as soon as possible. It returns at once and may be called at any
// time.
func (a *Agent) Kill() { a.kill() }

func (a *Agent) inHand() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.held)
}

// watchJobs learns of jobs that are paused, canceled or over.
func (a *Agent) watchJobs(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.bus.WatchJobs(ctx, a.control); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "jobs not watched", "err", err)
			_ = sleep(ctx, time.Second) // the loop looks at ctx itself
		}
	}
}

// control acts on what is said of a job. A job that is over is no more said
// anything of, but neither is one when the queue has lost its memory: what is
// in hand of it is therefore given back, not thrown away. Aborts are done
// whatever becomes of the job: it is mostly over when they come.
func (a *Agent) control(job work.JobID, c work.JobControl) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.runs, job); c.State == work.Running {
		a.runs[job] = true
	}
	if c.State == "" || c.State == work.Running {
		delete(a.states, job)
	} else {
		a.states[job] = c.State
	}
	for _, h := range a.held {
		if h.item.Job != job || h.item.Kind == work.Abort {
			continue
		}
		switch {
		case c.State == work.Running:
		case c.State == work.Paused:
			h.pause()
		case c.State == "":
			h.putDown(errOver)
		default:
			h.putDown(errCanceled)
		}
	}
}
