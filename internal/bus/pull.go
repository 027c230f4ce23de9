package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxPullBytes = 32 << 20        // in one answer, so that memory is bounded and the client never drops
	pullWait     = 5 * time.Second // for messages; a request that the server forgot costs no more
	answerWait   = 2 * time.Second // for a request that the server answers at once
)

// A pull asks consumers for messages under one subscription, so that what
// several of them send is counted in one place and nothing that was sent is
// lost when it ends. It belongs to one goroutine.
//
// The client library's own Fetch cannot do that: to give up waiting at one
// consumer it drops what is on its way, which then is nobody's until AckWait
// is over.
type pull struct {
	b     *Bus
	inbox string
	sub   *nats.Subscription
	open  map[source]int // consumers that owe an answer, and messages still asked of them
	owed  bool           // an answer was not waited for
	got   []*nats.Msg
	gone  map[source]bool // consumers that were asked and do not exist
	empty map[source]bool // consumers that had less than was asked of them at once
}

// A source is a consumer of a stream.
type source struct{ stream, consumer string }

// token is how a source is called in the subject of its answers.
func (s source) token() string { return s.stream + "-" + s.consumer }

// A pullRequest is what a consumer is asked; the names are the server's.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes"`
	NoWait   bool          `json:"no_wait,omitempty"` // send what is there; with Expires: or wait for the first
	Expires  time.Duration `json:"expires,omitempty"`
}

func (b *Bus) newPull() (*pull, error) {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox + ".*")
	if err != nil {
		return nil, closedOr(err)
	}
	return &pull{b: b, inbox: inbox, sub: sub, open: map[source]int{}, gone: map[source]bool{}, empty: map[source]bool{}}, nil
}

// ask requests up to batch messages of a consumer: those that are there, or
// else what comes first within wait.
func (p *pull) ask(from source, batch int, wait time.Duration) error {
	body, err := json.Marshal(pullRequest{Batch: batch, MaxBytes: maxPullBytes, NoWait: true, Expires: wait})
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	p.open[from] = batch
	subject := p.b.api + "CONSUMER.MSG.NEXT." + from.stream + "." + from.consumer
	return closedOr(p.b.nc.PublishRequest(subject, p.inbox+"."+from.token(), body))
}

// gather receives until every request was answered, or, if first is set, until
// something came. It gives up after wait.
func (p *pull) gather(ctx context.Context, wait time.Duration, first bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for len(p.open) > 0 && (!first || len(p.got) == 0) {
		m, err := p.sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			return nil // the caller knows its own context
		case errors.Is(err, nats.ErrNoResponders):
			p.lost()
			continue
		case errors.Is(err, nats.ErrSlowConsumer):
			continue // what was dropped is delivered again
		case err != nil:
			return closedOr(err)
		}
		p.take(m)
	}
	return nil
}

// take keeps a message, or notes what a consumer says of a request.
func (p *pull) take(m *nats.Msg) {
	if strings.HasPrefix(m.Reply, "$JS.ACK.") {
		p.got = append(p.got, m)
		if meta, err := m.Metadata(); err == nil {
			p.answered(source{meta.Stream, meta.Consumer}, 1)
		}
		return
	}
	if m.Header.Get("Status") == "100" {
		return // that is only a sign of life
	}
	answer := strings.TrimPrefix(m.Subject, p.inbox+".")
	for from := range p.open {
		if from.token() == answer {
			delete(p.open, from) // nothing there, time over, or the consumer moved
		}
	}
}

// lost notes that nobody answers to a request. The library does not say to
// which, so all that are open are given up; mostly that is one. If any of them
// are of the queue that need not be there, it is these.
func (p *pull) lost() {
	optional := false
	for from := range p.open {
		optional = optional || from.stream == anyStream
	}
	for from := range p.open {
		if !optional || from.stream == anyStream {
			p.gone[from] = true
		}
	}
	p.forget()
}

func (p *pull) answered(from source, n int) {
	left, ok := p.open[from]
	if !ok {
		return
	}
	if left <= n {
		delete(p.open, from)
		return
	}
	p.open[from] = left - n
}

// forget stops waiting for answers. They may still come.
func (p *pull) forget() {
	p.owed = p.owed || len(p.open) > 0
	clear(p.open)
}

// close withdraws the requests, receives what was sent before that reached the
// server, and returns all messages. Every one of them is now the caller's to
// settle.
func (p *pull) close() []*nats.Msg {
	if len(p.open) == 0 && !p.owed {
		_ = p.sub.Unsubscribe() // it fails only on a closed connection
		return p.got
	}
	if err := p.sub.Drain(); err != nil {
		return p.got // the connection is closed, and with it everything
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	for {
		m, err := p.sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrSlowConsumer) || errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		if err != nil {
			break // drained, or the server does not answer
		}
		p.take(m)
	}
	_ = p.sub.Unsubscribe() // it fails only if that is so already
	return p.got
}

// closedOr names the error of a Bus that was closed.
func closedOr(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
		return ErrClosed
	}
	return err
}
