package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

const (
	itemWait   = 120 * time.Second // until an item without a sign of life goes to another agent
	resultWait = 60 * time.Second  // until a result that is not acknowledged comes again
)

var (
	errRefused = errors.New("simulated: refused")
	errUnheard = errors.New("simulated: done, but the answer was lost")
	errDead    = errors.New("simulated: this coordinator is dead")
)

// A message is an item or a result as bytes.
type message struct {
	seq        uint64
	subject    string
	body       []byte
	deliveries int
	due        time.Time // not to be delivered before
}

// A stream is messages in their order. An older copy of it may come back.
type stream struct {
	seq      uint64
	messages []*message
}

func (s *stream) copied() stream {
	c := stream{seq: s.seq}
	for _, m := range s.messages {
		twin := *m
		c.messages = append(c.messages, &twin)
	}
	return c
}

func (s *stream) find(seq uint64) *message {
	for _, m := range s.messages {
		if m.seq == seq {
			return m
		}
	}
	return nil
}

func (s *stream) remove(seq uint64) {
	s.messages = slices.DeleteFunc(s.messages, func(m *message) bool { return m.seq == seq })
}

func (s *stream) add(subject string, body []byte, due time.Time) *message {
	s.seq++
	m := &message{seq: s.seq, subject: subject, body: body, due: due}
	s.messages = append(s.messages, m)
	return m
}

// A queue is what bus promises of one, with all that may befall it: of items
// one message per subject, of results as many as are reported.
type queue struct {
	*world
	work, results     stream
	oldWork, oldItems stream // copies to restore from: of work, of results
	controls          map[work.JobID]work.JobControl
}

func newQueue(w *world) *queue {
	return &queue{world: w, controls: map[work.JobID]work.JobControl{}}
}

// publish stores an item unless its message still is there.
func (q *queue) publish(it work.Item) work.Receipt {
	if q.chance(q.odds.refuse) {
		return work.Receipt{Err: errRefused}
	}
	for _, m := range q.work.messages {
		if m.subject == it.Subject() {
			return work.Receipt{}
		}
	}
	body, err := it.Encode()
	if err != nil {
		q.breaks("item %d cannot be encoded: %v", it.ID, err)
		return work.Receipt{Err: err}
	}
	q.work.add(it.Subject(), body, q.now)
	q.logf("queue: item %d %s epoch %d attempt %d stored", it.ID, it.Kind, it.Epoch, it.Attempt)
	if q.chance(q.odds.unheard) {
		return work.Receipt{Err: errUnheard}
	}
	return work.Receipt{Stored: true}
}

// A delivery is an item in an agent's hands.
type delivery struct {
	seq        uint64
	item       work.Item
	deliveries int
}

// take hands out an item, mostly the oldest.
func (q *queue) take() (delivery, bool) {
	m := q.pick(&q.work)
	if m == nil {
		return delivery{}, false
	}
	m.deliveries++
	m.due = q.now.Add(itemWait)
	it, err := work.DecodeItem(m.body)
	if err != nil {
		q.breaks("an item cannot be read: %v", err)
		return delivery{}, false
	}
	return delivery{m.seq, it, m.deliveries}, true
}

// pick returns a message that may be delivered, in no strict order.
func (q *queue) pick(s *stream) *message {
	var due []*message
	for _, m := range s.messages {
		if !m.due.After(q.now) {
			due = append(due, m)
		}
	}
	if len(due) == 0 {
		return nil
	}
	if q.rng.IntN(3) > 0 {
		return due[0]
	}
	return due[q.rng.IntN(len(due))]
}

// alive is a sign of life of an item.
func (q *queue) alive(d delivery) {
	if m := q.work.find(d.seq); m != nil && m.due.After(q.now) {
		m.due = q.now.Add(itemWait)
	}
}

// ack removes an item, whoever has it now. Of a stream that was made anew it
// may be another one than was meant, as with the server.
func (q *queue) ack(d delivery) {
	if q.chance(q.odds.lose) {
		q.logf("queue: the ack of item %d is lost", d.item.ID)
		return
	}
	if m := q.work.find(d.seq); m != nil && m.deliveries > 0 {
		q.work.remove(d.seq)
	}
}

func (q *queue) nak(d delivery, delay time.Duration) {
	if m := q.work.find(d.seq); m != nil && !q.chance(q.odds.lose) {
		m.due = q.now.Add(delay)
	}
}

// report stores a result, perhaps without telling, perhaps not at all.
func (q *queue) report(agent string, r work.Result) bool {
	if q.chance(q.odds.refuse) {
		return false
	}
	body, err := r.Encode()
	if err != nil {
		q.breaks("a result cannot be encoded: %v", err)
		return true
	}
	for range 1 + q.rng.IntN(2) {
		q.results.add(work.ResultSubject(site, agent, r.Job, r.Item), body, q.now)
		if !q.chance(q.odds.repeat) {
			break
		}
	}
	return !q.chance(q.odds.unheard)
}

