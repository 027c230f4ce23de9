package bus

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/tranship/tranship/internal/work"
)

func TestBeats(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	heard := make(chan work.Presence, 10_000)
	done := make(chan error, 1)
	go func() { done <- b.Beats(ctx, func(p work.Presence) { heard <- p }) }()
	eventually(t, "the coordinator listens", func() bool {
		if err := agent.Beat(work.Presence{Agent: "agent-0", Site: "s"}); err != nil {
			t.Fatal(err)
		}
		return len(heard) > 0
	})
	if err := agent.nc.Publish(work.BeatSubject("s", "bad"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := agent.nc.Publish(work.BeatSubject("s", "agent-1"), []byte(`{"agent":"liar","site":"x","items":3}`)); err != nil {
		t.Fatal(err)
	}
	if err := agent.Beat(work.Presence{Agent: "agent-2", Site: "s", State: "running"}); err != nil {
		t.Fatal(err)
	}
	last := map[string]work.Presence{}
	for last["agent-2"].Agent == "" {
		select {
		case p := <-heard:
			last[p.Agent] = p
		case <-ctx.Done():
			t.Fatalf("heard only %v", last)
		}
	}
	if len(last) != 2 {
		t.Errorf("heard %v, want agents 0 and 2, who say what their subjects do", last)
	}
	kept := func() bool {
		kv, err := b.js.KeyValue(ctx, agentsBucket)
		if err != nil {
			return false
		}
		e, err := kv.Get(ctx, "s.agent-2")
		return err == nil && strings.Contains(string(e.Value()), `"state":"running"`)
	}
	eventually(t, "presence is kept for people", kept)
	if err := b.js.DeleteKeyValue(ctx, agentsBucket); err != nil {
		t.Fatal(err)
	}
	if err := agent.Beat(work.Presence{Agent: "agent-2", Site: "s", State: "running"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a lost bucket is made anew", func() bool {
		_, err := b.js.KeyValue(ctx, agentsBucket)
		return err == nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Beats = %v, want the error of ctx", err)
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	drained := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- agent.Serve(ctx, ServiceOptions{
			Agent: "agent-1", Site: "s", Version: "v1.2.3-rc.1", Host: "box",
			Stats: func() any { return map[string]int{"streams": 7} },
			Drain: func() { drained <- struct{}{} },
		})
	}()
	eventually(t, "the agent listens", func() bool { return b.Drain(ctx, "s", "agent-1") == nil })
	<-drained

	var info micro.Info
	ask(t, b, "$SRV.INFO.agent", &info)
	if info.Version != "1.2.3-rc.1" || info.Metadata["agent"] != "agent-1" || info.Metadata["site"] != "s" || len(info.Endpoints) != 3 {
		t.Errorf("INFO = %+v", info)
	}
	var stats micro.Stats
	ask(t, b, "$SRV.STATS.agent", &stats)
	if len(stats.Endpoints) != 3 || string(stats.Endpoints[0].Data) != `{"streams":7}` {
		t.Errorf("STATS = %+v", stats)
	}
	var status map[string]int
	ask(t, b, "tranship.ctl.s.agent-1.status", &status)
	if status["streams"] != 7 {
		t.Errorf("status = %v", status)
	}
	if err := b.Drain(ctx, "s", "nobody"); !errors.Is(err, ErrNoAgent) {
		t.Errorf("Drain(nobody) = %v, want ErrNoAgent", err)
	}
	if err := b.Drain(ctx, "s", "*"); err == nil {
		t.Error("Drain(*) was accepted")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want the error of ctx", err)
	}
}

func TestServiceOfUnversionedBuild(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() {
		done <- agent.Serve(ctx, ServiceOptions{Agent: "a", Site: "s", Version: "(devel)",
			Stats: func() any { return nil }, Drain: func() {}})
	}()
	eventually(t, "the agent listens", func() bool { return b.Drain(ctx, "s", "a") == nil })
	agent.Close() // before ctx ends
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v, want the error of ctx", err)
	}
}

// ask requests subject and decodes the answer.
func ask(t *testing.T, b *Bus, subject string, answer any) {
	t.Helper()
	m, err := b.nc.RequestWithContext(testContext(t), subject, nil)
	if err != nil {
		t.Fatalf("request %s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		t.Fatalf("answer of %s: %v: %s", subject, err, m.Data)
	}
}
