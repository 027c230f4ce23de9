package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
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
	// firstReturn and lastReturn are for stores where nobody answers.
	firstReturn = time.Second
	lastReturn  = 15 * time.Second

	// refusedLimit is how long an object waits for stores that refuse to be
	// asked before its item goes back to the queue.
	refusedLimit = time.Minute
	// longWait is what is waited for in the lounge, and never by a suspect: all
	// else would wait for it.
	longWait = 2 * time.Second
	// oneByOne is how far apart requests are let in where nothing works, until
	// one of them is served.
	oneByOne = time.Second
)

// errRefused puts an item back: a store refuses to be asked, or is not there,
// which is not its objects' fault and costs them no attempt.
var errRefused = errors.New("a store cannot be asked for now")

// A gate holds the requests to one store back after it refused to be asked: it
// wanted them to slow down, the credentials have expired, or nobody answered.
// Each refusal after a pause doubles the next one; every success shortens it.
type gate struct {
	mu     sync.Mutex
	pause  time.Duration // what was waited for last
	until  time.Time
	broken *storage.Error // why nothing at all will work: expired, unreachable or unequipped; nil: it only asked to slow down
	single bool           // until stands for one request that was let in, not for a pause
}

// rest returns how long the gate stays closed, 0 if it is open, and whether
// that is because nothing at all works.
func (g *gate) rest() (rest time.Duration, broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left(), g.broken != nil
}

// left is rest for who holds the mutex.
func (g *gate) left() time.Duration {
	if g.pause == 0 {
		return 0
	}
	return max(0, time.Until(g.until))
}

// enter is rest for who wants to go in. Where nothing works it lets one in after
// a pause, to find out for the others.
func (g *gate) enter() (rest time.Duration, broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest = g.left()
	if rest == 0 && g.broken != nil {
		g.until, g.single = time.Now().Add(oneByOne), true
	}
	return rest, g.broken != nil
}

// spread is a moment to wait besides, or all would come back at once.
func (g *gate) spread() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.single {
		return rand.N(oneByOne)
	}
	return rand.N(max(g.pause, 1))
}

// throttled notes that the store asked to slow down, perhaps for so long.
// Refusals that arrive during a pause belong to requests from before it and
// count as one.
func (g *gate) throttled(after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.single || !now.Before(g.until) {
		g.pause = min(max(2*g.pause, firstPause), lastPause)
		g.until, g.single = now.Add(g.pause), false
		if g.broken != nil && g.broken.Unreachable {
			g.broken = nil // it answers again
		}
	}
	if asked := now.Add(min(after, longestPause)); asked.After(g.until) {
		g.until = asked
	}
}

// broke notes that nothing works: the credentials have expired or are not there,
// or nobody answers.
func (g *gate) broke(err *storage.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.broken != nil && now.Before(g.until) && !g.single {
		return
	}
	if g.broken == nil || g.broken.Unreachable != err.Unreachable {
		g.pause = 0
	}
	first, last := firstRenewal, lastRenewal
	if err.Unreachable {
		first, last = firstReturn, lastReturn
	}
	g.pause = min(max(2*g.pause, first), last)
	g.until, g.broken, g.single = now.Add(g.pause), err, false
}

// equipped notes that the agent has what the store is opened with.
func (g *gate) equipped() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil && g.broken.Unequipped {
		g.pause, g.broken = 0, nil
	}
}

// fine notes that the store served a request. While nothing works that may have
// been one from before, unless it was asked again.
func (g *gate) fine() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.single {
		g.until, g.single = now, false
	}
	switch {
	case g.pause == 0:
	case g.broken != nil:
		if !now.Before(g.until) {
			g.pause, g.broken = 0, nil
		}
	default:
		if g.pause -= g.pause / 16; g.pause < firstPause/2 {
			g.pause = 0
		}
	}
}

// refusal reports whether a store refuses to be asked at all, or is not there
// to be asked.
func refusal(err error) bool {
	var e *storage.Error
	return errors.As(err, &e) && (e.Fault == work.Throttled || e.Expired || e.Unreachable || e.Unequipped)
}

