package bus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

// results takes exactly n results; ack settles them all.
func results(t *testing.T, b *Bus, n int) (got []work.Result, ack func()) {
	t.Helper()
	var acks []func(context.Context) error
	for ctx := testContext(t); len(got) < n; {
		list, done, err := b.Results(ctx, n-len(got), time.Second)
		if err != nil {
			t.Fatalf("Results after %d of %d: %v", len(got), n, err)
		}
		got, acks = append(got, list...), append(acks, done)
	}
	if len(got) > n {
		t.Fatalf("Results handed out %d, want at most %d", len(got), n)
	}
	return got, func() {
		t.Helper()
		for _, done := range acks {
			if err := done(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func report(t *testing.T, b *Bus, n int) {
	t.Helper()
	var g errgroup.Group
	for i := range n {
		g.Go(func() error { return b.Report(testContext(t), "s", "agent-1", result(1, work.ItemID(i+1))) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	const n = 300
	report(t, agent, n)
	got, settle := results(t, b, n)
	var ids []work.ItemID
	for _, r := range got {
		if r.Agent != "agent-1" {
			t.Errorf("result of agent %q, want that of the subject", r.Agent)
		}
		ids = append(ids, r.Item)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != n {
		t.Errorf("got %d different results, want %d", len(ids), n)
	}
	settle()
	eventually(t, "the results leave", func() bool { return messages(t, b, resultsStream) == 0 })
	list, done, err := b.Results(testContext(t), 5, 20*time.Millisecond)
	if len(list) > 0 || err != nil {
		t.Errorf("Results of nothing = %v, %v", list, err)
	}
	if err := done(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestResultsComeAgainWithoutAck(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{AckWait: 2 * time.Second})
	report(t, agent, 3)
	results(t, b, 3)
	_, settle := results(t, b, 3)
	settle()
	eventually(t, "the results leave", func() bool { return messages(t, b, resultsStream) == 0 })
}

func TestResultsSettled(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx := testContext(t)
	open := func(when string, mark uint64) {
		t.Helper()
		if got, err := b.ResultsSettled(ctx, mark); got || err != nil {
			t.Errorf("%s: ResultsSettled(%d) = %v, %v, want false", when, mark, got, err)
		}
	}
	settled := func(when string, mark uint64) { // acks take a moment
		t.Helper()
		eventually(t, when, func() bool {
			got, err := b.ResultsSettled(ctx, mark)
			return got && err == nil
		})
	}
	mark := func() uint64 {
		t.Helper()
		m, err := b.ResultsMark(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	settled("empty", mark())
	report(t, agent, 2)
	before := mark()
	open("stored", before)
	_, settleOne := results(t, b, 1)
	_, settleTwo := results(t, b, 1)
	settleTwo()
	open("out of order", before)
	report(t, agent, 1)
	settleOne()
	settled("acked", before)
	open("a newer one is open", mark())
	_, settle := results(t, b, 1)
	settle()
	settled("all acked", mark())
	settled("of a stream that was lost", mark()+1000)
}

func TestUnreadableResults(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	body, err := result(1, 2).Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ subject, body, reason string }{
		{"tranship.result.s.a.1.1", "{", "decode result"},
		{"tranship.result.s.a.x.1", string(body), "names no job"},
		{"tranship.result.s.a.1.3", string(body), "not that of its subject"},
		{"tranship.result.s.a.2.2", string(body), "not that of its subject"},
	}
	for _, tt := range tests {
		publishRaw(t, b, tt.subject, tt.body)
	}
	report(t, agent, 1)
	if got, _ := results(t, b, 1); got[0].Item != 1 || got[0].Job != 1 {
		t.Errorf("got %+v", got[0])
	}
	for _, tt := range tests {
		reason, body := deadReason(t, b, "tranship.dead."+strings.TrimPrefix(tt.subject, "tranship."))
		if !strings.Contains(reason, tt.reason) || body != tt.body {
			t.Errorf("dead letter of %s: %q for %q, want %q for %q", tt.subject, body, reason, tt.body, tt.reason)
		}
	}
}

// TestForeignMessageAmongResults covers an agent that has a message delivered
// into the results: it arrives there under its own subject, which no filter
// for results would show. Items that Publish sent are refused there already,
// because they name their stream.
func TestForeignMessageAmongResults(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publishRaw(t, b, "tranship.work.s.norm.1.1", "{")
	ask := agent.api + "CONSUMER.MSG.NEXT.TRANSHIP_WORK_s.norm"
	if err := agent.nc.PublishRequest(ask, "tranship.result.s.agent-1.1.1", []byte("1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is stored", func() bool { return messages(t, b, resultsStream) == 1 })
	list, _, err := b.Results(testContext(t), 5, 100*time.Millisecond)
	if len(list) > 0 || err != nil {
		t.Errorf("Results = %v, %v, want none", list, err)
	}
	if reason, _ := deadReason(t, b, "tranship.dead.work.s.norm.1.1"); !strings.Contains(reason, "not that of a result") {
		t.Errorf("it was put aside for %q", reason)
	}
	eventually(t, "it leaves", func() bool { return messages(t, b, resultsStream) == 0 })
}

func TestNewerResultIsLeft(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	publishRaw(t, b, "tranship.result.s.a.1.1", `{"v":99,"job":1,"item":1,"epoch":1}`)
	list, _, err := b.Results(testContext(t), 5, 100*time.Millisecond)
	if len(list) > 0 || err != nil {
		t.Errorf("Results = %v, %v, want none", list, err)
	}
	if n := messages(t, b, resultsStream); n != 1 {
		t.Errorf("the stream holds %d messages, want the newer one", n)
	}
}

func TestReportTooLarge(t *testing.T) {
	t.Parallel()
	_, agent := newFleet(t, Options{})
	r := result(1, 1)
	r.Error = strings.Repeat("x", maxResultMsg)
	if err := agent.Report(testContext(t), "s", "a", r); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Report = %v, want ErrTooLarge", err)
	}
}

// TestLargestResultCanBeBuried keeps room for the headers of a dead letter.
func TestLargestResultCanBeBuried(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	publishRaw(t, b, "tranship.result.s.a.1.1", strings.Repeat("x", maxResultMsg))
	list, _, err := b.Results(testContext(t), 5, 100*time.Millisecond)
	if len(list) > 0 || err != nil {
		t.Errorf("Results = %v, %v, want none", list, err)
	}
	if _, body := deadReason(t, b, "tranship.dead.result.s.a.1.1"); len(body) != maxResultMsg {
		t.Errorf("the dead letter has %d bytes, want %d", len(body), maxResultMsg)
	}
}

func TestLostResultsStreamIsMadeAnew(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx := testContext(t)
	if err := b.js.DeleteStream(ctx, resultsStream); err != nil {
		t.Fatal(err)
	}
	reported := make(chan error, 1)
	go func() { reported <- agent.Report(ctx, "s", "agent-1", result(1, 1)) }()
	_, settle := results(t, b, 1) // the coordinator finds the loss, the agent waits for it
	settle()
	if err := <-reported; err != nil {
		t.Error(err)
	}
	if err := b.js.DeleteConsumer(ctx, resultsStream, ledgerConsumer); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ResultsSettled(ctx, 1); err != nil {
		t.Error(err)
	}
	if err := b.js.DeleteStream(ctx, resultsStream); err != nil {
		t.Fatal(err)
	}
	if m, err := b.ResultsMark(ctx); m != 0 || err != nil {
		t.Errorf("ResultsMark of a lost stream = %d, %v, want 0 of a new one", m, err)
	}
}

func TestReportWaitsForRoom(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx := testContext(t)
	s, err := b.js.Stream(ctx, resultsStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	report(t, agent, 1)

	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := agent.Report(short, "s", "agent-1", result(1, 2)); !errors.Is(err, ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Report to a full stream = %v, want ErrFull after the deadline", err)
	}
	reported := make(chan error, 1)
	go func() { reported <- agent.Report(ctx, "s", "agent-1", result(1, 2)) }()
	_, settle := results(t, b, 1)
	settle()
	if err := <-reported; err != nil {
		t.Error(err)
	}
}
