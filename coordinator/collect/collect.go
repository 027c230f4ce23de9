package collect

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/work"
)

// A Queue holds results; in production it is a *bus.Bus.
type Queue interface {
	// Results returns up to limit results, and none after wait. They come
	// again some time later unless ack is called, which covers all of them.
	Results(ctx context.Context, limit int, wait time.Duration) (results []work.Result, ack func(context.Context) error, err error)
}

// A Recorder keeps results; in production it is a *ledger.Ledger.
type Recorder interface {
	// Record stores results in one transaction, applying to each item what
	// decide makes of it, and reports how many changed a row. Results of one
	// item are applied in their order. decide may be called again for a
	// transaction that is repeated. Recording a result twice changes nothing.
	// An error means that the whole batch must be given again; a result that
	// can never be recorded is the Recorder's to deal with.
	Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (changed int, err error)
}

// An Outage hears how a loop fares. Failed logs what must be logged and waits
// for as long as is wise, or until ctx ends; Worked ends the outage.
type Outage interface {
	Failed(ctx context.Context, err error)
	Worked()
}

// Options are what a Collector needs besides its two ends.
type Options struct {
	Planner  plan.Planner
	Queue    Outage            // of the queue
	Ledger   Outage            // of the recorder
	Recorded func(changed int) // called after each commit
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
}

const (
	batchResults = 256                   // about 5 MiB when all are full
	batchWait    = 60 * time.Millisecond // for a batch to fill; what follows a result waits as long
	grace        = 10 * time.Second      // for what is in hand at the end
)

// A Collector records results.
type Collector struct {
	queue    Queue
	recorder Recorder
	o        Options

	early []batch // owned by the loop of recordAll, or by Turn
}

// New returns a Collector from q to r.
func New(q Queue, r Recorder, o Options) *Collector {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Collector{queue: q, recorder: r, o: o}
}

// A batch is results that are acknowledged together.
type batch struct {
	results []work.Result
	ack     func(context.Context) error
	since   time.Time // first held
}

// Run collects until ctx ends, and returns nil then. What was fetched by that
// time is recorded first, if the ledger takes it within a grace.
func (c *Collector) Run(ctx context.Context) error {
	finishing, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, abandon)
	})
	defer stop()

	batches := make(chan batch)
	var g errgroup.Group
	g.Go(func() error {
		defer close(batches)
		c.fetchAll(ctx, finishing, batches)
		return nil
	})
	g.Go(func() error {
		c.recordAll(finishing, batches)
		return nil
	})
	return g.Wait()
}

// Turn fetches one batch, records it together with the pages that were kept
// because they came early, and acknowledges what is settled by that. It waits
// only in the queue and in the outages. It is what Run does again and again,
// for a caller that keeps its own time; the two must not be used together.
func (c *Collector) Turn(ctx context.Context) {
	if b := c.fetch(ctx); len(b.results)+len(c.early) > 0 {
		c.recordBatch(ctx, b)
	}
}

// fetchAll fetches batches until taking ends.
func (c *Collector) fetchAll(taking, finishing context.Context, batches chan<- batch) {
	for taking.Err() == nil {
		b := c.fetch(taking)
		if len(b.results) == 0 {
			continue
		}
		select {
		case batches <- b:
		case <-finishing.Done():
			return
		}
	}
}

// fetch takes a batch from the queue, which is empty if there was none in time
// or the queue fails.
func (c *Collector) fetch(ctx context.Context) batch {
	results, ack, err := c.queue.Results(ctx, batchResults, batchWait)
	switch {
	case err == nil:
		c.o.Queue.Worked()
	case ctx.Err() == nil:
		c.o.Queue.Failed(ctx, err)
	}
	if err != nil || len(results) == 0 {
		return batch{}
	}
	return batch{results: results, ack: ack, since: c.o.Now()}
}

// acknowledge tells the queue that a batch is settled.
func (c *Collector) acknowledge(ctx context.Context, b batch) {
	if err := b.ack(ctx); err != nil {
		// Nothing is lost: the results come again and then change nothing.
		c.o.Log.DebugContext(ctx, "results not acknowledged", "err", err)
	}
}
