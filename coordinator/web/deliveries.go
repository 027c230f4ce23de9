package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A Messenger knows who is told what has happened, and what became of it.
type Messenger interface {
	// Deliveries returns a page, newest first, and the cursor of the next.
	Deliveries(ctx context.Context, q work.DeliveryQuery) (deliveries []work.Delivery, next string, err error)
	// Resend has a delivery tried again, from the first time on. If there is
	// none, it is work.ErrNotThere.
	Resend(ctx context.Context, id work.DeliveryID, who string) (work.Delivery, error)
	// Receivers returns all receivers, in the order of the configuration.
	Receivers(ctx context.Context) ([]work.Receiver, error)
	// Test sends a receiver a notice that means nothing and returns what became
	// of it. If there is no such receiver, it is work.ErrNotThere.
	Test(ctx context.Context, receiver, who string) (work.Delivery, error)
}

func (s *site) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "receiver", "state", "cursor", "limit")
	q := work.DeliveryQuery{Receiver: p.text("receiver"), State: oneOf(p, "state", work.DeliveryStates()...),
		Cursor: p.text("cursor"), Limit: p.limit(limitUnsaid)}
	if err := p.err(); err != nil {
		return err
	}
	deliveries, next, err := s.Messenger.Deliveries(r.Context(), q)
	if err != nil {
		return err
	}
	linkNext(w, r, "cursor", next)
	return answerJSON(w, api.DeliveryList{Deliveries: notNil(deliveries), Next: next})
}

func (s *site) resendDelivery(w http.ResponseWriter, r *http.Request) error {
	who, err := readWhoAlone(r)
	if err != nil {
		return err
	}
	d, err := s.resend(r, who)
	if err != nil {
		return err
	}
	return answerJSON(w, d)
}

// resend has the delivery tried again that the address names.
func (s *site) resend(r *http.Request, who string) (work.Delivery, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		return work.Delivery{}, notThere("tranship notice ls lists the deliveries.", "%q is not the number of a delivery", clip(r.PathValue("id")))
	}
	d, err := s.Messenger.Resend(r.Context(), work.DeliveryID(id), who)
	if errors.Is(err, work.ErrNotThere) {
		return d, notThere("tranship notice ls lists the deliveries.", "there is no delivery %d, or it is forgotten by now", id)
	}
	return d, err
}

func (s *site) listReceivers(w http.ResponseWriter, r *http.Request) error {
	receivers, err := s.Messenger.Receivers(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, api.ReceiverList{Receivers: notNil(receivers)})
}

func (s *site) testReceiver(w http.ResponseWriter, r *http.Request) error {
	who, err := readWhoAlone(r)
	if err != nil {
		return err
	}
	d, err := s.try(r, who)
	if err != nil {
		return err
	}
	return answerJSON(w, d)
}

// try sends the receiver that the address names a test.
func (s *site) try(r *http.Request, who string) (work.Delivery, error) {
	name := r.PathValue("name")
	d, err := s.Messenger.Test(r.Context(), name, who)
	if errors.Is(err, work.ErrNotThere) {
		return d, notThere("tranship notice receivers lists them.", "no receiver is called %q", clip(name))
	}
	return d, err
}

// notThere is the problem of a name or number that stands for nothing.
func notThere(hint, format string, args ...any) error {
	p := api.NewProblem(api.NotFound, fmt.Sprintf(format, args...))
	p.Hint = hint
	return p
}

// readWhoAlone returns who asks by a request that says nothing else.
func readWhoAlone(r *http.Request) (string, error) {
	var f findings
	who := readWho(r, &f)
	if err := readBody(r, &struct{}{}, true, fields{}, &f); err != nil {
		return "", err
	}
	return who, f.err()
}