// forbidden reports whether a store can be asked but will not do this.
func forbidden(err error) bool {
	return (storage.Is(err, work.Denied) || storage.Is(err, work.Unsupported)) && !refusal(err)
}

// note closes the store's gate if err is a refusal, and returns err. That a
// store is unreachable which has never been reached is no refusal: most likely
// the job names it wrongly, and must not wait for it for ever.
func (e *end) note(err error) error {
	var s *storage.Error
	switch {
	case !errors.As(err, &s):
	case s.Unreachable && !e.reached.Load():
		stranger := *s
		stranger.Unreachable = false
		return &stranger
	case e.renewed(s):
		outdated := *s
		outdated.Expired = true
		return &outdated
	case s.Expired, s.Unreachable, s.Unequipped:
		e.gate.broke(s)
	case s.Fault == work.Throttled:
		if e.throttles != nil {
			e.throttles.Inc()
		}
		e.bucket.throttled()
		e.gate.throttled(s.After)
	case s.Fault == work.Transient:
		e.failed.Store(time.Now().UnixNano())
	}
	return err
}

// shut reports whether nobody may ask the store now.
func (e *end) shut() bool {
	rest, _ := e.gate.rest()
	return rest > 0 || e.stale.Load()
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
			if e.stale.Load() {
				return errRefused
			}
			rest, broken := e.gate.enter()
			if rest == 0 {
				break
			}
			rest += e.gate.spread()
			now := time.Now()
			t.since.CompareAndSwap(0, now.UnixNano())
			if now.Add(rest).Sub(time.Unix(0, t.since.Load())) > c.patience(f) {
				return errRefused
			}
			if err := c.waitFor(ctx, f, rest, broken); err != nil {
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
		began := time.Now()
		err := judge(ctx, f, ends, began, fn())
		if !refusal(err) || ctx.Err() != nil {
			return err
		}
		if !slices.ContainsFunc(ends, (*end).shut) { // nobody noted it, or it was long ago
			if err = ends[len(ends)-1].note(err); !refusal(err) {
				return err
			}
		}
	}
}

// A lounge is where streams wait for stores where nothing works, and for those
// that want to be left alone for long. Where there is none, none wait.
type lounge struct {
	seats   int64 // not all streams, so that the agent can go on with other stores
	taken   atomic.Int64
	refused time.Duration // see refusedLimit, which it is unless it is set
}

func (l *lounge) patience(f *flight) time.Duration {
	switch {
	case f.alone():
		return longWait
	case l != nil && l.refused > 0:
		return l.refused
	}
	return refusedLimit
}

func (l *lounge) waitFor(ctx context.Context, f *flight, d time.Duration, broken bool) error {
	return l.await(ctx, f, d, broken || d > longWait, nil)
}

// await waits for d, or until there are news. It returns errRefused if the item
// is to be put down or the agent to stop, and if it should sit down meanwhile
// and there is no seat.
func (l *lounge) await(ctx context.Context, f *flight, d time.Duration, sit bool, news <-chan struct{}) error {
	if sit {
		if l == nil || f.alone() {
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
		case <-news:
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

// alone reports whether the flight's item is a suspect, beside which the agent
// takes nothing.
func (f *flight) alone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.item != nil && f.item.item.Suspect
}

// refused has the item given back if err says that a store refuses to be
// asked.
func (h *held) refused(err error) bool {
	if !errors.Is(err, errRefused) {
		return false
	}
	if errors.Is(err, errNoShare) {
		h.stop(errNoShare)
	}
	h.stop(errRefused)
	return true
}

// away reports whether one of the stores refuses to be asked for longer than a
// suspect waits.
func (p pair) away() bool {
	for _, e := range []*end{p.src, p.dst} {
		if e == nil {
			continue
		}
		if rest, broken := e.gate.rest(); rest > longWait || rest > 0 && broken {
			return true
		}
	}
	return false
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
