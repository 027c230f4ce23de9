package bus

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tranship/tranship/internal/work"
)

// oldPermissions are what deploy told operators to give agent-1 of site s
// before there was a site any.
func oldPermissions() *server.Permissions {
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

// startPasswords runs a server with users of its own, as one that is not
// embedded may have them, and returns its address and a coordinator's Bus.
func startPasswords(t *testing.T, agent *server.Permissions) (address string, coordinator *Bus) {
	t.Helper()
	ns, err := launch(testContext(t), &server.Options{
		JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: "hub", JetStreamMaxStore: 8 << 30,
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "coordinator", Password: "c"},
			{Username: "agent-1", Password: "a", Permissions: agent},
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	address = ns.Addr().String()
	b := connect(t, Options{URL: "nats://coordinator:c@" + address, Name: "coordinator"})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return address, b
}

// Also agents with the rights of the version before do what they did.
func TestAgentNeedsFewRights(t *testing.T) {
	t.Parallel()
	address, b := startPasswords(t, oldPermissions())
	agent := connect(t, Options{URL: "nats://agent-1:a@" + address, Name: "agent-1"})
	doesAll(t, b, agent, "s", "agent-1", anyStream) // which that version did not know
}

// doesAll fails unless the agent can do all that agents do, and was refused
// nothing but what is about one of the names.
func doesAll(t *testing.T, b, agent *Bus, site, name string, may ...string) {
	t.Helper()
	ctx := testContext(t)
	list := append(itemsAt(site, 1, 1), itemsAt(site, 2, 1)...)
	list[1].Class = work.Hi
	publish(t, b, list...)
	set(t, b, 1, work.Running)
	seen := watch(t, agent)
	eventually(t, "it watches jobs", func() bool { return seen.state(1) == work.Running })

	held := takeAt(t, agent, site, 2)
	if err := held[0].InProgress(ctx); err != nil {
		t.Fatal(err)
	}
	if err := agent.Report(ctx, site, name, result(1, 2)); err != nil {
		t.Fatal(err)
	}
	ack(t, held...)
	eventually(t, "it takes, reports and acks", func() bool {
		return messages(t, b, workPrefix+site) == 0 && messages(t, b, resultsStream) == 1
	})
	publishRaw(t, b, "tranship.work."+site+".norm.3.3", "{")
	eventually(t, "it puts an unreadable item aside", func() bool {
		if d, err := agent.Take(ctx, site, 1, 0); len(d) > 0 || err != nil {
			t.Errorf("Take of an unreadable item = %v, %v", d, err)
		}
		return messages(t, b, deadStream) == 1
	})
	deadReason(t, b, "tranship.dead.work."+site+".norm.3.3")

	heard := make(chan work.Presence, 100)
	listening, stop := context.WithCancel(ctx)
	listened := make(chan error, 1)
	go func() { listened <- b.Beats(listening, func(p work.Presence) { heard <- p }) }()
	eventually(t, "it beats", func() bool {
		if err := agent.Beat(work.Presence{Agent: name, Site: site}); err != nil {
			t.Fatal(err)
		}
		return len(heard) > 0
	})
	stop()
	<-listened

	serving, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- agent.Serve(serving, ServiceOptions{Agent: name, Site: site, Version: "1.0.0",
			Stats: func() any { return nil }, Drain: func() {}, Examine: func(context.Context, work.StoreCheck) []work.Check { return nil }})
	}()
	eventually(t, "it serves", func() bool { return b.Drain(ctx, site, name) == nil })
	if _, err := b.ExamineStore(ctx, site, name, work.StoreCheck{Store: "mem://a"}); err != nil {
		t.Error(err)
	}
	cancel()
	<-served
	if err := agent.Healthy(ctx); err != nil {
		t.Error(err)
	}
	err := agent.nc.LastError()
	if err != nil && !slices.ContainsFunc(may, func(s string) bool { return strings.Contains(err.Error(), s) }) {
		t.Errorf("the server refused something: %v", err)
	}
}

// takeAt takes n items of a site.
func takeAt(t *testing.T, b *Bus, site string, n int) []*Delivery {
	t.Helper()
	var got []*Delivery
	eventually(t, "items to come", func() bool {
		d, err := b.Take(testContext(t), site, n-len(got), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d...)
		return len(got) >= n
	})
	return got
}
