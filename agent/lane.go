package agent

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A lane is the way between two buckets. It bounds how many streams are on it
// at once: as many as its tuner finds good.
type lane struct {
	source, target *bucket

	worth atomic.Int64 // moved, of all time: see objectWorth
	bytes atomic.Int64 // moved, of all time
	of    *lanes

	mu    sync.Mutex // guards the next four
	limit int
	used  int
	met   bool // the limit was, since it was looked last
	shown work.Tuning

	// The rest is guarded by the mutex of lanes.
	tuner     *tuner
	lastWorth int64
	lastBytes int64
	throttles int64
	seen      time.Time // when it was last in use
}

// A bucket is what is known of all stores in one.
type bucket struct {
	name      string
	throttles atomic.Int64 // how often it asked to slow down
}

// throttled counts a refusal. A nil bucket counts none.
func (b *bucket) throttled() {
	if b != nil {
		b.throttles.Add(1)
	}
}

// tryEnter takes a place on the lane if there is one. A nil lane has room for
// all.
func (l *lane) tryEnter() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full() {
		l.met = true
		return false
	}
	l.used++
	l.of.busy.Add(1)
	return true
}

// full reports whether nobody may enter. The mutex is held.
func (l *lane) full() bool {
	return l.used >= l.limit || l.used > 0 && l.of.busy.Load() >= int64(l.of.most)
}

// room reports whether there is a place.
func (l *lane) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full()
}

func (l *lane) leave() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.used--
	l.of.busy.Add(-1)
	l.mu.Unlock()
	notify(l.of.freed)
}

// moved counts bytes that have passed.
func (l *lane) moved(n int64) {
	l.bytes.Add(n)
	l.worth.Add(n)
}

// lanes are those of an agent.
type lanes struct {
	fixed int           // see newTuner
	most  int           // streams for all lanes together, but for the first on each
	busy  atomic.Int64  // streams that are on one
	freed chan struct{} // says that there is room on one of them; holds one

	mu      sync.Mutex
	all     map[[2]string]*lane
	buckets map[string]*bucket
}

func newLanes(streams int, memory int64) *lanes {
	most := streams
	if most == 0 {
		most = mostStreams(memory)
	}
	return &lanes{fixed: streams, most: most, freed: make(chan struct{}, 1), all: map[[2]string]*lane{}, buckets: map[string]*bucket{}}
}

// pool returns how many streams there must be, so that the first on a lane, and
// a listing, need not wait for others.
func (s *lanes) pool() int { return s.most + max(1, s.most/8) }

// bucket returns what is known of a bucket.
func (s *lanes) bucket(name string) *bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		b = &bucket{name: name}
		s.buckets[name] = b
	}
	return b
}

// between returns the lane between two buckets.
func (s *lanes) between(source, target *bucket) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{source.name, target.name}
	l := s.all[key]
	if l == nil {
		l = &lane{source: source, target: target, of: s, tuner: newTuner(s.fixed, s.most), seen: time.Now()}
		l.limit = l.tuner.limit
		l.throttles = source.throttles.Load() + target.throttles.Load()
		l.shown = l.show(0)
		s.all[key] = l
	}
	l.seen = time.Now() // or one that an item is about to use could be forgotten
	return l
}

// streams returns how many streams may be busy at once: those of all lanes that
// are in use, or those of one that would begin.
func (s *lanes) streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.all {
		l.mu.Lock()
		if l.used > 0 {
			n += l.limit
		}
		l.mu.Unlock()
	}
	if n == 0 {
		n = newTuner(s.fixed, s.most).limit
	}
	return n
}

// tuning tells of all lanes that were in use lately.
func (s *lanes) tuning() []work.Tuning {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []work.Tuning
	for _, l := range s.all {
		l.mu.Lock()
		all = append(all, l.shown)
		l.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b work.Tuning) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
	return all
}

// forgetLane is how long a lane must have been idle to be forgotten.
const forgetLane = 10 * time.Minute

// tune finds the numbers of streams until ctx ends.
func (s *lanes) tune(ctx context.Context) {
	tick := time.NewTicker(tuneEvery)
	defer tick.Stop()
	at := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.turn(now, now.Sub(at))
			at = now
		}
	}
}

// turn lets every lane take its turn after some time has passed.
func (s *lanes) turn(now time.Time, passed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, l := range s.all {
		if l.turn(now, passed); now.Sub(l.seen) > forgetLane {
			delete(s.all, key)
		}
	}
}

// turn has the tuner judge what happened on the lane since its last turn.
func (l *lane) turn(now time.Time, passed time.Duration) {
	worth, bytes := l.worth.Load(), l.bytes.Load()
	throttles := l.source.throttles.Load() + l.target.throttles.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used > 0 || worth != l.lastWorth {
		l.seen = now
	}
	before := l.limit
	l.tuner.turn(turnout{
		worth:     float64(worth-l.lastWorth) / passed.Seconds(),
		throttles: throttles - l.throttles,
		full:      l.met || l.used >= l.limit,
	})
	l.limit = l.tuner.limit
	l.shown = l.show(float64(bytes-l.lastBytes) / passed.Seconds())
	l.lastWorth, l.lastBytes, l.throttles, l.met = worth, bytes, throttles, false
	if l.limit > before {
		notify(l.of.freed)
	}
}

func (l *lane) show(rate float64) work.Tuning {
	return work.Tuning{Source: l.source.name, Target: l.target.name, Streams: l.tuner.limit, Rate: rate, Why: l.tuner.why, Fixed: l.tuner.fixed}
}

// travels reports whether the item's tasks need a place on its lane each. A
// listing does not: it would hold the place for long and moves next to nothing.
func (h *held) travels() bool { return h.pair.lane != nil && h.item.Kind != work.Scan }

// enter takes a place for one more task of the item, if there is room for it.
func (h *held) enter() bool { return !h.travels() || h.pair.lane.tryEnter() }

// leave gives the place of a task back.
func (h *held) leave() {
	if h.travels() {
		h.pair.lane.leave()
	}
}
