package agent

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

var stallLimit = time.Duration(config.Default().Agent.Stall)

func TestStalledStreamIsEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f, idle := &flight{total: new(atomic.Int64)}, &flight{total: new(atomic.Int64)}
		go watch(ctx, []*flight{idle, f}, stallLimit)

		h := &held{moving: ctx}
		moving := f.begin(h)
		for range 20 { // slow, but alive
			time.Sleep(stallLimit / 3)
			f.passed(leastProgress / 2)
		}
		for range 20 { // and so is a slow readback, and a listing
			time.Sleep(stallLimit / 3)
			f.looked(leastProgress / 2)
		}
		for range 20 {
			time.Sleep(stallLimit / 2)
			f.alive()
		}
		if moving.Err() != nil {
			t.Error("a slow stream was ended")
		}
		time.Sleep(stallLimit + stallLimit/6)
		synctest.Wait()
		if context.Cause(moving) != errStalled {
			t.Errorf("after %v without a byte: %v, want %v", stallLimit, context.Cause(moving), errStalled)
		}
		if h.hung.Load() {
			t.Error("the item was left to others at once")
		}
		time.Sleep(2 * stallLimit)
		synctest.Wait()
		if !h.hung.Load() {
			t.Error("the item is kept although its stream does not come back")
		}
		if n := f.end(); n != 10*leastProgress {
			t.Errorf("%d bytes counted, want %d", n, 10*leastProgress)
		}

		moving = f.begin(&held{moving: ctx})
		for range stallLimit/time.Second + 30 { // a drip
			time.Sleep(time.Second)
			f.passed(1)
		}
		if context.Cause(moving) != errStalled {
			t.Errorf("a drip of a byte a second: %v, want %v", context.Cause(moving), errStalled)
		}
		f.end()

		moving = f.begin(&held{moving: ctx})
		f.patient.Add(1)
		time.Sleep(stallPatience / 2)
		synctest.Wait()
		if moving.Err() != nil {
			t.Error("a stream was ended while its store was at work")
		}
		f.end()
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	b := newBudget(1 << 20)
	ctx := testContext(t)
	for _, n := range []int64{0, 1, 4096, 4097, 16 << 10, 1<<20 - 1, 1 << 20} {
		buf, err := b.buffer(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if size := int64(len(buf.b)); size < n || size > max(2*n, smallestBuffer) || b.used.Load() != size {
			t.Errorf("a buffer for %d bytes has %d, and %d are accounted for", n, size, b.used.Load())
		}
		b.free(buf)
	}
	n, err := b.take(ctx, 1<<30)
	if err != nil || n != 1<<20 {
		t.Fatalf("take of more than all = %d, %v", n, err)
	}
	ended, cancel := context.WithCancelCause(ctx)
	cancel(errCanceled)
	if _, err := b.take(ended, 1); !errors.Is(err, errCanceled) {
		t.Errorf("take of what is not there = %v, want why it was ended", err)
	}
	b.give(n)
	if b.used.Load() != 0 || b.peak.Load() != 1<<20 {
		t.Errorf("%d bytes in use, %d at most", b.used.Load(), b.peak.Load())
	}
}

// What a stream stirs for is the job whose bytes pass, or are looked at, or
// that a store copies: not one that only waits, or has just begun.
func TestStirring(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f, idle := &flight{total: new(atomic.Int64)}, &flight{total: new(atomic.Int64)}
	of := func(job work.JobID) *held { return &held{moving: ctx, item: work.Item{Job: job}} }
	stirs := func(when string, want ...work.JobID) {
		t.Helper()
		if got := *stirring([]*flight{f, idle}); !slices.Equal(got, want) || got == nil {
			t.Errorf("%s: %v stir, want %v", when, got, want)
		}
	}
	stirs("idle")
	f.begin(of(7))
	stirs("begun")
	f.passed(1)
	stirs("a byte has passed", 7)
	stirs("no byte has passed since")
	f.alive()
	stirs("a byte was looked at", 7)
	if err := f.patiently(func() error { stirs("it waits"); return nil }); err != nil {
		t.Fatal(err)
	}
	stirs("it has waited")
	for range 2 {
		if err := f.patientlyFor(1, func() error { stirs("a store copies", 7); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	f.passed(1)
	f.end()
	f.begin(of(8))
	stirs("the bytes were another job's")
	f.passed(1)
	f.end()
	stirs("idle again")
}
