package agent

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// How long a stream may go without a sign of life, beside config.Agent.Stall.
// Stores have limits of their own, which should be the first to act; this is
// what keeps an agent from holding an item for ever whatever a store does.
const (
	// leastProgress is how many bytes must pass in the time that a stream may
	// stall. Fewer are a drip, which would hold the stream for days.
	leastProgress = 16 << 10
	// stallPatience is for what takes its time without moving bytes: a store
	// that puts parts together or copies by itself, and waiting for one's turn.
	stallPatience = 30 * time.Minute
	// slowestCopy is how many bytes a second a store copies by itself at least.
	// It shows no sign of life meanwhile.
	slowestCopy = 32 << 20
)

// errStalled ends what a stream does when it shows no sign of life.
var errStalled = errors.New("next to no byte moved for too long (see agent.stall)")

// A flight is what one stream does now.
type flight struct {
	bytes   atomic.Int64 // that passed, of the present object
	total   *atomic.Int64
	beats   atomic.Int64         // changes with every sign of life but bytes
	moves   atomic.Int64         // grows with every sign of life but the end of a wait
	from    atomic.Int64         // moves at the begin
	patient atomic.Int32         // more than 0: what it waits for may take its time
	copying atomic.Int64         // bytes that a store copies by itself
	seen    atomic.Int64         // bytes that passed or were looked at, of all objects
	lane    atomic.Pointer[lane] // of its item; nil: none

	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil: the stream is idle
	item   *held                   // it works for

	// What was found at the last sign of life is owned by watch.
	beat, mark int64 // beats, seen
	since      time.Time

	// moved is what moves was when the loop that beats last asked.
	moved int64
}

// begin starts something new for an item. The returned context ends when the
// item must be put down, and when there is no sign of life for too long.
func (f *flight) begin(h *held) context.Context {
	f.bytes.Store(0)
	f.beats.Add(1)
	f.patient.Store(0)
	f.copying.Store(0)
	f.from.Store(f.moves.Load())
	f.lane.Store(h.pair.lane)
	ctx, cancel := context.WithCancelCause(context.WithValue(h.moving, flightKey{}, f))
	f.mu.Lock()
	f.cancel, f.item = cancel, h
	f.mu.Unlock()
	return ctx
}

// end returns how many bytes passed since begin.
func (f *flight) end() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel(nil)
	f.cancel, f.item = nil, nil
	return f.bytes.Load()
}

// passed counts bytes of bodies that are moved.
func (f *flight) passed(n int64) {
	f.bytes.Add(n)
	f.total.Add(n)
	if l := f.lane.Load(); l != nil {
		l.moved(n)
	}
	f.looked(n)
}

// looked counts bytes of bodies that are only looked at.
func (f *flight) looked(n int64) {
	f.seen.Add(n)
	f.moves.Add(1)
}

// A paced body is in memory, and shows on its way that it goes on.
type paced struct {
	*bytes.Reader
	flight *flight
}

// Read implements io.Reader.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.flight.looked(int64(n))
	return n, err
}

// patiently waits for something that may take its time.
func (f *flight) patiently(wait func() error) error {
	f.patient.Add(1)
	defer f.patient.Add(-1)
	defer f.beats.Add(1)
	return wait()
}

// patientlyFor is patiently for a store that copies n bytes by itself.
func (f *flight) patientlyFor(n int64, wait func() error) error {
	f.copying.Add(n)
	defer f.copying.Add(-n)
	return f.patiently(wait)
}

// alive is a sign of life without bytes that are moved, such as bytes that are
// looked at or keys that are listed.
func (f *flight) alive() {
	f.beats.Add(1)
	f.moves.Add(1)
}

// stirs returns the job that the stream works for if there were signs of life
// since it was asked last, or a store copies by itself. Waiting for a store
// that refuses, or for one's turn, is no such sign.
func (f *flight) stirs() (work.JobID, bool) {
	moves := f.moves.Load()
	stirs := moves > max(f.moved, f.from.Load()) || f.copying.Load() > 0
	f.moved = moves
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.item == nil || !stirs {
		return 0, false
	}
	return f.item.item.Job, true
}

// look ends what the stream does if it has shown no sign of life for so long.
// If even that does not help, the item is left to other agents.
func (f *flight) look(now time.Time, limit time.Duration) {
	beats, seen := f.beats.Load(), f.seen.Load()
	if f.patient.Load() > 0 {
		limit = max(limit, stallPatience) + time.Duration(f.copying.Load()/slowestCopy)*time.Second
	}
	if beats != f.beat || seen-f.mark >= leastProgress || f.since.IsZero() {
		f.beat, f.mark, f.since = beats, seen, now
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel == nil {
		return
	}
	if silent := now.Sub(f.since); silent >= limit {
		f.cancel(errStalled)
		f.item.hung.Store(silent >= 2*limit)
	}
}

// watch looks at all flights now and then until ctx ends, and ends those that
// show no sign of life for as long as limit.
func watch(ctx context.Context, flights []*flight, limit time.Duration) {
	tick := time.NewTicker(limit / 12)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, f := range flights {
				f.look(now, limit)
			}
		}
	}
}
