package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// Report stores an agent's result of an item and returns once the stream has
// confirmed it; then, and not before, the item may be acked. While the stream
// is full, missing or out of reach it tries again until ctx ends. Any number
// of calls may run at once, and they share the way there and back.
//
// A result that was stored but could not be confirmed is stored again, so
// results may repeat. ErrTooLarge is final.
func (b *Bus) Report(ctx context.Context, site, agent string, r work.Result) error {
	body, err := r.Encode()
	if err != nil {
		return err
	}
	if len(body) > maxResultMsg {
		return fmt.Errorf("report item %d of job %d: %w: %d bytes", r.Item, r.Job, ErrTooLarge, len(body))
	}
	subject := work.ResultSubject(site, agent, r.Job, r.Item)
	for try := 0; ; try++ {
		err := b.store(ctx, &nats.Msg{Subject: subject, Data: body})
		if err == nil {
			return nil
		}
		if err := closedOr(err); errors.Is(err, ErrTooLarge) || errors.Is(err, ErrClosed) {
			return fmt.Errorf("report item %d of job %d: %w", r.Item, r.Job, err)
		}
		if try == 2 {
			b.log.WarnContext(ctx, "result cannot be stored yet", "job", r.Job, "item", r.Item, "err", err)
		}
		if !sleep(ctx, min(100*time.Millisecond<<min(try, 5), 2*time.Second)) {
			return fmt.Errorf("report item %d of job %d: %w (%w)", r.Item, r.Job, err, ctx.Err())
		}
	}
}

// Results takes up to limit results from the queue: those that are there, or
// else what comes first within wait; maybe none. The results stay on the queue
// until ack is called, which must be after they are in the ledger, and come
// again if it never is. ack is never nil.
//
// Messages that are no results are put aside. A result's Agent is that of its
// subject, which is the one that the server vouches for.
func (b *Bus) Results(ctx context.Context, limit int, wait time.Duration) (results []work.Result, ack func(context.Context) error, err error) {
	none := func(context.Context) error { return nil }
	switch {
	case b.nc.IsClosed():
		return nil, none, fmt.Errorf("take results: %w", ErrClosed)
	case !b.nc.IsConnected():
		sleep(ctx, wait)
		return nil, none, ctx.Err()
	}
	p, from := b.newPull(), source{resultsStream, ledgerConsumer}
	if p.late(limit, from); p.count() == 0 {
		if err = p.ask(from, limit, max(wait, time.Millisecond)); err == nil {
			err = p.gather(ctx, wait+answerWait)
		}
	}
	var replies []string
	for _, m := range p.close() {
		r, bad := readResult(m.Msg)
		if bad != nil {
			b.refuse(ctx, m.Msg, bad)
			continue
		}
		results = append(results, r)
		replies = append(replies, m.Reply)
	}
	if len(p.gone) > 0 && !b.heal(ctx) {
		sleep(ctx, wait)
	}
	if err == nil && len(results) == 0 {
		err = ctx.Err()
	}
	if err != nil {
		return nil, none, fmt.Errorf("take results: %w", err)
	}
	return results, func(ctx context.Context) error { return b.ackAll(ctx, replies) }, nil
}

// readResult reads a message of the results stream.
func readResult(m *nats.Msg) (work.Result, error) {
	site, agent, job, item, err := work.SplitResultSubject(m.Subject)
	if err != nil {
		return work.Result{}, err
	}
	r, err := work.DecodeResult(m.Data)
	if err != nil {
		return work.Result{}, err
	}
	if r.Job != job || r.Item != item {
		return work.Result{}, fmt.Errorf("it is of item %d of job %d, not that of its subject", r.Item, r.Job)
	}
	r.Agent, r.Site = agent, site
	return r, nil
}

// ackAll removes messages from the queue and waits until the server has heard.
func (b *Bus) ackAll(ctx context.Context, replies []string) error {
	for _, reply := range replies {
		if err := b.nc.Publish(reply, []byte("+ACK")); err != nil {
			return fmt.Errorf("ack results: %w", closedOr(err))
		}
	}
	if len(replies) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("ack results: %w", closedOr(err))
	}
	return nil
}

// ResultsMark returns a mark behind the newest result. Once ResultsSettled
// says so of it, every result that was stored before is in the ledger.
func (b *Bus) ResultsMark(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	s, err := b.js.Stream(ctx, resultsStream)
	if missing(err) && b.heal(ctx) {
		s, err = b.js.Stream(ctx, resultsStream)
	}
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", resultsStream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// ResultsSettled reports whether every result up to mark was taken and acked.
func (b *Bus) ResultsSettled(ctx context.Context, mark uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	c, err := b.js.Consumer(ctx, resultsStream, ledgerConsumer)
	if missing(err) && b.heal(ctx) {
		c, err = b.js.Consumer(ctx, resultsStream, ledgerConsumer)
	}
	if err != nil {
		return false, fmt.Errorf("look at consumer %s of stream %s: %w", ledgerConsumer, resultsStream, err)
	}
	return settled(c.CachedInfo(), mark), nil
}

// settled compares a consumer with a mark. A consumer that has nothing left is
// settled whatever the mark: the stream may have been made anew, or its last
// messages been removed by an operator.
func settled(c *jetstream.ConsumerInfo, mark uint64) bool {
	idle := c.NumPending == 0 && c.NumAckPending == 0 && c.NumRedelivered == 0
	return c.AckFloor.Stream >= mark || idle
}