// take hands out some results.
func (q *queue) takeResults(limit int) (results []work.Result, seqs []uint64) {
	limit = min(limit, 1+q.rng.IntN(6))
	for range limit {
		m := q.pick(&q.results)
		if m == nil {
			break
		}
		m.deliveries++
		m.due = q.now.Add(resultWait)
		r, err := work.DecodeResult(m.body)
		if err != nil {
			if len(q.guard.mad) == 0 {
				q.breaks("a result cannot be read: %v", err)
			}
			q.logf("queue: %s put aside: %v", m.subject, err)
			q.results.remove(m.seq)
			break
		}
		_, r.Agent, _, _, err = work.SplitResultSubject(m.subject)
		if err != nil {
			q.breaks("a result from nobody: %v", err)
			break
		}
		results, seqs = append(results, r), append(seqs, m.seq)
	}
	return results, seqs
}

// ackResults removes results.
func (q *queue) ackResults(seqs []uint64) error {
	for _, seq := range seqs {
		if q.chance(q.odds.lose) {
			return errUnheard
		}
		q.results.remove(seq)
	}
	return nil
}

// settled reports whether all results up to mark are gone, as the server's
// floor of acknowledgements says.
func (q *queue) settled(mark uint64) bool {
	if len(q.results.messages) == 0 {
		return true
	}
	floor := q.results.seq
	for _, m := range q.results.messages {
		floor = min(floor, m.seq-1)
	}
	return floor >= mark
}

// purge removes all items: of a story there is one job.
func (q *queue) purge() { q.work.messages = nil }

// storm is what may befall the streams as wholes.
func (q *queue) storm() {
	switch q.rng.IntN(8) {
	case 0:
		q.logf("queue: all items are lost")
		q.work = stream{}
	case 1:
		q.logf("queue: all results are lost")
		q.results = stream{}
	case 2:
		if n := len(q.work.messages); n > 0 {
			m := q.work.messages[q.rng.IntN(n)]
			q.logf("queue: message %s is lost", m.subject)
			q.work.remove(m.seq)
		}
	case 3:
		if n := len(q.results.messages); n > 0 {
			m := q.results.messages[q.rng.IntN(n)]
			q.logf("queue: message %s is lost", m.subject)
			q.results.remove(m.seq)
		}
	case 4:
		q.oldWork = q.work.copied()
	case 5:
		q.oldItems = q.results.copied()
	case 6:
		q.logf("queue: %d items come back from an older copy", len(q.oldWork.messages))
		q.work = q.oldWork.copied()
	case 7:
		q.logf("queue: %d results come back from an older copy", len(q.oldItems.messages))
		q.results = q.oldItems.copied()
	}
}

// jump moves the queue's clock.
func (q *queue) jump(d time.Duration) {
	q.logf("queue: its clock jumps by %s", d)
	for _, s := range []*stream{&q.work, &q.results} {
		for _, m := range s.messages {
			m.due = m.due.Add(-d)
		}
	}
}

// The queue as a coordinator's parts see it.

// Publish implements dispatch.Publisher.
func (l *life) Publish(_ context.Context, items []work.Item) []work.Receipt {
	receipts := make([]work.Receipt, len(items))
	for i, it := range items {
		receipts[i].Err = l.call("publish", func() error {
			receipts[i] = l.queue.publish(it)
			return receipts[i].Err
		})
		if receipts[i].Err != nil {
			receipts[i].Stored = false
			continue
		}
		delete(l.claimed, it.ID)
	}
	return receipts
}

// Results implements collect.Queue.
func (l *life) Results(_ context.Context, limit int, _ time.Duration) (results []work.Result, ack func(context.Context) error, err error) {
	var seqs []uint64
	err = l.call("take results", func() error {
		results, seqs = l.queue.takeResults(limit)
		return nil
	})
	if err != nil {
		return nil, func(context.Context) error { return nil }, err
	}
	given := slices.Clone(results) // the collector keeps what it was given
	return results, func(context.Context) error {
		return l.call("ack results", func() error {
			l.guard.acked(given)
			return l.queue.ackResults(seqs)
		})
	}, nil
}

// ResultsMark implements reconcile.Queue.
func (l *life) ResultsMark(context.Context) (mark uint64, err error) {
	err = l.call("mark results", func() error {
		mark = l.queue.results.seq
		l.guard.marked(l, l.queue.results)
		return nil
	})
	return mark, err
}

// ResultsSettled implements reconcile.Queue.
func (l *life) ResultsSettled(_ context.Context, mark uint64) (ok bool, err error) {
	err = l.call("see results settled", func() error {
		ok = l.queue.settled(mark)
		return nil
	})
	return ok, err
}
