package notify

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Ledger keeps deliveries; in production it is a *ledger.Ledger. Its methods
// may be called concurrently.
type Ledger interface {
	// ClaimDeliveries returns deliveries that are due, for each receiver at most
	// as many as there is room for, and leaves them to the caller for the lease.
	ClaimDeliveries(ctx context.Context, room map[string]int, lease time.Duration) ([]work.Delivery, error)
	// SettleDelivery keeps what became of a claimed delivery. It may be repeated.
	SettleDelivery(ctx context.Context, d work.Delivery, r work.DeliveryResult) error
	// TestDelivery keeps a delivery of a test that the caller has claimed.
	TestDelivery(ctx context.Context, receiver, who string, lease time.Duration, body func(work.Notice) (string, error)) (work.Delivery, error)
	// DeliveryStandings says how deliveries to receivers have fared.
	DeliveryStandings(ctx context.Context, receivers []string) (map[string]work.DeliveryStanding, error)
}

// An Outage hears how the loop fares. Failed logs what must be logged and
// waits for as long as is wise, or until ctx ends; Worked ends the outage.
type Outage interface {
	Failed(ctx context.Context, err error)
	Worked()
}

const (
	poll   = time.Second // how long a delivery that is due may go unnoticed
	atOnce = 4           // tries of one receiver
	// parting is how long tries in hand may take once the sender is to stop.
	parting = 2 * time.Second
	// settling bounds keeping a result.
	settling = 15 * time.Second
)

// Options say how a Sender works. The zero value is good.
type Options struct {
	Log    *slog.Logger                                // nil: silent
	Tried  func(work.ReceiverType, work.DeliveryState) // told of each try; nil: nobody
	Pauses []time.Duration                             // after each try that failed; nil: the usual ones
}

// A Sender brings deliveries to receivers.
type Sender struct {
	ledger    Ledger
	outage    Outage
	receivers *Receivers
	log       *slog.Logger
	tried     func(work.ReceiverType, work.DeliveryState)
	pauses    []time.Duration
	wake      chan struct{}
}

// New returns a Sender to these receivers, whose only one it must be.
func New(l Ledger, outage Outage, to *Receivers, o Options) *Sender {
	s := &Sender{ledger: l, outage: outage, receivers: to, log: o.Log, tried: o.Tried, pauses: o.Pauses, wake: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.tried == nil {
		s.tried = func(work.ReceiverType, work.DeliveryState) {}
	}
	if s.pauses == nil {
		s.pauses = pauses
	}
	return s
}

// Wake tells that deliveries may have become due. It never blocks.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // one call is pending already
	}
}

// Run tells receivers until ctx ends, and returns nil then. Tries in hand may
// take a little longer; what they come to nothing of is tried again later.
func (s *Sender) Run(ctx context.Context) error {
	sending, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var tries sync.WaitGroup
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for ctx.Err() == nil && len(s.receivers.names) > 0 {
		if err := s.round(ctx, sending, &tries); err != nil {
			s.outage.Failed(ctx, err)
			continue
		}
		s.outage.Worked()
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-ticker.C:
		}
	}
	<-ctx.Done()
	timer := time.AfterFunc(parting, abandon)
	defer timer.Stop()
	tries.Wait()
	s.receivers.close()
	return nil
}

// round begins what is due, as far as there is room.
func (s *Sender) round(ctx, sending context.Context, tries *sync.WaitGroup) error {
	room := map[string]int{}
	for name, r := range s.receivers.byName {
		if n := r.room(); n > 0 {
			room[name] = n
		}
	}
	if len(room) == 0 {
		return nil
	}
	claimed, err := s.ledger.ClaimDeliveries(ctx, room, lease)
	if err != nil {
		return err
	}
	for _, d := range claimed {
		r := s.receivers.byName[d.Receiver]
		r.take(1)
		tries.Go(func() {
			defer s.Wake() // there is room again
			defer r.take(-1)
			result := s.try(sending, r, d)
			if sending.Err() != nil && result.State == work.DeliveryWaiting {
				return // it was cut short: the lease ends, and somebody tries again
			}
			s.settle(sending, d, result)
		})
	}
	return nil
}

// try makes one try of a delivery and says what becomes of it.
func (s *Sender) try(ctx context.Context, r *receiver, d work.Delivery) work.DeliveryResult {
	if why := r.whyDisabled(); why != "" && d.Kind != work.NoticeTest {
		return work.DeliveryResult{State: work.DeliveryGivenUp, Error: why}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	status, asked, err := r.way.send(ctx, d)
	result := work.DeliveryResult{State: work.DeliverySent, Status: status}
	if err != nil {
		result.State, result.Error = work.DeliveryWaiting, err.Error()
		var again bool
		if result.After, again = pauseAfter(s.pauses, d.Tries, asked); !again || d.Kind == work.NoticeTest {
			result.State = work.DeliveryGivenUp
		}
	}
	switch {
	case r.kind == work.ReceiverWebhook && status == http.StatusGone:
		result.State = work.DeliveryGivenUp
		r.disable("the receiver answered 410 Gone: it wants no more notices. They go on after a test of it succeeds, or a restart")
	case err == nil:
		r.disable("")
	}
	s.note(ctx, r, d, result)
	return result
}

// note counts a try and logs what an operator must know.
func (s *Sender) note(ctx context.Context, r *receiver, d work.Delivery, result work.DeliveryResult) {
	s.tried(r.kind, result.State)
	log := s.log.With("receiver", r.name, "delivery", d.ID, "kind", d.Kind, "job", d.Job, "tries", d.Tries)
	switch {
	case result.State == work.DeliveryGivenUp:
		log.WarnContext(ctx, "notice given up", "err", result.Error)
	case result.State == work.DeliveryWaiting && d.Tries == 1:
		log.WarnContext(ctx, "notice not taken, trying on", "err", result.Error)
	default:
		log.DebugContext(ctx, "notice tried", "state", result.State, "err", result.Error)
	}
}

// settle keeps a result. If it cannot, the delivery is tried again: a receiver
// tells that by the notice's id.
func (s *Sender) settle(ctx context.Context, d work.Delivery, r work.DeliveryResult) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	if err := s.ledger.SettleDelivery(ctx, d, r); err != nil {
		s.log.WarnContext(ctx, "what became of a notice is not kept, it will be tried again", "delivery", d.ID, "receiver", d.Receiver, "err", err)
	}
}
