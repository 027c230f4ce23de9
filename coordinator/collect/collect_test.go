package collect

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/work"
)

// A queue hands its batches out in order, and again what nobody acknowledged
// for ackWait.
type queue struct {
	mu      sync.Mutex
	batches [][]work.Result
	given   int
	acked   []bool
	down    error
}

const ackWait = 70 * time.Second

func (q *queue) add(batches ...[]work.Result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batches = append(q.batches, batches...)
	q.acked = append(q.acked, make([]bool, len(batches))...)
}

func (q *queue) Results(ctx context.Context, _ int, wait time.Duration) ([]work.Result, func(context.Context) error, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return nil, nil, q.down
	}
	if q.given == len(q.batches) {
		q.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		q.mu.Lock()
		return nil, nil, ctx.Err()
	}
	n := q.given
	q.given++
	again := time.AfterFunc(ackWait, func() {
		if !q.isAcked(n) {
			q.add(q.batches[n])
		}
	})
	return slices.Clone(q.batches[n]), func(ctx context.Context) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		again.Stop()
		q.acked[n] = true
		return ctx.Err()
	}, nil
}

func (q *queue) isAcked(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acked[n]
}

// A ledger holds scans by their cursor, and how often each copy item was closed.
type ledger struct {
	mu      sync.Mutex
	cursors map[work.ItemID]string
	closed  map[work.ItemID]int
	down    error
	slow    time.Duration
	calls   int
}

func (l *ledger) Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (int, error) {
	time.Sleep(l.slow)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if err := errors.Join(l.down, ctx.Err()); err != nil {
		return 0, err
	}
	changed := 0
	for _, r := range results {
		item := work.Item{ID: r.Item, Kind: r.Kind, Attempt: 1, Options: work.DefaultOptions()}
		if r.Kind == work.Scan {
			item.Range = &work.Range{After: l.cursors[r.Item]}
		}
		v := decide(item, r)
		if v.State == "" {
			continue
		}
		changed++
		if r.Kind == work.Scan {
			l.cursors[r.Item] = v.Cursor
		} else {
			l.closed[r.Item]++
		}
	}
	return changed, nil
}

func (l *ledger) cursor(id work.ItemID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursors[id]
}

func (l *ledger) isClosed(id work.ItemID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed[id] > 0
}

type outage struct {
	mu     sync.Mutex
	failed int
}

func (o *outage) Failed(ctx context.Context, _ error) {
	o.mu.Lock()
	o.failed++
	o.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

func (o *outage) Worked() {}

// A bundle is a collector at work in a synctest bubble.
type bundle struct {
	queue    *queue
	ledger   *ledger
	recorded int
	stop     func()
}

func setup(t *testing.T, adjust func(*bundle)) *bundle {
	b := &bundle{
		queue:  &queue{},
		ledger: &ledger{cursors: make(map[work.ItemID]string), closed: make(map[work.ItemID]int)},
	}
	if adjust != nil {
		adjust(b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	c := New(b.queue, b.ledger, Options{
		Planner: plan.Planner{Jitter: func() float64 { return 1 }},
		Queue:   &outage{}, Ledger: &outage{},
		Recorded: func(n int) { b.recorded += n },
		Log:      slog.New(slog.DiscardHandler),
	})
	go func() { done <- c.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(b.stop)
	synctest.Wait()
	return b
}

func copied(ids ...work.ItemID) []work.Result {
	var out []work.Result
	for _, id := range ids {
		out = append(out, work.Result{Item: id, Kind: work.Copy, Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}})
	}
	return out
}

func page(id work.ItemID, after, upto string) work.Result {
	return work.Result{Item: id, Kind: work.Scan, Page: &work.Page{Range: work.Range{After: after, Upto: upto}}}
}

func TestRecordsThenAcknowledges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.ledger.slow = time.Second })
		b.queue.add(copied(1, 2))
		time.Sleep(batchWait + 500*time.Millisecond)
		if b.queue.isAcked(0) {
			t.Error("acknowledged before it was recorded")
		}
		time.Sleep(time.Second)
		if !b.ledger.isClosed(1) || !b.ledger.isClosed(2) || !b.queue.isAcked(0) {
			t.Error("not recorded and acknowledged")
		}
		b.stop()
		if b.recorded != 2 {
			t.Errorf("told of %d changes, want 2", b.recorded)
		}
	})
}

func TestOutageOfTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.ledger.down = errors.New("connection refused") })
		b.queue.add(copied(1))
		time.Sleep(20 * time.Second)
		if b.queue.isAcked(0) {
			t.Error("acknowledged what was not recorded")
		}
		b.ledger.mu.Lock()
		b.ledger.down = nil
		b.ledger.mu.Unlock()
		time.Sleep(2 * time.Second)
		if !b.ledger.isClosed(1) || !b.queue.isAcked(0) {
			t.Error("not recorded soon after the outage")
		}
	})
}

// A batch in hand for a minute is left to come again, for another
// coordinator may have the better connection.
func TestLongOutageOfTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.ledger.down = errors.New("connection refused") })
		b.queue.add(copied(1))
		time.Sleep(2 * holdFor)
		b.ledger.mu.Lock()
		b.ledger.down = nil
		b.ledger.mu.Unlock()
		time.Sleep(ackWait)
		if !b.ledger.isClosed(1) {
			t.Error("not recorded when it came again")
		}
		if b.queue.isAcked(0) {
			t.Error("acknowledged though it was given up")
		}
	})
}

func TestOutageOfTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.queue.down = errors.New("no responders") })
		b.queue.add(copied(1))
		time.Sleep(10 * time.Second)
		b.queue.mu.Lock()
		b.queue.down = nil
		b.queue.mu.Unlock()
		time.Sleep(2 * time.Second)
		if !b.ledger.isClosed(1) || !b.queue.isAcked(0) {
			t.Error("not recorded after the outage")
		}
	})
}

func TestPagesOfTwoBatchesInDisorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		b.queue.add([]work.Result{page(1, "g", "m"), page(1, "c", "g")}, copied(2), []work.Result{page(1, "", "c")})
		time.Sleep(time.Second)
		if got := b.ledger.cursor(1); got != "m" {
			t.Errorf("cursor = %q, want m", got)
		}
		for i := range 3 {
			if !b.queue.isAcked(i) {
				t.Errorf("batch %d is not acknowledged", i)
			}
		}
	})
}

// Another coordinator records the page that is missing here.
func TestEarlyPageWaitsForAnotherCoordinator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		b.queue.add([]work.Result{page(1, "c", "g")})
		time.Sleep(time.Second)
		if b.ledger.cursor(1) != "" || b.queue.isAcked(0) {
			t.Fatalf("cursor = %q, acknowledged = %v, want the page kept", b.ledger.cursor(1), b.queue.isAcked(0))
		}
		b.ledger.mu.Lock()
		b.ledger.cursors[1] = "c"
		b.ledger.mu.Unlock()
		time.Sleep(2 * earlyRetry)
		if b.ledger.cursor(1) != "g" || !b.queue.isAcked(0) {
			t.Errorf("cursor = %q, acknowledged = %v, want g, true", b.ledger.cursor(1), b.queue.isAcked(0))
		}
	})
}

func TestEarlyPageIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		b.queue.add([]work.Result{page(1, "c", "g")})
		time.Sleep(earlyFor + time.Second)
		if !b.queue.isAcked(0) {
			t.Error("a page whose predecessor is lost is kept for ever")
		}
		b.ledger.mu.Lock()
		calls := b.ledger.calls
		b.ledger.mu.Unlock()
		time.Sleep(time.Minute)
		b.ledger.mu.Lock()
		defer b.ledger.mu.Unlock()
		if b.ledger.calls != calls {
			t.Errorf("recorded %d times after giving up", b.ledger.calls-calls)
		}
	})
}

func TestEarlyPagesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, nil)
		for id := range work.ItemID(3 * maxEarly) {
			b.queue.add([]work.Result{page(id, "c", "g")})
		}
		time.Sleep(time.Second)
		for i := range 3 * maxEarly {
			if got, want := b.queue.isAcked(i), i < 2*maxEarly; got != want {
				t.Errorf("batch %d acknowledged = %v, want %v", i, got, want)
			}
		}
	})
}

func TestShutdownRecordsWhatIsInHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.ledger.slow = 3 * time.Second })
		b.queue.add(copied(1), copied(2), copied(3))
		time.Sleep(time.Second) // the first is being recorded, the second is in hand
		b.stop()
		if !b.queue.isAcked(0) || !b.queue.isAcked(1) {
			t.Error("what was in hand is not recorded")
		}
		if b.queue.isAcked(2) || b.ledger.isClosed(3) {
			t.Error("more was taken after the end")
		}
	})
}

func TestShutdownDuringAnOutageEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, func(b *bundle) { b.ledger.down = errors.New("connection refused") })
		b.queue.add(copied(1))
		time.Sleep(time.Second)
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > grace+time.Second {
			t.Errorf("Run ended after %v, want about %v", took, grace)
		}
		if b.queue.isAcked(0) {
			t.Error("acknowledged what was not recorded")
		}
	})
}

// Turn does in one go what Run's two loops do, on the caller's clock.
func TestTurns(t *testing.T) {
	t.Parallel()
	q := &queue{}
	l := &ledger{cursors: make(map[work.ItemID]string), closed: make(map[work.ItemID]int)}
	now, changed := time.Unix(0, 0), 0
	c := New(q, l, Options{
		Planner: plan.Planner{Jitter: func() float64 { return 1 }}, Queue: clock{&now}, Ledger: clock{&now},
		Recorded: func(n int) { changed += n }, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	})
	q.add([]work.Result{page(1, "c", "g")}, copied(2))

	c.Turn(t.Context())
	if q.isAcked(0) || l.calls != 1 {
		t.Fatalf("acknowledged an early page: %v, after %d calls", q.isAcked(0), l.calls)
	}
	c.Turn(t.Context())
	if !q.isAcked(1) || !l.isClosed(2) || changed != 1 {
		t.Errorf("acknowledged %v, closed %v, told of %d changes", q.isAcked(1), l.isClosed(2), changed)
	}
	l.down = errors.New("connection refused")
	q.add(copied(3))
	c.Turn(t.Context())
	if waited := now.Sub(time.Unix(0, 0)); waited <= holdFor || waited > holdFor+2*time.Second || q.isAcked(2) {
		t.Errorf("tried for %v and acknowledged %v, want %v and false", waited, q.isAcked(2), holdFor)
	}
	l.down = nil
	c.Turn(t.Context())
	if q.isAcked(0) {
		t.Error("acknowledged what was left to come again")
	}
}

// A clock is an outage that takes a second of its time.
type clock struct{ now *time.Time }

func (c clock) Failed(context.Context, error) { *c.now = c.now.Add(time.Second) }

func (clock) Worked() {}
