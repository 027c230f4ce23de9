package coordinator

import (
	"context"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/notify"
	"github.com/tranship/tranship/internal/work"
)

const (
	noticesEvery = time.Second
	// deliveriesKept is how long it can be read what became of deliveries.
	deliveriesKept = 30 * 24 * time.Hour
	// deliveriesOrphaned is how long deliveries wait for a coordinator that knows
	// their receiver.
	deliveriesOrphaned  = 24 * time.Hour
	tidyDeliveriesEvery = 5 * time.Minute
)

// Notices say whom to tell what has happened. The zero value tells nobody.
type Notices struct {
	Receivers *notify.Receivers // of this coordinator alone; nil: none
	// FailureRate is the share of a job's objects that may fail before that is
	// worth a notice; 0: any.
	FailureRate float64
	Page        string          // where receivers find the status page
	Pauses      []time.Duration // after each try that failed; nil: the usual ones
}

// lookForNotices keeps what there is to tell in the ledger, from where senders
// take it, and tells people who watch the queue.
func (c *Coordinator) lookForNotices(ctx context.Context) error {
	told, err := c.ledger.Notices(ctx, ledger.NoticeRule{FailureRate: c.notices.FailureRate}, func(n work.Notice) ([]work.Delivery, error) {
		return c.notices.Receivers.Address(n, c.notices.Page)
	})
	if len(told) > 0 {
		c.sender.Wake()
	}
	for _, n := range told {
		c.log.InfoContext(ctx, "notice", "kind", n.Kind, "job", n.Job.ID, "notice", n.ID)
		c.emit(ctx, work.Event{Job: n.Job.ID, At: n.At, Who: "tranship", What: string(n.Kind), Note: notify.Summary(n)})
	}
	return err
}

// emit tells people who watch the queue. The ledger has what it is about, so
// trouble here fails nothing.
func (c *Coordinator) emit(ctx context.Context, e work.Event) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if err := c.bus.Emit(ctx, e); err != nil {
		c.log.DebugContext(ctx, "queue not told of a notice", "job", e.Job, "what", e.What, "err", err)
	}
}

// tidyDeliveries forgets old deliveries.
func (c *Coordinator) tidyDeliveries(ctx context.Context) error {
	_, err := c.ledger.TidyDeliveries(ctx, deliveriesKept, deliveriesOrphaned, c.notices.Receivers.Names())
	return err
}

// messenger is what the API does about notices; it implements web.Messenger.
type messenger struct{ c *Coordinator }

// Deliveries lists deliveries.
func (m messenger) Deliveries(ctx context.Context, q work.DeliveryQuery) ([]work.Delivery, string, error) {
	return m.c.ledger.Deliveries(ctx, q)
}

// Resend has a delivery tried again.
func (m messenger) Resend(ctx context.Context, id work.DeliveryID, who string) (work.Delivery, error) {
	d, err := m.c.ledger.Resend(ctx, id, who)
	if err == nil {
		m.c.sender.Wake()
	}
	return d, err
}

// Receivers lists who is told.
func (m messenger) Receivers(ctx context.Context) ([]work.Receiver, error) {
	return m.c.sender.Receivers(ctx)
}

// Test tries a receiver now.
func (m messenger) Test(ctx context.Context, receiver, who string) (work.Delivery, error) {
	return m.c.sender.Test(ctx, receiver, who)
}
