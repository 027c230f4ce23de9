package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tranship/tranship/internal/work"
)

const (
	// lateWait is how long a message that came late lies ready for who wants it
	// before it goes back to the queue.
	lateWait = time.Second
	// oweWait is how long after its time a request may be answered. After that
	// the server has forgotten it.
	oweWait = 5 * time.Second
)

// An inbox is where consumers send what this side asks of them.
//
// A request is never withdrawn. Between servers a message may be on its way
// when that happens, and is dropped where nobody waits for it any more: it would
// be nobody's until AckWait is over. So a request stands, and is listened for,
// until its consumer has answered it or its time is over. What comes when who
// asked is gone lies on a shelf for who next looks there, and goes back to the
// queue if nobody does.
type inbox struct {
	b      *Bus
	prefix string        // of the subjects of answers
	lie    time.Duration // see lateWait

	mu      sync.Mutex // guards what follows, the lines, the requests, and what pulls are told
	made    int        // lines
	free    []*line
	open    map[*request]bool
	shelf   map[source][]*arrival
	changed chan struct{} // closed when something came, and replaced
	closed  bool
}

// A line is a subscription for one request at a time: a message does not say
// which request it answers.
type line struct {
	name    string
	sub     *nats.Subscription
	asked   int      // requests
	request *request // nil: free
}

// A request is what a consumer was asked for.
type request struct {
	line   *line
	answer string // subject of the consumer's answer
	from   source
	pull   *pull // who asked; nil once that is gone
	asked  time.Time
	wait   time.Duration // for what is not there yet
	left   int           // messages that may still come
	over   bool
}

// An arrival is a message of a consumer.
type arrival struct {
	*nats.Msg
	from  source
	asked time.Time // it was sent no earlier
}

func newInbox(b *Bus) *inbox {
	return &inbox{b: b, prefix: b.nc.NewInbox() + ".", lie: lateWait, open: map[*request]bool{}, shelf: map[source][]*arrival{}, changed: make(chan struct{})}
}

// ask requests up to batch messages of a consumer for a pull: those that are
// there, or else what comes first within wait.
func (in *inbox) ask(p *pull, from source, batch int, wait time.Duration) (*request, error) {
	body, err := json.Marshal(pullRequest{Batch: batch, MaxBytes: maxPullBytes, NoWait: true, Expires: wait})
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	r, err := in.book(&request{from: from, pull: p, asked: time.Now(), wait: wait, left: batch})
	if err != nil {
		return nil, closedOr(err)
	}
	subject := in.b.api + "CONSUMER.MSG.NEXT." + from.stream + "." + from.consumer
	return r, closedOr(in.b.nc.PublishRequest(subject, r.answer, body))
}

// book finds a line for a request.
func (in *inbox) book(r *request) (*request, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, ErrClosed
	}
	in.sweep(r.asked)
	if len(in.free) == 0 {
		l := &line{name: in.prefix + strconv.Itoa(in.made) + "."}
		sub, err := in.b.nc.Subscribe(l.name+"*", func(m *nats.Msg) { in.receive(l, m) })
		if err != nil {
			return nil, err
		}
		// What may come is bounded by what is asked for; nothing must be dropped.
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return nil, err
		}
		l.sub = sub
		in.made++
		in.free = append(in.free, l)
	}
	l := in.free[len(in.free)-1]
	in.free = in.free[:len(in.free)-1]
	l.asked++
	l.request, r.line, r.answer = r, l, l.name+strconv.Itoa(l.asked)
	in.open[r] = true
	return r, nil
}

// sweep gives up requests that were not answered. Their lines are not used
// again, so that nothing is taken for what it is not.
func (in *inbox) sweep(now time.Time) {
	for r := range in.open {
		if now.Sub(r.asked) > r.wait+oweWait {
			r.over = true
			delete(in.open, r)
			_ = r.line.sub.Unsubscribe() // it fails only on a closed connection
		}
	}
}

// end notes that nothing more comes of a request.
func (in *inbox) end(r *request) {
	r.over, r.line.request = true, nil
	delete(in.open, r)
	in.free = append(in.free, r.line)
}

