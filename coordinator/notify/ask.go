package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Test tries a receiver now, once, also one that is disabled, and returns the
// delivery as it ended. A name of no receiver is work.ErrNotThere.
func (s *Sender) Test(ctx context.Context, name, who string) (work.Delivery, error) {
	r := s.receivers.byName[name]
	if r == nil {
		return work.Delivery{}, fmt.Errorf("receiver %q: %w", name, work.ErrNotThere)
	}
	d, err := s.ledger.TestDelivery(ctx, name, who, lease, func(n work.Notice) (string, error) { return bodyOf(n, "") })
	if err != nil {
		return d, err
	}
	result := s.try(context.WithoutCancel(ctx), r, d)
	s.settle(ctx, d, result)
	d.State, d.Status, d.Error, d.NextAt = result.State, result.Status, result.Error, time.Time{}
	if d.State == work.DeliverySent {
		d.SentAt = time.Now().UTC()
	}
	return d, nil
}

// Receivers returns who is told.
func (s *Sender) Receivers(ctx context.Context) ([]work.Receiver, error) {
	standings, err := s.ledger.DeliveryStandings(ctx, s.receivers.names)
	if err != nil {
		return nil, err
	}
	list := make([]work.Receiver, 0, len(s.receivers.names))
	for _, name := range s.receivers.names {
		r := s.receivers.byName[name]
		kinds := r.kinds
		if len(kinds) == 0 {
			kinds = work.NoticeKinds()
		}
		list = append(list, work.Receiver{Name: name, Type: r.kind, Host: r.way.host(), Kinds: kinds,
			Disabled: r.whyDisabled(), DeliveryStanding: standings[name]})
	}
	return list, nil
}
