package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// How long a stream may go without a sign of life. Stores have limits of their
// own, which should be the first to act; this is what keeps an agent from
// holding an item for ever whatever a store does.
const (
	stallLimit = 3 * time.Minute
	// stallPatience is for what takes its time without moving bytes: a store
	// that puts parts together or copies by itself, and waiting for one's turn.
	stallPatience = 30 * time.Minute
	// slowestCopy is how many bytes a second a store copies by itself at least.
	// It shows no sign of life meanwhile.
	slowestCopy = 32 << 20
)

// errStalled ends what a stream does when it shows no sign of life.
var errStalled = errors.New("no byte moved for too long")

// A flight is what one stream does now.
type flight struct {
	bytes   atomic.Int64 // that passed, of the present object
	total   *atomic.Int64
	beats   atomic.Int64 // changes with every sign of life
	moves   atomic.Int64 // grows with every sign of life but the end of a wait
	from    atomic.Int64 // moves at the begin
	patient atomic.Int32 // more than 0: what it waits for may take its time
	copying atomic.Int64 // bytes that a store copies by itself

	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil: the stream is idle
	item   *held                   // it works for

	// seen and since are owned by watch, moved by the loop that beats.
	seen  int64
	since time.Time
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
	ctx, cancel := context.WithCancelCause(h.moving)
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

// passed counts bytes of bodies.
func (f *flight) passed(n int64) {
	f.bytes.Add(n)
	f.total.Add(n)
	f.alive()
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

// look ends what the stream does if it has shown no sign of life for too long.
// If even that does not help, the item is left to other agents.
func (f *flight) look(now time.Time) {
	beats := f.beats.Load()
	limit := stallLimit
	if f.patient.Load() > 0 {
		limit = stallPatience + time.Duration(f.copying.Load()/slowestCopy)*time.Second
	}
	if beats != f.seen || f.since.IsZero() {
		f.seen, f.since = beats, now
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

// watch looks at all flights now and then until ctx ends.
func watch(ctx context.Context, flights []*flight) {
	tick := time.NewTicker(stallLimit / 12)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, f := range flights {
				f.look(now)
			}
		}
	}
}