// receive keeps a message, or notes what a consumer says of a request.
func (in *inbox) receive(l *line, m *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r := l.request
	switch status := m.Header.Get("Status"); {
	case strings.HasPrefix(m.Reply, "$JS.ACK.") && r == nil:
		in.giveBack(&arrival{Msg: m})
	case strings.HasPrefix(m.Reply, "$JS.ACK."):
		in.keep(r, &arrival{Msg: m, from: r.from, asked: r.asked})
	case r == nil || m.Subject != r.answer || status == "100":
		return // an afterword, or a sign of life
	default: // nothing there, time over, or the consumer moved
		if r.pull != nil && status == "503" {
			r.pull.gone[r.from] = true
		}
		r.answered(m.Header.Get("Nats-Pending-Messages"))
	}
	if r != nil && r.left <= 0 {
		in.end(r)
	}
	in.tell()
}

// answered notes that a consumer will not send so many of the messages that it
// was asked for, all that are left if it does not say. The others may still
// come: a consumer with replicas sends a message once they know of it, and some
// answers, as that the batch is complete, before that.
func (r *request) answered(unsent string) {
	n, err := strconv.Atoi(unsent)
	if err != nil {
		n = r.left
	}
	r.left -= n
}

// keep hands a message to who asked, or puts it on the shelf.
func (in *inbox) keep(r *request, a *arrival) {
	r.left--
	switch {
	case r.pull != nil:
		r.pull.got = append(r.pull.got, a)
	case in.closed:
		in.giveBack(a)
	default:
		in.shelf[a.from] = append(in.shelf[a.from], a)
		time.AfterFunc(min(in.lie, in.b.AckWait()/8), func() { in.expire(a) })
	}
}

// tell wakes who waits for a change.
func (in *inbox) tell() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// expire gives a message back if it still lies on the shelf.
func (in *inbox) expire(a *arrival) {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := in.shelf[a.from]
	if i := slices.Index(list, a); i >= 0 {
		in.shelf[a.from] = slices.Delete(list, i, i+1)
		in.giveBack(a)
	}
}

// late takes up to n messages of a consumer from the shelf.
func (in *inbox) late(from source, n int) []*arrival {
	list := in.shelf[from]
	n = max(0, min(n, len(list)))
	in.shelf[from] = slices.Clone(list[n:])
	return list[:n]
}

// standing returns a request that waits at a consumer, and how long it still
// does; nil if there is none.
func (in *inbox) standing(from source) (r *request, left time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for r := range in.open {
		if left := r.wait - time.Since(r.asked); r.from == from && left > 0 {
			return r, left
		}
	}
	return nil, 0
}

// leave lets the requests of a pull stand for who comes next.
func (in *inbox) leave(p *pull) {
	for r := range in.open {
		if r.pull == p {
			r.pull = nil
		}
	}
}

// giveBack returns a message to its queue, which counts it as delivered. A suspect,
// against which that would count, leaves the queue instead: the ledger finds
// that it is not there, and hands it out in a new message.
func (in *inbox) giveBack(a *arrival) {
	how := nak(0)
	if it, err := work.DecodeItem(a.Data); err == nil && it.Subject() == a.Subject && it.Suspect {
		how = term("given back")
	}
	if err := in.b.nc.Publish(a.Reply, []byte(how)); err != nil {
		in.b.log.Warn("message will come again only after its time", "subject", a.Subject, "err", closedOr(err))
	}
}

// close gives back what lies on the shelf and what still comes, and ends the
// requests. Only what is between two servers in this moment may be lost until
// AckWait is over.
func (in *inbox) close() {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return
	}
	in.closed = true
	for _, list := range in.shelf {
		for _, a := range list {
			in.giveBack(a)
		}
	}
	clear(in.shelf)
	var subs []*nats.Subscription
	for r := range in.open {
		subs = append(subs, r.line.sub)
	}
	in.tell()
	in.mu.Unlock()
	if !in.b.nc.IsConnected() {
		return
	}
	limit := time.After(closeWait)
	for _, sub := range subs {
		_ = sub.Drain() // it fails only on a closed connection
	}
	for _, sub := range subs {
		select {
		case <-sub.StatusChanged(nats.SubscriptionClosed):
		case <-limit:
			return
		}
	}
}
