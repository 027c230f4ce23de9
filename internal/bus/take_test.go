package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, items(work.Lo, 1, 1, 5)...)
	publish(t, b, items(work.Norm, 1, 11, 5)...)
	publish(t, b, items(work.Hi, 1, 21, 5)...)
	noticed(t, b, map[work.Class]uint64{work.Hi: 5, work.Norm: 5, work.Lo: 5})
	var got []work.Class
	for len(got) < 6 {
		got = append(got, take(t, agent, 1)[0].Item.Class)
	}
	for i, c := range got[:5] {
		if c != work.Hi {
			t.Errorf("item %d is of class %s, want hi; all: %v", i, c, got)
		}
	}
	if got[5] != work.Norm {
		t.Errorf("after hi came %s, want norm", got[5])
	}
}

func TestLowerClassesDoNotStarve(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 64} {
		b, agent := newFleet(t, Options{})
		publish(t, b, items(work.Hi, 1, 1, 100)...)
		publish(t, b, items(work.Norm, 1, 101, 20)...)
		publish(t, b, items(work.Lo, 1, 201, 20)...)
		noticed(t, b, map[work.Class]uint64{work.Hi: 100, work.Norm: 20, work.Lo: 20})
		count := map[work.Class]int{}
		for total := 0; total < 64; {
			list, err := agent.Take(testContext(t), "s", min(n, 64-total), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				count[d.Item.Class]++
			}
			total += len(list)
		}
		want := map[work.Class]int{work.Hi: 56, work.Norm: 4, work.Lo: 4}
		for c, w := range want {
			if count[c] != w {
				t.Errorf("of 64 items taken by %d, %d are %s, want %d", n, count[c], c, w)
			}
		}
	}
}

func TestTakeWaits(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	for i, c := range work.Classes() {
		got := make(chan work.ItemID, 1)
		ctx := testContext(t)
		go func() {
			d, err := agent.Take(ctx, "s", 8, patience)
			if err != nil || len(d) != 1 {
				got <- 0
				return
			}
			got <- d[0].Item.ID
		}()
		id := work.ItemID(i + 1)
		publish(t, b, item(c, 1, id))
		if g := <-got; g != id {
			t.Errorf("a waiting Take returned item %d, want %d", g, id)
		}
	}
}

func TestTakeGivesUp(t *testing.T) {
	t.Parallel()
	_, agent := newFleet(t, Options{})
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		if d, err := agent.Take(testContext(t), "s", 1, wait); len(d) > 0 || err != nil {
			t.Errorf("Take(%v) of nothing = %v, %v, want none and no error", wait, d, err)
		}
	}
	if d, err := agent.Take(testContext(t), "no-queue-yet", 1, 50*time.Millisecond); len(d) > 0 || err != nil {
		t.Errorf("Take at a site without a queue = %v, %v, want none and no error", d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if d, err := agent.Take(ctx, "s", 1, time.Hour); len(d) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Take while ctx ends = %v, %v, want its error", d, err)
	}
}

// TestNothingIsLeftBehind takes with every way to stop waiting at once while
// items arrive in all classes. An item that was sent to a Take which no longer
// listened would come again only after two minutes.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	const total = 300
	ctx := testContext(t)
	var feed errgroup.Group
	feed.Go(func() error {
		for i := range total {
			class := work.Classes()[rand.IntN(3)]
			for _, r := range b.Publish(ctx, []work.Item{item(class, 1, work.ItemID(i+1))}) {
				if !r.Stored {
					return r.Err
				}
			}
			time.Sleep(time.Duration(rand.IntN(2_000)) * time.Microsecond)
		}
		return nil
	})
	seen := make(chan work.ItemID, total*2)
	done, stop := context.WithCancel(ctx)
	var agents errgroup.Group
	for range 3 {
		agents.Go(func() error {
			for done.Err() == nil {
				short, cancel := context.WithTimeout(done, time.Duration(rand.IntN(4_000))*time.Microsecond)
				list, err := agent.Take(short, "s", 1, time.Minute)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
					return err
				}
				if len(list) > 1 {
					return errors.New("Take(1) handed out more")
				}
				for _, d := range list {
					if err := d.Ack(); err != nil {
						return err
					}
					seen <- d.Item.ID
				}
			}
			return nil
		})
	}
	got := map[work.ItemID]int{}
	for len(got) < total {
		select {
		case id := <-seen:
			got[id]++
		case <-ctx.Done():
			t.Errorf("got %d of %d items: the others were lost on their way", len(got), total)
			got = nil
		}
		if got == nil {
			break
		}
	}
	stop()
	if err := errors.Join(feed.Wait(), agents.Wait()); err != nil {
		t.Error(err)
	}
	for id, n := range got {
		if n != 1 {
			t.Errorf("item %d was handed out %d times", id, n)
		}
	}
}

// TestSuspectsAreNotGivenBack has suspects of all classes arrive at once where
// one item is waited for, until more than one is sent: all are handed out.
func TestSuspectsAreNotGivenBack(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx := testContext(t)
	id, excess := work.ItemID(0), 0
	for excess == 0 {
		var three []work.Item
		for _, c := range work.Classes() {
			id++
			it := item(c, 1, id)
			it.Suspect = true
			three = append(three, it)
		}
		published := make(chan []work.Receipt, 1)
		go func() { published <- b.Publish(ctx, three) }()
		for got := 0; got < len(three); {
			list, err := agent.Take(ctx, "s", 1, time.Minute)
			if err != nil {
				t.Fatalf("after %d items: %v", id, err)
			}
			for _, d := range list {
				if err := d.Ack(); err != nil {
					t.Fatal(err)
				}
			}
			excess += len(list) - min(len(list), 1)
			got += len(list)
		}
		<-published
	}
	t.Logf("of %d items, %d came in excess", id, excess)
}

