package bus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxPullBytes = 32 << 20        // in one answer, so that memory is bounded and the client never drops
	pullWait     = 5 * time.Second // for messages; a request that the server forgot costs no more
	answerWait   = 2 * time.Second // for a request that the server answers at once
)

// A pull asks consumers for messages, so that what several of them send is
// counted in one place. It belongs to one goroutine.
//
// The client library's own Fetch cannot do that: to give up waiting at one
// consumer it drops what is on its way, which then is nobody's until AckWait
// is over. See inbox, whose lock guards what was got and what is gone until the
// pull is closed.
type pull struct {
	in    *inbox
	open  []*request // that owe an answer
	got   []*arrival
	gone  map[source]bool // consumers that were asked and do not exist
	empty map[source]bool // consumers that had less than was asked of them at once
}

// A source is a consumer of a stream.
type source struct{ stream, consumer string }

// A pullRequest is what a consumer is asked; the names are the server's.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes"`
	NoWait   bool          `json:"no_wait,omitempty"` // send what is there; with Expires: or wait for the first
	Expires  time.Duration `json:"expires,omitempty"`
}

func (b *Bus) newPull() *pull {
	return &pull{in: b.inbox, gone: map[source]bool{}, empty: map[source]bool{}}
}

// ask requests up to batch messages of a consumer: those that are there, or
// else what comes first within wait.
func (p *pull) ask(from source, batch int, wait time.Duration) error {
	r, err := p.in.ask(p, from, batch, wait)
	if err == nil {
		p.open = append(p.open, r)
	}
	return err
}

// late takes up to n messages that consumers have sent to earlier pulls, when
// nobody waited for them any more.
func (p *pull) late(n int, from ...source) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.reach(n, from)
}

// reach is late for who holds the lock.
func (p *pull) reach(n int, from []source) {
	for _, f := range from {
		p.got = append(p.got, p.in.late(f, n-len(p.got))...)
	}
}

// count returns how many messages have come.
func (p *pull) count() int {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return len(p.got)
}

// lost reports whether a consumer was asked and does not exist.
func (p *pull) lost(from source) bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.gone[from]
}

// gather receives until every request was answered. It gives up after wait.
func (p *pull) gather(ctx context.Context, wait time.Duration) error {
	return p.await(ctx, wait, func() bool {
		p.open = slices.DeleteFunc(p.open, func(r *request) bool { return r.over })
		return len(p.open) == 0
	})
}

// first waits for the first message of any of some consumers, and takes up to n
// that come at once. It asks each for one, or joins a request of an earlier
// pull that still stands there; when one of those ends it returns.
func (p *pull) first(ctx context.Context, n int, from []source, wait time.Duration) error {
	var joined []*request
	for _, f := range from {
		r, left := p.in.standing(f)
		if r != nil {
			joined, wait = append(joined, r), min(wait, left)
		} else if err := p.ask(f, 1, wait); err != nil {
			return err
		}
	}
	over := func(r *request) bool { return r.over }
	return p.await(ctx, wait, func() bool {
		p.reach(n, from)
		return len(p.got) > 0 || slices.ContainsFunc(joined, over) ||
			len(joined) == 0 && !slices.ContainsFunc(p.open, func(r *request) bool { return !r.over })
	})
}

// await waits until what comes has made done true. It gives up after wait.
func (p *pull) await(ctx context.Context, wait time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		p.in.mu.Lock()
		ready, changed, closed := done(), p.in.changed, p.in.closed
		p.in.mu.Unlock()
		switch {
		case ready:
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil // the caller knows its own context
		}
	}
}

// forget stops waiting for answers. They may still come.
func (p *pull) forget() { p.open = nil }

// close ends the pull and returns all messages. Every one of them is now the
// caller's to settle. What comes later is for who asks next.
func (p *pull) close() []*arrival {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.leave(p)
	return p.got
}

// closedOr names the error of a Bus that was closed.
func closedOr(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
		return ErrClosed
	}
	return err
}
