package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tranship/tranship/internal/work"
)

// Allot tells an agent what it may use of limits, and returns its answer.
// ErrNoAgent if there is none, or only one that knows of no limits. On any other
// error it may have heard, or be about to hear.
func (b *Bus) Allot(ctx context.Context, site, agent string, a work.Allotment) (work.Taken, error) {
	fail := func(err error) (work.Taken, error) {
		return work.Taken{}, fmt.Errorf("tell agent %s of site %s its share: %w", agent, site, closedOr(err))
	}
	if err := errors.Join(work.CheckName("site", site), work.CheckName("agent", agent)); err != nil {
		return fail(err)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return fail(err)
	}
	m, err := b.nc.RequestWithContext(ctx, control(site, agent)+".allot", body)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoAgent
	}
	if err != nil {
		return fail(err)
	}
	var t work.Taken
	if err := json.Unmarshal(m.Data, &t); err != nil {
		return fail(err)
	}
	return t, nil
}

// allot hands an allotment to the agent.
func (b *Bus) allot(ctx context.Context, r micro.Request, take func(work.Allotment) work.Taken) {
	var a work.Allotment
	if err := json.Unmarshal(r.Data(), &a); err != nil {
		b.log.WarnContext(ctx, "unreadable request", "subject", r.Subject(), "err", err)
		return // whoever asked gives up waiting
	}
	b.answer(ctx, r, take(a))
}
