package agent

import (
	"context"
	random "crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/tranship/tranship/internal/work"
)

const (
	// shareSoon is how long it takes at most until an agent has a share that it
	// asks for: so long any stream waits for it.
	shareSoon = 5 * time.Second
	// shareWait is how long those wait that find a seat in the lounge, before their
	// items are given back.
	shareWait = 12 * time.Second
	// stampsKept is how many answers an allotment may count from.
	stampsKept = 16
	// pressed is what part of the time a stream must have waited for its share
	// for the agent to ask for a larger one.
	pressed = 10
)

// errNoShare gives an item back because a limit bounds it of which the agent has
// no share.
var errNoShare = fmt.Errorf("%w: it has no share of a limit", errRefused)

// limits are what the agent may use of the limits of the fleet. What bounds
// nothing costs next to nothing: see bounds.
type limits struct {
	life string // of this process, so that it knows its own stamps
	site string
	soon time.Duration // see shareSoon
	wait time.Duration // see shareWait

	lounge *lounge

	mu      sync.Mutex
	seq     int64
	from    time.Time // when the time of the allotment began
	lasts   time.Duration
	shares  map[work.LimitID]*allowance
	stamps  [stampsKept]time.Time
	answers int
	said    time.Time     // of the last answer
	news    chan struct{} // closed when an allotment comes
	starved time.Time     // when something last waited because the time was over

	version atomic.Uint64 // changes with the limits that there are shares of
}

// An allowance is the agent's share of one limit.
type allowance struct {
	work.Share // guarded by the mutex of limits
	bytes      cistern
	requests   cistern
	grew       bell // when what waits for it need not wait so long any more
}

// A cistern holds what may be used of one thing, and counts what is.
type cistern struct {
	atomic.Pointer[rate.Limiter]
	used   atomic.Int64
	waited atomic.Int64 // nanoseconds, of all streams
}

func newLimits(site string, l *lounge) *limits {
	return &limits{life: random.Text(), site: site, soon: shareSoon, wait: shareWait, lounge: l, said: time.Now(),
		shares: map[work.LimitID]*allowance{}, news: make(chan struct{})}
}

// take puts an allotment in the place of the one before, unless that is newer or
// its time is over already, and answers it.
func (l *limits) take(a work.Allotment) work.Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from, ok := l.answered(a.Since); ok && a.Seq > l.seq && !past(from, a.For) {
		l.seq, l.from, l.lasts = a.Seq, from, a.For
		l.replace(a.Shares)
		close(l.news)
		l.news = make(chan struct{})
	}
	return work.Taken{Seq: l.seq, Stamp: l.stamp(), Uses: l.uses()}
}

// stamp names the present moment.
func (l *limits) stamp() string {
	l.answers++
	l.stamps[l.answers%stampsKept] = time.Now()
	return l.life + "." + strconv.Itoa(l.answers)
}

// answered returns when a stamp was given, false if that is forgotten.
func (l *limits) answered(stamp string) (time.Time, bool) {
	life, n, _ := strings.Cut(stamp, ".")
	i, err := strconv.Atoi(n)
	if err != nil || life != l.life || i > l.answers || i <= l.answers-stampsKept {
		return time.Time{}, false
	}
	return l.stamps[i%stampsKept], true
}

// past reports whether a time that began then is over. A process that was
// stopped finds out by the monotonic clock, a machine that was by the other.
func past(from time.Time, lasts time.Duration) bool {
	now := time.Now()
	return now.Sub(from) >= lasts || now.Round(0).Sub(from.Round(0)) >= lasts
}

// over reports whether the allotment's time is, or there was none. The mutex is
// held.
func (l *limits) over() bool { return l.seq == 0 || past(l.from, l.lasts) }

