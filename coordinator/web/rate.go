package web

import (
	"context"
	"math"
	"sync"
	"time"

	xrate "golang.org/x/time/rate"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// How much may be asked for.
const (
	requestRate  xrate.Limit = 50 // a second, by each token
	requestBurst             = 200
	failureRate  xrate.Limit = 1 // a second, of secrets that are none, from each address
	failureBurst             = 10
	maxLimiters              = 10_000
	streamsOfOne             = 20 // live streams of a token at once
	maxStrangers             = 4  // who ask the ledger at once
)

// limiters hold one limiter for each key that asks. There are never more than
// maxLimiters: those of whom nothing was heard for long go first.
type limiters[K comparable] struct {
	limit xrate.Limit
	burst int

	mu sync.Mutex
	of map[K]*xrate.Limiter
}

func newLimiters[K comparable](limit xrate.Limit, burst int) *limiters[K] {
	return &limiters[K]{limit: limit, burst: burst, of: make(map[K]*xrate.Limiter)}
}

// take counts one, or says when to come again.
func (l *limiters[K]) take(key K) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.get(key).Allow() {
		return nil
	}
	return l.refusal(key)
}

// get needs the lock, and so do the others below.
func (l *limiters[K]) get(key K) *xrate.Limiter {
	lim, ok := l.of[key]
	if !ok {
		if len(l.of) >= maxLimiters {
			l.tidy()
		}
		lim = xrate.NewLimiter(l.limit, l.burst)
		l.of[key] = lim
	}
	return lim
}

// tidy makes room.
func (l *limiters[K]) tidy() {
	for key, lim := range l.of {
		if lim.Tokens() >= float64(l.burst) {
			delete(l.of, key)
		}
	}
	for key := range l.of { // all of them are busy: better some forgotten than all refused
		if len(l.of) <= maxLimiters/2 {
			return
		}
		delete(l.of, key)
	}
}

func (l *limiters[K]) refusal(key K) error {
	p := api.NewProblem(api.TooManyRequests, "")
	missing := (1 - l.of[key].Tokens()) / float64(l.limit)
	p.RetryAfter = max(time.Second, time.Duration(math.Ceil(missing))*time.Second)
	return p
}

// turns bound how many do something at once. Who comes while all are taken waits
// in line: guesses delay who is right for a moment, and do not load the ledger.
type turns chan struct{}

// ask waits for a turn and asks, unless ctx ends first.
func (t turns) ask(ctx context.Context, do func() error) error {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-t }()
	return do()
}

// atOnce asks without waiting for a turn.
func atOnce(_ context.Context, do func() error) error { return do() }

// places are those of live streams, by token.
type places struct {
	most int

	mu    sync.Mutex
	taken map[work.TokenID]int
}

// take takes a place, unless too many are taken, and returns what gives it back.
func (p *places) take(id work.TokenID) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != 0 && p.taken[id] >= p.most {
		return nil, false
	}
	if p.taken == nil {
		p.taken = make(map[work.TokenID]int)
	}
	p.taken[id]++
	return func() { p.leave(id) }, true
}

func (p *places) leave(id work.TokenID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[id]--; p.taken[id] <= 0 {
		delete(p.taken, id)
	}
}