func TestRedelivery(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{AckWait: time.Second})
	publish(t, b, item(work.Norm, 1, 1))
	before := time.Now()
	if d := take(t, agent, 1)[0]; d.Deliveries != 1 || d.Asked.Before(before) || d.Asked.After(time.Now()) {
		t.Errorf("Deliveries = %d, want 1; asked for at %v", d.Deliveries, d.Asked)
	}
	second := take(t, agent, 1)[0] // the first holder said nothing
	if second.Deliveries != 2 {
		t.Errorf("Deliveries = %d, want 2", second.Deliveries)
	}
	ack(t, second, second) // settling twice is no error
	eventually(t, "the item leaves", func() bool { return messages(t, b, "TRANSHIP_WORK_s") == 0 })
}

// What counts is the AckWait of who publishes, and the smallest that is heard
// of: the queue's own is changed at once, what it holds tells of the old one.
func TestItemsTellOfAckWait(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{AckWait: 20 * time.Second})
	agent := connect(t, Options{Server: b.opt.Server, Name: "agent-2", AckWait: time.Hour})
	check := func(when string, item, all time.Duration) {
		t.Helper()
		d := take(t, agent, 1)[0]
		if d.AckWait != item || agent.AckWait() != all {
			t.Errorf("%s: %v of the item and %v of all, want %v and %v", when, d.AckWait, agent.AckWait(), item, all)
		}
		ack(t, d)
	}
	untold := item(work.Norm, 1, 1)
	body, err := untold.Encode()
	if err != nil {
		t.Fatal(err)
	}
	publishRaw(t, b, untold.Subject(), string(body))
	check("of the version before", 0, time.Hour)
	publish(t, b, item(work.Norm, 1, 2))
	check("at first", 20*time.Second, 20*time.Second)
	for i, wait := range []time.Duration{10 * time.Second, 30 * time.Second} {
		other := connect(t, Options{Server: b.opt.Server, Name: "coordinator", AckWait: wait})
		publish(t, other, item(work.Norm, 1, work.ItemID(3+i)))
		check("changed", wait, 10*time.Second)
	}
}

func TestInProgressKeepsItem(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	b, agent := newFleet(t, Options{AckWait: life})
	publish(t, b, item(work.Norm, 1, 1))
	d := take(t, agent, 1)[0]
	ctx, stop := context.WithCancel(testContext(t))
	var alive errgroup.Group
	alive.Go(func() error {
		for sleep(ctx, life/20) {
			if err := d.InProgress(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	if again, err := agent.Take(ctx, "s", 1, 3*life/2); len(again) > 0 || err != nil {
		t.Errorf("Take while the item is held = %v, %v, want none", again, err)
	}
	stop()
	if err := alive.Wait(); err != nil {
		t.Error(err)
	}
	take(t, agent, 1) // and without a sign of life it comes
}

func TestNak(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, item(work.Norm, 1, 1))
	const delay = 600 * time.Millisecond
	if err := take(t, agent, 1)[0].Nak(delay); err != nil {
		t.Fatal(err)
	}
	given := time.Now()
	d := take(t, agent, 1)[0]
	if waited := time.Since(given); waited < delay/2 {
		t.Errorf("the item came again after %v, want %v", waited, delay)
	}
	if err := d.Nak(0); err != nil {
		t.Fatal(err)
	}
	ack(t, take(t, agent, 1)...)
}

func TestTerm(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, item(work.Norm, 1, 1))
	d := take(t, agent, 1)[0]
	if err := d.Term("cannot\nbe done"); err != nil {
		t.Fatal(err)
	}
	if err := d.InProgress(testContext(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the item leaves", func() bool { return messages(t, b, "TRANSHIP_WORK_s") == 0 })
}

func TestUnreadableItems(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	other, err := item(work.Norm, 5, 5).Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ subject, body, reason string }{
		{"tranship.work.s.norm.1.1", `{"v":1,`, "decode item"},
		{"tranship.work.s.hi.1.2", "", "decode item"},
		{"tranship.work.s.lo.9.9", string(other), "not that of its subject"},
	}
	for _, tt := range tests {
		publishRaw(t, b, tt.subject, tt.body)
	}
	publish(t, b, item(work.Lo, 1, 3)) // behind them all
	if d := take(t, agent, 1)[0]; d.Item.ID != 3 {
		t.Errorf("took item %d, want 3", d.Item.ID)
	}
	for _, tt := range tests {
		reason, body := deadReason(t, b, "tranship.dead."+strings.TrimPrefix(tt.subject, "tranship."))
		if !strings.Contains(reason, tt.reason) || body != tt.body {
			t.Errorf("dead letter of %s: %q for %q, want %q for %q", tt.subject, body, reason, tt.body, tt.reason)
		}
	}
	eventually(t, "the unreadable leave", func() bool { return messages(t, b, "TRANSHIP_WORK_s") == 1 })
}

func TestNewerItemIsLeft(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publishRaw(t, b, "tranship.work.s.norm.1.1", `{"v":99,"job":1,"item":1,"epoch":1,"attempt":1,"kind":"fold"}`)
	if d, err := agent.Take(testContext(t), "s", 1, 300*time.Millisecond); len(d) > 0 || err != nil {
		t.Errorf("Take of a newer item = %v, %v, want none", d, err)
	}
	if n := messages(t, b, "TRANSHIP_WORK_s"); n != 1 {
		t.Errorf("the queue holds %d messages, want the newer one", n)
	}
	if n := messages(t, b, deadStream); n != 0 {
		t.Errorf("%d messages were put aside, want none", n)
	}
}
