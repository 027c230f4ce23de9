package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// The pauses of a gate.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	// longestPause bounds what a store may ask for.
	longestPause = 5 * time.Minute
	// firstRenewal and lastRenewal are for credentials that have expired.
	firstRenewal = 5 * time.Second
	lastRenewal  = time.Minute
	// staleTrouble is how long after its last request a store is still said to
	// be in trouble: perhaps nobody asks it any more.
	staleTrouble = 5 * time.Minute

	// refusedLimit is how long an object waits for stores that refuse to be
	// asked before its item goes back to the queue.
	refusedLimit = time.Minute
)

// errRefused puts an item back: a store refuses to be asked, which is not its
// objects' fault and costs them no attempt.
var errRefused = errors.New("a store refuses to be asked for now")

// A gate holds the requests to one store back after it refused to be asked: it
// wanted them to slow down, or the credentials have expired. Each refusal after
// a pause doubles the next one; every success shortens it.
type gate struct {
	mu    sync.Mutex
	pause time.Duration // what was waited for last
	until time.Time
	lapse error // that the credentials have expired, as the store said it
}

// rest returns how long the gate stays closed, 0 if it is open, and whether
// that is because the credentials have expired.
func (g *gate) rest() (rest time.Duration, lapsed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause == 0 {
		return 0, false
	}
	return max(0, time.Until(g.until)), g.lapse != nil
}

// spread is a moment to wait besides, or all would come back at once.
func (g *gate) spread() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return rand.N(max(g.pause, 1))
}

// throttled notes that the store asked to slow down, perhaps for so long.
// Refusals that arrive during a pause belong to requests from before it and
// count as one.
func (g *gate) throttled(after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !now.Before(g.until) {
		g.pause = min(max(2*g.pause, firstPause), lastPause)
		g.until = now.Add(g.pause)
	}
	if asked := now.Add(min(after, longestPause)); asked.After(g.until) {
		g.until = asked
	}
}

// lapsed notes that the credentials have expired.
func (g *gate) lapsed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.lapse != nil && now.Before(g.until) {
		return
	}
	if g.lapse == nil {
		g.pause = 0
	}
	g.pause = min(max(2*g.pause, firstRenewal), lastRenewal)
	g.until, g.lapse = now.Add(g.pause), err
}

// fine notes that the store served a request. While the credentials have
// expired that may have been one from before, unless it was asked again.
func (g *gate) fine() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.pause == 0:
	case g.lapse != nil:
		if !time.Now().Before(g.until) {
			g.pause, g.lapse = 0, nil
		}
	default:
		if g.pause -= g.pause / 16; g.pause < firstPause/2 {
			g.pause = 0
		}
	}
}

// trouble returns why nothing can be done with the store until somebody does
// something about it, nil if that is not so.
func (g *gate) trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.until) > staleTrouble {
		return nil
	}
	return g.lapse
}

// refusal reports whether a store refuses to be asked at all.
func refusal(err error) bool {
	var e *storage.Error
	return errors.As(err, &e) && (e.Fault == work.Throttled || e.Expired)
}

// forbidden reports whether a store can be asked but will not do this.
func forbidden(err error) bool {
	return (storage.Is(err, work.Denied) || storage.Is(err, work.Unsupported)) && !refusal(err)
}

// note closes the store's gate if err is a refusal, and returns err.
func (e *end) note(err error) error {
	var s *storage.Error
	switch {
	case !errors.As(err, &s):
	case s.Expired:
		e.gate.lapsed(s)
	case s.Fault == work.Throttled:
		if e.throttles != nil {
			e.throttles.Inc()
		}
		e.gate.throttled(s.After)
	}
	return err
}

func (e *end) shut() bool {
	rest, _ := e.gate.rest()
	return rest > 0
}

// A turn is the patience of one object or listing with stores that refuse.
type turn struct {
	since atomic.Int64 // when it began to wait, in nanoseconds of Unix time; 0: it was served
}

