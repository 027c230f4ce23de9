package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

// A Claimer hands out items; in production it is a *ledger.Ledger. Its methods
// may be called concurrently.
type Claimer interface {
	// ActiveSites returns the sites that have items to hand out or wait for.
	ActiveSites(ctx context.Context) ([]string, error)
	// Claim marks ready items of the site as queued until window items are,
	// and returns those it marked. On return the mark is durable.
	Claim(ctx context.Context, site string, window int) ([]work.Item, error)
	// Release makes items ready again that were claimed but not published. An
	// item that has moved on since is left alone.
	Release(ctx context.Context, items []work.Item) error
}

// A Publisher puts items on the queue and returns a receipt for each, in
// their order. Publishing an item that is still there changes nothing.
type Publisher interface {
	Publish(ctx context.Context, items []work.Item) []work.Receipt
}

// An Outage hears how the loop fares. Failed logs what must be logged and
// waits for as long as is wise, or until ctx ends; Worked ends the outage.
type Outage interface {
	Failed(ctx context.Context, err error)
	Worked()
}

const (
	poll        = 250 * time.Millisecond // how long a delayed or foreign item may go unnoticed
	sitesAtOnce = 8
	settle      = 30 * time.Second // for publishing and releasing what was claimed
)

// A Dispatcher moves ready items to the queue.
type Dispatcher struct {
	claimer   Claimer
	publisher Publisher
	outage    Outage
	window    int
	wake      chan struct{}
}

// New returns a Dispatcher that keeps up to window items of each site on the
// queue.
func New(c Claimer, p Publisher, o Outage, window int) *Dispatcher {
	return &Dispatcher{claimer: c, publisher: p, outage: o, window: window, wake: make(chan struct{}, 1)}
}

// Wake tells that items may have become ready or places in a window free, so
// that they need not wait to be noticed. It never blocks.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // one call is pending already and will see this one's reason too
	}
}

// Run dispatches until ctx ends, and returns nil then. What was claimed by
// that time is published first.
func (d *Dispatcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := d.Round(ctx); err != nil {
			d.outage.Failed(ctx, err)
			continue
		}
		d.outage.Worked()
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-ticker.C:
		}
	}
	return nil
}

// Round fills the window of every site once, also if one is in trouble. It is
// what Run does again and again, for a caller that keeps its own time.
func (d *Dispatcher) Round(ctx context.Context) error {
	sites, err := d.claimer.ActiveSites(ctx)
	if err != nil {
		return fmt.Errorf("find sites to dispatch to: %w", err)
	}
	errs := make([]error, len(sites))
	var g errgroup.Group
	g.SetLimit(sitesAtOnce)
	for i, site := range sites {
		g.Go(func() error {
			errs[i] = d.fill(ctx, site)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs, one per site
	return errors.Join(errs...)
}

// fill claims and publishes items until the site's window is full.
func (d *Dispatcher) fill(ctx context.Context, site string) error {
	items, err := d.claimer.Claim(ctx, site, d.window)
	if err != nil {
		return fmt.Errorf("claim items of site %s: %w", site, err)
	}
	if len(items) == 0 {
		return nil
	}
	// What is claimed is seen through, also at a shutdown: left alone it
	// would wait to be reconciled.
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()

	var refused []work.Item
	var why error
	for i, receipt := range d.publisher.Publish(settling, items) {
		if receipt.Err != nil {
			refused, why = append(refused, items[i]), receipt.Err
		}
	}
	if len(refused) == 0 {
		return nil
	}
	err = fmt.Errorf("publish %d of %d items to site %s: %w", len(refused), len(items), site, why)
	if rerr := d.claimer.Release(settling, refused); rerr != nil {
		err = errors.Join(err, fmt.Errorf("release items of site %s: %w", site, rerr))
	}
	return err
}
