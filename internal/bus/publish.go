package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// Codes of the server's answers that the client library has no name for.
const (
	errNoResources        jetstream.ErrorCode = 10023 // the disk that JetStream may use is full
	errNoJetStreamAccount jetstream.ErrorCode = 10039
	errNoStorage          jetstream.ErrorCode = 10047 // nothing left to set aside for another stream
	errNoJetStream        jetstream.ErrorCode = 10076
	errStoreFailed        jetstream.ErrorCode = 10077 // a limit of the stream; the text says which
)

// ErrFull means that a stream or the server's disk has no room. What was to be
// stored must be offered again later.
var ErrFull = errors.New("the queue is full")

// ErrUnconfirmed means that a stream did not answer in time. So it is with one
// whose disk was full: it says nothing until its server is restarted.
var ErrUnconfirmed = errors.New("the queue does not confirm what it is given")

// ErrTooLarge means that a message can never be stored.
var ErrTooLarge = errors.New("message is too large for the queue")

// Publish puts items on the queues of their sites and says of each what became
// of it, in the same order. It returns when every item is stored or known not
// to be. Publishing an item that still is on the queue, or with an agent,
// changes nothing and is no error.
//
// An error in a receipt means only that the item is not known to be stored:
// it may be published again at any time.
func (b *Bus) Publish(ctx context.Context, items []work.Item) []work.Receipt {
	receipts := make([]work.Receipt, len(items))
	todo := make([]int, len(items))
	for i := range todo {
		todo[i] = i
	}
	// A second round settles what the first left in doubt: a stream that was
	// gone is there again, and what was stored unseen is found.
	for range 2 {
		todo = b.publishRound(ctx, items, todo, receipts)
		if len(todo) == 0 || ctx.Err() != nil {
			break
		}
	}
	return receipts
}

// publishRound publishes the items at the places todo, writes their receipts
// and returns the places that are worth another round.
func (b *Bus) publishRound(ctx context.Context, items []work.Item, todo []int, receipts []work.Receipt) (again []int) {
	sites := map[string]error{}
	acks := make([]jetstream.PubAckFuture, len(todo))
	for n, i := range todo {
		it := items[i]
		err, ok := sites[it.Site]
		if !ok {
			err = b.AddSite(ctx, it.Site)
			sites[it.Site] = err
		}
		if err == nil {
			acks[n], err = b.send(it)
		}
		if err == nil {
			err = ctx.Err()
		}
		receipts[i] = work.Receipt{Err: err}
	}
	for n, i := range todo {
		if acks[n] == nil {
			continue
		}
		receipts[i] = receipt(await(ctx, acks[n]))
		err := receipts[i].Err
		if missing(err) {
			b.sawSite(items[i].Site, time.Time{})
		}
		if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrTooLarge) {
			again = append(again, i)
		}
	}
	return again
}

// send starts to publish an item.
func (b *Bus) send(it work.Item) (jetstream.PubAckFuture, error) {
	body, err := it.Encode()
	if err != nil {
		return nil, err
	}
	if len(body) > maxWorkMsg {
		return nil, fmt.Errorf("item %d of job %d: %w: %d bytes", it.ID, it.Job, ErrTooLarge, len(body))
	}
	m := nats.NewMsg(it.Subject())
	m.Data = body
	m.Header.Set(ackWaitHeader, b.opt.AckWait.String())
	ack, err := b.js.PublishMsgAsync(m,
		jetstream.WithExpectStream(workPrefix+it.Site), jetstream.WithStallWait(stallWait))
	return ack, meaning(err)
}

// await returns the stream's answer; the library bounds how long that takes.
func await(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// receipt turns a stream's answer to an item into what it means.
func receipt(err error) work.Receipt {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return work.Receipt{Stored: true}
	case errors.As(err, &api) && api.ErrorCode == errStoreFailed && strings.Contains(api.Description, "per subject"):
		return work.Receipt{} // it is still there
	}
	return work.Receipt{Err: meaning(err)}
}

// meaning names the answers of a stream that callers decide on.
func meaning(err error) error {
	switch {
	case full(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum), errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// full reports whether an error says that there is no room.
func full(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case errNoResources, errNoStorage:
		return true
	case errStoreFailed:
		return strings.Contains(api.Description, "exceeded")
	}
	return false
}

// PurgeJob removes what a site's queue still holds of a job. Items that agents
// hold are not taken from them.
func (b *Bus) PurgeJob(ctx context.Context, site string, job work.JobID) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	s, err := b.js.Stream(ctx, workPrefix+site)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(work.JobSubjects(site, job)))
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("purge job %d from the queue of site %s: %w", job, site, err)
	}
	return nil
}

// Emit tells people what happened, in stream TRANSHIP_EVENTS. Nothing reads
// events back. One that has an id is kept once, whoever repeats it within two
// minutes.
func (b *Bus) Emit(ctx context.Context, e work.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("emit event %q: %w", e.What, err)
	}
	subject := eventRoot + token(cmp.Or(e.What, "event")) + "." + e.Job.String()
	m := nats.NewMsg(subject)
	m.Data = body
	if e.ID > 0 { // a ledger that was set back may use the id again, but not at the same time
		m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("event-%d-%d", e.ID, e.At.UnixMicro()))
	}
	if err := b.store(ctx, m); err != nil {
		return fmt.Errorf("emit event %q of job %d: %w", e.What, e.Job, err)
	}
	return nil
}

// store publishes a message to the stream of its subject and waits until it
// is stored. A stream that is missing is made, if that is this side's part.
func (b *Bus) store(ctx context.Context, m *nats.Msg) error {
	for try := 0; ; try++ {
		err := b.storeOnce(ctx, m)
		if !missing(err) || try > 0 || !b.heal(ctx) {
			return err
		}
	}
}

func (b *Bus) storeOnce(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, m)
	return meaning(err)
}

// heal makes what is missing for the whole fleet and reports whether it is
// there now. Agents leave that to the coordinators.
func (b *Bus) heal(ctx context.Context) bool {
	if !b.keepsAll.Load() {
		return false
	}
	b.log.WarnContext(ctx, "queue is not whole, making what is missing")
	sleep(ctx, removalWait)
	if err := b.Setup(ctx); err != nil {
		b.log.ErrorContext(ctx, "queue cannot be repaired", "err", err)
		return false
	}
	return true
}