// served notes that what waits has got on.
func (t *turn) served() { t.since.Store(0) }

// wait returns when the stores may be asked. It returns errRefused when that
// would take too long, and when the item is to be put down or the agent to
// stop; after that the item can only go back to the queue.
func (t *turn) wait(ctx context.Context, c *carrier, f *flight, ends ...*end) error {
	for _, e := range ends {
		for {
			rest, lapsed := e.gate.rest()
			if rest == 0 {
				break
			}
			rest += e.gate.spread()
			now := time.Now()
			t.since.CompareAndSwap(0, now.UnixNano())
			if now.Add(rest).Sub(time.Unix(0, t.since.Load())) > c.patience() {
				return errRefused
			}
			if err := c.waitFor(ctx, f, rest, lapsed); err != nil {
				return err
			}
		}
	}
	return nil
}

// insist calls fn when the stores may be asked, and again for as long as makes
// sense while they refuse.
func (t *turn) insist(ctx context.Context, c *carrier, f *flight, ends []*end, fn func() error) error {
	for {
		if err := t.wait(ctx, c, f, ends...); err != nil {
			return err
		}
		err := fn()
		if !refusal(err) || ctx.Err() != nil {
			return err
		}
		if !slices.ContainsFunc(ends, (*end).shut) { // nobody noted it, or it was long ago
			_ = ends[len(ends)-1].note(err)
		}
	}
}

// A lounge is where streams wait for credentials to be renewed. Where there is
// none, none wait.
type lounge struct {
	seats   int64 // not all streams, so that the agent can go on with other stores
	taken   atomic.Int64
	refused time.Duration // see refusedLimit, which it is unless it is set
}

func (l *lounge) patience() time.Duration {
	if l != nil && l.refused > 0 {
		return l.refused
	}
	return refusedLimit
}

func (l *lounge) waitFor(ctx context.Context, f *flight, d time.Duration, lapsed bool) error {
	if lapsed {
		if l == nil {
			return errRefused
		}
		defer l.taken.Add(-1)
		if l.taken.Add(1) > l.seats {
			return errRefused
		}
	}
	stopping, draining := f.quits()
	timer := time.NewTimer(d)
	defer timer.Stop()
	return f.patiently(func() error {
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stopping:
		case <-draining:
		}
		return errRefused
	})
}

// quits returns what ends when no more of the flight's item may be begun, and
// when the agent takes nothing more.
func (f *flight) quits() (stopping, draining <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.item == nil {
		return nil, nil
	}
	return f.item.starting.Done(), f.item.taking.Done()
}

// refused has the item given back if err says that a store refuses to be
// asked.
func (h *held) refused(err error) bool {
	if !errors.Is(err, errRefused) {
		return false
	}
	h.stop(errRefused)
	return true
}

// closedFor returns how long the item's stores refuse to be asked.
func (p pair) closedFor() time.Duration {
	var longest time.Duration
	for _, e := range []*end{p.src, p.dst} {
		if e != nil {
			rest, _ := e.gate.rest()
			longest = max(longest, rest)
		}
	}
	return longest
}

// bucketOf shortens a store's URL to its bucket, so that there are few.
func bucketOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "unknown"
	}
	return u.Scheme + "://" + u.Host
}

// gates tells of every store that is open whether it refuses to be asked, by
// bucket.
func (s *stores) gates() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := map[string]bool{}
	for raw, e := range s.open {
		closed[bucketOf(raw)] = closed[bucketOf(raw)] || e.shut()
	}
	return closed
}

// trouble says what keeps the agent from working, "" if nothing does.
func (s *stores) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	for raw, e := range s.open {
		if err := e.gate.trouble(); err != nil {
			found[bucketOf(raw)] = fmt.Sprintf("the credentials for %s have expired; renew them: %s", bucketOf(raw), textOf(err))
		}
	}
	var all []string
	for _, text := range found {
		all = append(all, text)
	}
	slices.Sort(all)
	return work.Clip(strings.Join(all, "; "))
}
