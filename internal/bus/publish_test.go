package bus

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// wantThere publishes items again that the queue still has.
func wantThere(t *testing.T, when string, b *Bus, list []work.Item) {
	t.Helper()
	for i, r := range b.Publish(testContext(t), list) {
		if r.Stored || r.Err != nil {
			t.Fatalf("%s: Publish(item %d) = %+v, want not stored and no error", when, list[i].ID, r)
		}
	}
}

func TestPublishTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, ServerOptions{Dir: dir})
	b := connect(t, Options{Server: s})
	list := items(work.Norm, 1, 1, 600) // more than fit the window at once
	publish(t, b, list...)
	wantThere(t, "while queued", b, list)

	held := take(t, b, 10)
	wantThere(t, "while held", b, list)
	if got := messages(t, b, "TRANSHIP_WORK_s"); got != len(list) {
		t.Errorf("the stream holds %d messages, want %d", got, len(list))
	}

	b.Close()
	s.Shutdown()
	b = connect(t, Options{Server: startServer(t, ServerOptions{Dir: dir})})
	wantThere(t, "after a restart", b, list)

	done := take(t, b, 1)[0]
	ack(t, done)
	eventually(t, "the ack arrives", func() bool { return messages(t, b, "TRANSHIP_WORK_s") == len(list)-1 })
	publish(t, b, done.Item)
	_ = held // never settled: the restart outlived their holder
}

func TestPublishWhenFull(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	s, err := b.js.Stream(testContext(t), "TRANSHIP_WORK_s")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 3
	if _, err := b.js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	list := items(work.Norm, 1, 1, 5)
	for i, r := range b.Publish(testContext(t), list) {
		if i < 3 && (!r.Stored || r.Err != nil) || i >= 3 && (r.Stored || !errors.Is(r.Err, ErrFull)) {
			t.Errorf("Publish(item %d) = %+v", list[i].ID, r)
		}
	}
	wantThere(t, "when full", b, list[:3]) // there is there, full or not
	ack(t, take(t, b, 3)...)
	eventually(t, "there is room again", func() bool { return messages(t, b, "TRANSHIP_WORK_s") == 0 })
	publish(t, b, list[3:]...)
}

func TestPublishTooLarge(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	big := item(work.Norm, 1, 1)
	big.Source = "mem://" + strings.Repeat("x", maxWorkMsg)
	r := b.Publish(testContext(t), []work.Item{big, item(work.Norm, 1, 2)})
	if !errors.Is(r[0].Err, ErrTooLarge) || r[0].Stored {
		t.Errorf("Publish(too large) = %+v, want ErrTooLarge", r[0])
	}
	if !r[1].Stored {
		t.Errorf("Publish(its neighbour) = %+v, want stored", r[1])
	}
}

func TestLargestItemFits(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	it := item(work.Norm, 1, 1)
	it.Objects = nil
	for size := 0; size < work.MaxItemJSON; size += 1100 {
		it.Objects = append(it.Objects, work.Object{Key: strings.Repeat("k", 1000), Size: 1})
	}
	if body, err := it.Encode(); err != nil || len(body) < work.MaxItemJSON*9/10 {
		t.Fatalf("the item has %d bytes, %v", len(body), err)
	}
	publish(t, b, it)
	if got := take(t, agent, 1)[0].Item; len(got.Objects) != len(it.Objects) {
		t.Errorf("got %d objects, want %d", len(got.Objects), len(it.Objects))
	}
}

func TestPublishToBadSite(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	bad := item(work.Norm, 1, 1)
	bad.Site = "a.b"
	r := b.Publish(testContext(t), []work.Item{bad, item(work.Norm, 1, 2)})
	if r[0].Err == nil || !r[1].Stored {
		t.Errorf("Publish = %+v, want the first refused and the second stored", r)
	}
}

func TestPublishRepairsLostStream(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, items(work.Norm, 1, 1, 3)...)
	got := make(chan []*Delivery)
	ctx := testContext(t)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ack(t, take(t, agent, 3)...)
	flush(t, agent)
	go func() {
		var all []*Delivery
		for waiting.Err() == nil && len(all) < 4 {
			d, _ := agent.Take(waiting, "s", 1, time.Second)
			all = append(all, d...)
		}
		got <- all
	}()

	if err := b.js.DeleteStream(ctx, "TRANSHIP_WORK_s"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, items(work.Norm, 1, 4, 4)...)
	if all := <-got; len(all) != 4 {
		t.Errorf("the agent got %d items, want 4", len(all))
	}
}

func TestAddSiteRepairsLostConsumer(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx := testContext(t)
	if err := b.js.DeleteConsumer(ctx, "TRANSHIP_WORK_s", "hi"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, item(work.Norm, 1, 1), item(work.Hi, 1, 2))
	if d := take(t, agent, 1)[0]; d.Item.ID != 1 { // the other classes go on
		t.Errorf("took item %d, want 1", d.Item.ID)
	}
	b.sawSite("s", time.Now().Add(-time.Hour))
	if err := b.AddSite(ctx, "s"); err != nil {
		t.Fatal(err)
	}
	if d := take(t, agent, 1)[0]; d.Item.ID != 2 {
		t.Errorf("took item %d, want 2", d.Item.ID)
	}
}

