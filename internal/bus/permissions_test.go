package bus

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tranship/tranship/internal/work"
)

// agentPermissions is the least that agent-1 of site s needs. The list stands
// in doc.go for operators, and under deploy in the form that a server reads.
func agentPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_s.*",
			"$JS.ACK.TRANSHIP_WORK_s.>", "$JS.ACK.*.*.TRANSHIP_WORK_s.>",
			"tranship.result.s.agent-1.>", "tranship.beat.s.agent-1", "tranship.dead.work.s.>",
			"$JS.API.STREAM.INFO.KV_TRANSHIP_JOBS", "$JS.API.CONSUMER.CREATE.KV_TRANSHIP_JOBS.>",
			"$JS.API.CONSUMER.DELETE.KV_TRANSHIP_JOBS.>", "$JS.FC.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			"_INBOX_agent-1.>", "tranship.ctl.s.agent-1.>", "$SRV.>",
		}},
		Response: &server.ResponsePermission{MaxMsgs: 5, Expires: time.Minute},
	}
}

func TestAgentNeedsFewRights(t *testing.T) {
	t.Parallel()
	ns, err := launch(testContext(t), &server.Options{
		JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: "hub", JetStreamMaxStore: 8 << 30,
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "coordinator", Password: "c"},
			{Username: "agent-1", Password: "a", Permissions: agentPermissions()},
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	address := ns.Addr().String()
	b := connect(t, Options{URL: "nats://coordinator:c@" + address, Name: "coordinator"})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	agent := connect(t, Options{URL: "nats://agent-1:a@" + address, Name: "agent-1"})

	publish(t, b, item(work.Norm, 1, 1), item(work.Hi, 1, 2))
	set(t, b, 1, work.Running)
	seen := watch(t, agent)
	eventually(t, "it watches jobs", func() bool { return seen.state(1) == work.Running })

	held := take(t, agent, 2)
	if err := held[0].InProgress(testContext(t)); err != nil {
		t.Fatal(err)
	}
	report(t, agent, 2)
	ack(t, held...)
	eventually(t, "it takes, reports and acks", func() bool {
		return messages(t, b, "TRANSHIP_WORK_s") == 0 && messages(t, b, resultsStream) == 2
	})
	publishRaw(t, b, "tranship.work.s.norm.3.3", "{")
	eventually(t, "it puts an unreadable item aside", func() bool {
		if d, err := agent.Take(testContext(t), "s", 1, 0); len(d) > 0 || err != nil {
			t.Errorf("Take of an unreadable item = %v, %v", d, err)
		}
		return messages(t, b, deadStream) == 1
	})
	deadReason(t, b, "tranship.dead.work.s.norm.3.3")

	ctx, cancel := context.WithCancel(testContext(t))
	served := make(chan error, 1)
	go func() {
		served <- agent.Serve(ctx, ServiceOptions{Agent: "agent-1", Site: "s", Version: "1.0.0",
			Stats: func() any { return nil }, Drain: func() {}, Examine: func(context.Context, work.StoreCheck) []work.Check { return nil }})
	}()
	eventually(t, "it serves", func() bool { return b.Drain(ctx, "s", "agent-1") == nil })
	cancel()
	<-served

	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := agent.Report(short, "s", "agent-2", result(1, 1)); err == nil {
		t.Error("an agent reported as another")
	}
	if n := messages(t, b, resultsStream); n != 2 {
		t.Errorf("there are %d results, want 2", n)
	}
}