func (l *limits) replace(shares []work.Share) {
	known := map[work.LimitID]*allowance{}
	for _, s := range shares {
		a := l.shares[s.Limit]
		if a == nil || a.Scope != s.Scope || a.Name != s.Name {
			a = &allowance{grew: bell{c: make(chan struct{})}}
			l.version.Add(1)
		}
		much := s.Bytes > 2*a.Bytes || s.Requests > 2*a.Requests
		a.Share = s
		a.bytes.set(float64(s.Bytes), int(min(max(s.Bytes/pieces, leastPiece), mostPiece)))
		a.requests.set(s.Requests, 1)
		if much {
			a.grew.now()
		}
		known[s.Limit] = a
	}
	for id, a := range l.shares {
		if known[id] != a {
			a.bytes.Load().SetLimit(rate.Inf)
			a.requests.Load().SetLimit(rate.Inf)
			a.grew.now()
			l.version.Add(1)
		}
	}
	l.shares = known
}

// A bell wakes all who wait for it.
type bell struct {
	mu sync.Mutex
	c  chan struct{}
}

func (b *bell) get() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.c
}

func (b *bell) now() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.c)
	b.c = make(chan struct{})
}

// set makes the cistern fill at so much a second, and hold a quarter of a second
// of that, or what is taken at once. One that is to fill much more slowly begins
// anew, and empty: what was taken in advance would keep it so for long.
func (b *cistern) set(per float64, atOnce int) {
	burst := max(int(per/4), atOnce)
	l := b.Load()
	if l == nil || rate.Limit(2*per) < l.Limit() {
		l = rate.NewLimiter(rate.Limit(per), burst)
		l.AllowN(time.Now(), burst)
		b.Store(l)
	}
	l.SetLimit(rate.Limit(per))
	l.SetBurst(burst)
}

// Bytes pass in pieces, small enough that all streams get on while they share
// little.
const (
	pieces     = 64 // a second
	leastPiece = 1 << 10
	mostPiece  = 64 << 10
)

// uses says what was used since the answer before. The mutex is held.
func (l *limits) uses() []work.Use {
	now := time.Now()
	span := max(now.Sub(l.said), time.Millisecond)
	l.said = now
	uses := make([]work.Use, 0, len(l.shares))
	for id, a := range l.shares {
		more := func(b *cistern) bool { return time.Duration(b.waited.Swap(0)) > span/pressed }
		uses = append(uses, work.Use{
			Limit:     id,
			Bytes:     int64(float64(a.bytes.used.Swap(0)) / span.Seconds()),
			Requests:  float64(a.requests.used.Swap(0)) / span.Seconds(),
			MoreBytes: more(&a.bytes), MoreRequests: more(&a.requests),
		})
	}
	slices.SortFunc(uses, func(a, b work.Use) int { return int(a.Limit - b.Limit) })
	return uses
}

// open waits until the agent may use its share of a limit; a is nil for who only
// must know which limits there are.
func (l *limits) open(ctx context.Context, f *flight, a *allowance, b *cistern) error {
	began := time.Now()
	for {
		news, open := l.isOpen(a)
		if open {
			return nil
		}
		seated := time.Since(began) >= l.soon
		left := l.soon
		if seated {
			left = l.wait
		}
		if left -= time.Since(began); left <= 0 {
			return errNoShare
		}
		since := time.Now()
		err := l.lounge.await(ctx, f, left, seated, news)
		if b != nil {
			b.waited.Add(int64(time.Since(since)))
		}
		if errors.Is(err, errRefused) {
			return errNoShare
		}
		if err != nil {
			return err
		}
	}
}

// isOpen reports whether the agent may use anything of its share, or, of none,
// whether it knows which limits there are. news is closed when that may change.
func (l *limits) isOpen(a *allowance) (news <-chan struct{}, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a != nil && l.shares[a.Limit] != a {
		return nil, true // there is no such limit any more
	}
	if l.over() {
		l.starved = time.Now()
		return l.news, false
	}
	return l.news, a == nil || !a.Stop
}

// trouble says why what is limited does not move, "" if nothing wanted to lately.
func (l *limits) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over() || l.starved.IsZero() || time.Since(l.starved) > staleTrouble {
		return ""
	}
	return "what limits bound waits: no coordinator says how much of them this agent may use; is one running, and does it reach Postgres and NATS?"
}