func TestOperatorsPauseStays(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	ctx := testContext(t)
	until := time.Now().Add(time.Hour)
	if _, err := b.js.PauseConsumer(ctx, "TRANSHIP_WORK_s", "norm", until); err != nil {
		t.Fatal(err)
	}
	second := connect(t, Options{Server: b.opt.Server}) // another coordinator, just started
	if err := errors.Join(second.Setup(ctx), second.AddSite(ctx, "s")); err != nil {
		t.Fatal(err)
	}
	c, err := b.js.Consumer(ctx, "TRANSHIP_WORK_s", "norm")
	if err != nil {
		t.Fatal(err)
	}
	if info := c.CachedInfo(); !info.Paused {
		t.Errorf("the consumer is not paused any more: %+v", info.Config.PauseUntil)
	}
}

func TestSetupFitsSmallestStore(t *testing.T) {
	t.Parallel()
	b := connect(t, Options{Server: startServer(t, ServerOptions{MaxStore: MinStore})})
	ctx := testContext(t)
	if err := errors.Join(b.Setup(ctx), b.Setup(ctx), b.AddSite(ctx, "one")); err != nil {
		t.Fatalf("a store of MinStore is too small for one site: %v", err)
	}
	var err error
	for _, site := range []string{"two", "three", "four", "five"} {
		err = errors.Join(err, b.AddSite(ctx, site))
	}
	if err == nil || !strings.Contains(err.Error(), "nats.max_store") {
		t.Errorf("AddSite beyond the store = %v, want an error that names nats.max_store", err)
	}
}

func TestSetupInWrongDomain(t *testing.T) {
	t.Parallel()
	b := connect(t, Options{Server: startServer(t, ServerOptions{Domain: "here"}), Domain: "there"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := b.Setup(ctx); err == nil || !strings.Contains(err.Error(), "nats.domain") {
		t.Errorf("Setup in a domain that is not there = %v, want an error that names nats.domain", err)
	}
}

func TestPurgeJob(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, append(items(work.Hi, 1, 1, 5), items(work.Norm, 11, 6, 5)...)...)
	ctx := testContext(t)
	if err := b.PurgeJob(ctx, "s", 1); err != nil {
		t.Fatal(err)
	}
	for _, d := range take(t, agent, 5) {
		if d.Item.Job != 11 {
			t.Errorf("took an item of job %d, want only job 11", d.Item.Job)
		}
	}
	if d, err := agent.Take(ctx, "s", 9, 0); len(d) > 0 || err != nil {
		t.Errorf("Take = %v, %v, want nothing left", d, err)
	}
	if err := b.PurgeJob(ctx, "never-seen", 1); err != nil {
		t.Errorf("PurgeJob on a site without a queue = %v", err)
	}
}

func TestEmit(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	ctx := testContext(t)
	if err := b.js.DeleteStream(ctx, eventsStream); err != nil { // it is made anew
		t.Fatal(err)
	}
	for _, what := range []string{"paused", "two words.and > dots", ""} {
		if err := b.Emit(ctx, work.Event{Job: 7, What: what, Who: "me"}); err != nil {
			t.Errorf("Emit(%q) = %v", what, err)
		}
	}
	for range 2 { // two coordinators tell of one event
		if err := b.Emit(ctx, work.Event{ID: 12, Job: 7, What: "resumed", At: time.Unix(1, 0)}); err != nil {
			t.Error(err)
		}
	}
	s, err := b.js.Stream(ctx, eventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Info(ctx); err != nil || info.State.Msgs != 4 {
		t.Errorf("the stream has %d events, %v, want 4", info.State.Msgs, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, "tranship.event.paused.7")
	if err != nil || !bytes.Contains(m.Data, []byte(`"who":"me"`)) {
		t.Errorf("the event is %v, %v", m, err)
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	answer := func(code jetstream.ErrorCode, text string) error {
		return &jetstream.APIError{Code: 503, ErrorCode: code, Description: text}
	}
	tests := []struct {
		name      string
		err       error
		stored    bool
		ok, full_ bool
	}{
		{"stored", nil, true, true, false},
		{"there already", answer(10077, "maximum messages per subject exceeded"), false, true, false},
		{"window full", answer(10077, "maximum messages exceeded"), false, false, true},
		{"bytes full", answer(10077, "maximum bytes exceeded"), false, false, true},
		{"disk full", answer(10023, "insufficient resources"), false, false, true},
		{"write error", answer(10077, "no space left on device"), false, false, false},
		{"lost", jetstream.ErrAsyncPublishTimeout, false, false, false},
	}
	for _, tt := range tests {
		r := receipt(tt.err)
		if r.Stored != tt.stored || (r.Err == nil) != tt.ok || errors.Is(r.Err, ErrFull) != tt.full_ {
			t.Errorf("%s: receipt(%v) = %+v", tt.name, tt.err, r)
		}
	}
}
