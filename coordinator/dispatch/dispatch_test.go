package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A yard is ledger and queue at once: items are ready, queued or published.
type yard struct {
	mu        sync.Mutex
	ready     map[string][]work.Item
	queued    map[string][]work.Item
	published []work.Item
	failed    []error // what Outage.Failed was told since Worked
	calls     []string

	down    error                 // of ActiveSites and Claim
	refuse  func(work.Item) error // of Publish
	publish func()                // called before each Publish
}

func newYard(sites ...string) *yard {
	y := &yard{ready: make(map[string][]work.Item), queued: make(map[string][]work.Item)}
	for _, s := range sites {
		y.ready[s] = nil
	}
	return y
}

func (y *yard) add(site string, ids ...work.ItemID) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, id := range ids {
		y.ready[site] = append(y.ready[site], work.Item{ID: id, Site: site})
	}
}

func (y *yard) ActiveSites(context.Context) ([]string, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var sites []string
	for s := range y.ready {
		sites = append(sites, s)
	}
	slices.Sort(sites)
	return sites, y.down
}

func (y *yard) Claim(_ context.Context, site string, window int) ([]work.Item, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.down != nil {
		return nil, y.down
	}
	n := min(window-len(y.queued[site]), len(y.ready[site]))
	items := slices.Clone(y.ready[site][:n])
	y.ready[site] = y.ready[site][n:]
	for i := range items {
		items[i].Epoch++
	}
	y.queued[site] = append(y.queued[site], items...)
	return items, nil
}

func (y *yard) Release(ctx context.Context, items []work.Item) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.calls = append(y.calls, "release")
	for _, it := range items {
		y.queued[it.Site] = slices.DeleteFunc(y.queued[it.Site], func(q work.Item) bool { return q.ID == it.ID })
		y.ready[it.Site] = append(y.ready[it.Site], it)
	}
	return ctx.Err()
}

func (y *yard) Publish(ctx context.Context, items []work.Item) []work.Receipt {
	if y.publish != nil {
		y.publish()
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	receipts := make([]work.Receipt, len(items))
	for i, it := range items {
		receipts[i].Err = ctx.Err()
		if y.refuse != nil && receipts[i].Err == nil {
			receipts[i].Err = y.refuse(it)
		}
		if receipts[i].Err == nil {
			y.published = append(y.published, it)
		}
	}
	return receipts
}

func (y *yard) Failed(ctx context.Context, err error) {
	y.mu.Lock()
	y.failed = append(y.failed, err)
	y.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

func (y *yard) Worked() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.failed = nil
}

func (y *yard) ids() []work.ItemID {
	y.mu.Lock()
	defer y.mu.Unlock()
	var ids []work.ItemID
	for _, it := range y.published {
		ids = append(ids, it.ID)
	}
	slices.Sort(ids)
	return ids
}

// start runs a dispatcher over y inside a synctest bubble and ends it with
// the test.
func start(t *testing.T, y *yard, window int) *Dispatcher {
	d := New(y, y, y, window)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	synctest.Wait()
	return d
}

func TestFillsTheWindowOfEachSite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.add("a", 1, 2, 3)
		y.add("b", 4)
		start(t, y, 2)
		if got, want := y.ids(), []work.ItemID{1, 2, 4}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		y.mu.Lock()
		y.queued["a"] = y.queued["a"][1:] // an item is done
		y.mu.Unlock()
		time.Sleep(2 * poll)
		if got, want := y.ids(), []work.ItemID{1, 2, 3, 4}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
	})
}

func TestWakeNeedsNoPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard("a")
		d := start(t, y, 10)
		began := time.Now()
		y.add("a", 1)
		d.Wake()
		d.Wake() // never blocks
		synctest.Wait()
		if got := y.ids(); len(got) != 1 || time.Since(began) != 0 {
			t.Errorf("published %v after %v, want item 1 at once", got, time.Since(began))
		}
	})
}

func TestRefusedItemsAreReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		full := errors.New("queue is full")
		y.refuse = func(it work.Item) error {
			if it.ID == 2 {
				return full
			}
			return nil
		}
		y.add("a", 1, 2, 3)
		start(t, y, 10)
		y.mu.Lock()
		if len(y.ready["a"]) != 1 || y.ready["a"][0].ID != 2 || y.ready["a"][0].Epoch != 1 {
			t.Errorf("ready again: %+v, want item 2 under its epoch", y.ready["a"])
		}
		if len(y.failed) != 1 || !errors.Is(y.failed[0], full) || !strings.Contains(y.failed[0].Error(), "1 of 3 items to site a") {
			t.Errorf("outage heard %v", y.failed)
		}
		y.refuse = nil
		y.mu.Unlock()
		time.Sleep(2 * time.Second)
		if got, want := y.ids(), []work.ItemID{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		if y.failed != nil {
			t.Errorf("the outage did not end: %v", y.failed)
		}
	})
}

func TestOneSitesTroubleIsNotTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.refuse = func(it work.Item) error {
			if it.Site == "a" {
				return errors.New("no stream")
			}
			return nil
		}
		y.add("a", 1)
		y.add("b", 2)
		start(t, y, 10)
		if got, want := y.ids(), []work.ItemID{2}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
	})
}

func TestOutageOfTheLedgerIsSatOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.down = errors.New("connection refused")
		y.add("a", 1)
		start(t, y, 10)
		time.Sleep(5*time.Second + time.Millisecond)
		y.mu.Lock()
		if n := len(y.failed); n != 6 {
			t.Errorf("tried %d times in 5 s with a second's wait each, want 6", n)
		}
		y.down = nil
		y.mu.Unlock()
		time.Sleep(time.Second)
		if got := y.ids(); len(got) != 1 {
			t.Errorf("published %v, want item 1", got)
		}
	})
}

// What is claimed when the end comes must not be left in between.
func TestShutdownWhilePublishing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		ctx, cancel := context.WithCancel(t.Context())
		y.publish = cancel
		y.refuse = func(it work.Item) error {
			if it.ID == 2 {
				return errors.New("refused")
			}
			return nil
		}
		y.add("a", 1, 2)
		if err := New(y, y, y, 10).Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
		if got, want := y.ids(), []work.ItemID{1}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		if len(y.ready["a"]) != 1 || len(y.calls) != 1 {
			t.Errorf("ready %v after %v, want item 2 released", y.ready["a"], y.calls)
		}
	})
}
