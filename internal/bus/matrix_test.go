package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/tranship/tranship/internal/work"
)

// newKeyedFleet returns a server that asks for keys, and a coordinator's Bus on
// it with the queues of three sites. One has capitals in its name, which the
// library for JWTs would take away.
func newKeyedFleet(t *testing.T) (*Server, *Bus) {
	t.Helper()
	s := startServer(t, ServerOptions{Listen: "127.0.0.1:0"})
	b := connect(t, Options{Server: s, Name: "coordinator"})
	setUp(t, b)
	return s, b
}

func setUp(t *testing.T, b *Bus) {
	t.Helper()
	err := b.Setup(testContext(t))
	for _, site := range []string{"Fra", "fra", work.AnySite} {
		err = errors.Join(err, b.AddSite(testContext(t), site))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// identify makes an agent known: what it connects with, and its public key.
func identify(t *testing.T, a *Authority, url, agent, site string, expires time.Time) (o Options, publicKey string) {
	t.Helper()
	seed, publicKey, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.Issue(agent, site, publicKey, expires)
	if err != nil {
		t.Fatal(err)
	}
	return Options{URL: url, Name: agent, Seed: seed, JWT: func() (string, error) { return token, nil }}, publicKey
}

func TestKeyedAgentDoesAll(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	o, _ := identify(t, s.Authority(), s.URL(), "Agent-1", "Fra", time.Now().Add(time.Hour))
	agent := connect(t, o)
	doesAll(t, b, agent, "Fra", "Agent-1")
	publish(t, b, itemsAt(work.AnySite, 50, 8)...)
	if got := tally(t, agent, "Fra", 8); got[work.AnySite] != 8 {
		t.Errorf("of any site came %v", got)
	}
	publishRaw(t, b, "tranship.work.any.norm.9.9", "{")
	eventually(t, "it puts an unreadable item of any aside", func() bool {
		_, _ = agent.Take(testContext(t), "Fra", 1, 0)
		return messages(t, b, deadStream) == 2
	})
	if err := agent.nc.LastError(); err != nil {
		t.Errorf("the server refused something: %v", err)
	}
}

// forbidden is what an agent called agent-1 of site Fra must not do. Each
// subject is also tried in the form that names the domain.
var forbidden = struct{ publish, subscribe []string }{
	publish: []string{
		// Items of other sites, and those of its own beyond taking them.
		"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_fra.norm", "$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_Fra-2.hi",
		"$JS.ACK.TRANSHIP_WORK_fra.norm.1.1.1.1.0", "$JS.ACK.d.a.TRANSHIP_WORK_fra.norm.1.1.1.1.0",
		"$JS.API.STREAM.INFO.TRANSHIP_WORK_fra", "$JS.API.CONSUMER.INFO.TRANSHIP_WORK_fra.norm",
		"$JS.API.STREAM.INFO.TRANSHIP_WORK_Fra", "$JS.API.CONSUMER.INFO.TRANSHIP_WORK_Fra.norm",
		"$JS.API.STREAM.MSG.GET.TRANSHIP_WORK_fra", "$JS.API.DIRECT.GET.TRANSHIP_WORK_fra",
		"$JS.API.STREAM.MSG.GET.TRANSHIP_WORK_Fra", "$JS.API.DIRECT.GET.TRANSHIP_WORK_Fra.tranship.work.Fra.norm.1.1",
		"tranship.work.Fra.norm.1.1", "tranship.work.fra.norm.1.1", "tranship.work.any.norm.1.1",
		// Another's results, signs of life and dead letters.
		"tranship.result.Fra.agent-2.1.1", "tranship.result.fra.agent-1.1.1", "tranship.result.any.agent-1.1.1",
		"tranship.beat.Fra.agent-2", "tranship.beat.fra.agent-1", "tranship.beat.any.agent-1",
		"tranship.dead.work.fra.norm.1.1", "tranship.dead.result.Fra.agent-1.1.1", "tranship.event.1.done",
		"tranship.ctl.Fra.agent-2.drain", "tranship.ctl.Fra.agent-1.drain", "_INBOX_agent-2.x", "_INBOX_coordinator.x",
		// Results and what is kept for people.
		"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_RESULTS.ledger", "$JS.ACK.TRANSHIP_RESULTS.ledger.1.1.1.1.0",
		"$JS.API.STREAM.MSG.GET.TRANSHIP_RESULTS", "$JS.API.DIRECT.GET.TRANSHIP_RESULTS", "$JS.API.STREAM.INFO.TRANSHIP_RESULTS",
		"$JS.API.CONSUMER.CREATE.TRANSHIP_RESULTS.spy", "$JS.API.STREAM.MSG.GET.TRANSHIP_DEAD", "$JS.API.STREAM.MSG.GET.TRANSHIP_EVENTS",
		// Streams and consumers.
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.CREATE.TRANSHIP_WORK_x", "$JS.API.STREAM.UPDATE.TRANSHIP_WORK_Fra",
		"$JS.API.STREAM.DELETE.TRANSHIP_WORK_Fra", "$JS.API.STREAM.PURGE.TRANSHIP_WORK_Fra", "$JS.API.STREAM.MSG.DELETE.TRANSHIP_WORK_Fra",
		"$JS.API.STREAM.DELETE.TRANSHIP_RESULTS", "$JS.API.STREAM.PURGE.TRANSHIP_RESULTS", "$JS.API.STREAM.SNAPSHOT.TRANSHIP_RESULTS",
		"$JS.API.STREAM.RESTORE.TRANSHIP_RESULTS", "$JS.API.STREAM.LEADER.STEPDOWN.TRANSHIP_WORK_Fra",
		"$JS.API.CONSUMER.CREATE.TRANSHIP_WORK_Fra.mine", "$JS.API.CONSUMER.CREATE.TRANSHIP_WORK_Fra.mine.tranship.work.Fra.norm.1.1",
		"$JS.API.CONSUMER.CREATE.TRANSHIP_WORK_any.mine", "$JS.API.CONSUMER.DURABLE.CREATE.TRANSHIP_WORK_Fra.mine",
		"$JS.API.CONSUMER.DELETE.TRANSHIP_WORK_Fra.norm", "$JS.API.CONSUMER.PAUSE.TRANSHIP_WORK_Fra.norm", "$JS.API.CONSUMER.UNPIN.TRANSHIP_WORK_Fra.norm",
		"$JS.API.CONSUMER.RESET.TRANSHIP_WORK_Fra.norm",
		// Buckets.
		"$KV.TRANSHIP_JOBS.1", "$KV.TRANSHIP_AGENTS.Fra.agent-1", "$KV.TRANSHIP_LEDGER.mark",
		"$JS.API.STREAM.INFO.KV_TRANSHIP_AGENTS", "$JS.API.DIRECT.GET.KV_TRANSHIP_AGENTS.>", "$JS.API.STREAM.MSG.GET.KV_TRANSHIP_AGENTS",
		"$JS.API.CONSUMER.CREATE.KV_TRANSHIP_AGENTS.spy", "$JS.API.CONSUMER.CREATE.KV_TRANSHIP_LEDGER.spy",
		"$JS.API.STREAM.PURGE.KV_TRANSHIP_JOBS", "$JS.API.STREAM.DELETE.KV_TRANSHIP_JOBS", "$JS.API.STREAM.UPDATE.KV_TRANSHIP_JOBS",
		"$JS.API.STREAM.CREATE.KV_MINE",
		// The account, the servers, and other services.
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.NAMES.TRANSHIP_WORK_Fra",
		"$JS.API.CONSUMER.LIST.KV_TRANSHIP_JOBS", "$JS.API.META.LEADER.STEPDOWN",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.CLAIMS.UPDATE",
		"$SRV.PING", "$SRV.INFO.agent", "anything", "tranship",
	},
	subscribe: []string{
		">", "*", "*.>", "tranship.>", "tranship.*.>", "$JS.>", "$JS.ACK.>", "$JS.API.>", "$JS.EVENT.>", "$SYS.>", "$KV.>", "_R_.>",
		"tranship.work.Fra.>", "tranship.work.any.>", "tranship.work.Fra.norm.1.1", "tranship.result.>", "tranship.result.Fra.agent-1.>",
		"tranship.beat.>", "tranship.beat.Fra.agent-1", "tranship.event.>", "tranship.dead.>",
		"tranship.ctl.>", "tranship.ctl.Fra.>", "tranship.ctl.Fra.*.drain", "tranship.ctl.Fra.agent-2.drain", "tranship.ctl.fra.agent-1.drain",
		"_INBOX.>", "_INBOX_agent-2.>", "_INBOX_coordinator.>", "_INBOX_doctor.>", "_INBOX_agent-1", "*.x", "$KV.TRANSHIP_JOBS.>", "$KV.TRANSHIP_LEDGER.>",
		"$SRV.PING.other", "$SRV.>",
	},
}

func TestAgentMayNot(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	publish(t, b, itemsAt("Fra", 1, 1)...)
	publish(t, b, itemsAt("fra", 2, 1)...)
	if err := b.Report(testContext(t), "Fra", "agent-2", result(1, 9)); err != nil {
		t.Fatal(err)
	}
	set(t, b, 1, work.Running)
	before := census(t, b)
	o, _ := identify(t, s.Authority(), s.URL(), "agent-1", "Fra", time.Time{})
	for _, subject := range forbidden.publish {
		for _, form := range []string{subject, strings.Replace(subject, "$JS.API.", "$JS.hub.API.", 1)} {
			if err := attempt(t, o, func(nc *nats.Conn) error { return nc.PublishRequest(form, "_INBOX_agent-1.x", []byte("{}")) }); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("publish to %s: %v, want a refusal", form, err)
			}
		}
	}
	for _, subject := range forbidden.subscribe {
		for what, subscribe := range map[string]func(*nats.Conn) (*nats.Subscription, error){
			"":              func(nc *nats.Conn) (*nats.Subscription, error) { return nc.SubscribeSync(subject) },
			" with a group": func(nc *nats.Conn) (*nats.Subscription, error) { return nc.QueueSubscribeSync(subject, "agent-1") },
		} {
			err := attempt(t, o, func(nc *nats.Conn) error {
				_, err := subscribe(nc)
				return err
			})
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("subscribe to %s%s: %v, want a refusal", subject, what, err)
			}
		}
	}
	if after := census(t, b); after != before {
		t.Errorf("the queue held\n%s\nand holds\n%s", before, after)
	}
}

// attempt does something on a connection of its own and returns what the server
// says to it.
func attempt(t *testing.T, o Options, do func(*nats.Conn) error) error {
	t.Helper()
	b, err := Connect(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := do(b.nc); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	return b.nc.LastError()
}

// census says what lies in every stream.
func census(t *testing.T, b *Bus) string {
	t.Helper()
	var all []string
	lister := b.js.ListStreams(testContext(t))
	for info := range lister.Info() {
		all = append(all, fmt.Sprintf("%s %d messages, last %d, %d consumers", info.Config.Name, info.State.Msgs, info.State.LastSeq, info.State.Consumers))
	}
	if err := lister.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// Those who have no right to be there at all.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := newKeyedFleet(t)
	keys := s.trust.keys
	seed, key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := newKeyring()
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	fleet := public(keys.fleet)
	agent := func(account string, signer nkeys.KeyPair, key string, change func(*jwt.UserClaims)) string {
		c := jwt.NewUserClaims(key)
		c.SetScoped(true)
		c.Name, c.IssuerAccount, c.Tags = "agent-1", account, jwt.TagList{"site:Fra"}
		if change != nil {
			change(c)
		}
		token, err := c.Encode(signer)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	tests := []struct{ name, token string }{
		{"an expired JWT", agent(fleet, keys.agents, key, func(c *jwt.UserClaims) { c.Expires = time.Now().Add(-time.Second).Unix() })},
		{"a stranger's key", agent(fleet, stranger.agents, key, nil)},
		{"a stranger's account", agent(public(stranger.fleet), stranger.agents, key, nil)},
		{"somebody else's JWT", agent(fleet, keys.agents, otherKey, nil)},
		{"no secret needed", agent(fleet, keys.agents, key, func(c *jwt.UserClaims) { c.BearerToken = true })},
		{"rights of its own", agent(fleet, keys.agents, key, func(c *jwt.UserClaims) { c.Pub.Allow.Add(">") })},
		{"limits of its own", agent(fleet, keys.agents, key, func(c *jwt.UserClaims) { c.NatsLimits = jwt.NatsLimits{Subs: -1, Data: -1, Payload: -1} })},
		{"an agent's key for the system account", agent(public(keys.system), keys.agents, key, nil)},
		{"nonsense", "nonsense"},
		{"an empty JWT", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mustNotConnect(t, Options{URL: s.URL(), Name: "agent-1", Seed: seed, JWT: func() (string, error) { return tt.token, nil }})
		})
	}
	good := agent(fleet, keys.agents, key, nil)
	connect(t, Options{URL: s.URL(), Name: "agent-1", Seed: seed, JWT: func() (string, error) { return good, nil }})
	mustNotConnect(t, Options{URL: s.URL(), Name: "agent-1"})
}

func mustNotConnect(t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Second)
	defer cancel()
	b, err := Connect(ctx, o)
	if err == nil {
		b.Close()
		t.Fatal("it connected")
	}
	if ctx.Err() != nil {
		t.Errorf("%v; want a refusal at once", err)
	}
}

// A JWT without a site, or with the site of a wildcard, gives no rights on items.
func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	s, _ := newKeyedFleet(t)
	_, key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ agent, site, key string }{
		{"*", "Fra", key}, {">", "Fra", key}, {"", "Fra", key}, {"a.b", "Fra", key}, {"{{name()}}", "Fra", key},
		{"agent-1", "*", key}, {"agent-1", ">", key}, {"agent-1", "", key}, {"agent-1", "any", key}, {"agent-1", "a.b", key},
		{"coordinator", "Fra", key}, {"doctor", "Fra", key}, {"tranship", "Fra", key},
		{"agent-1", "Fra", ""}, {"agent-1", "Fra", "U"}, {"agent-1", "Fra", public(s.trust.keys.fleet)},
	}
	for _, tt := range tests {
		if token, err := s.Authority().Issue(tt.agent, tt.site, tt.key, time.Time{}); err == nil {
			t.Errorf("Issue(%q, %q, %q) = %s, want an error", tt.agent, tt.site, tt.key, token)
		}
	}
}

// The server publishes answers and items wherever a request or a consumer aims
// them, with rights of its own. What is aimed at us changes nothing.
func TestAimedAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	rogueOptions, _ := identify(t, s.Authority(), s.URL(), "rogue", "fra", time.Time{})
	honestOptions, _ := identify(t, s.Authority(), s.URL(), "honest", "Fra", time.Time{})
	rogue, honest := connect(t, rogueOptions), connect(t, honestOptions)
	set(t, b, 1, work.Running)
	jobs := watch(t, honest)
	eventually(t, "it watches jobs", func() bool { return jobs.state(1) == work.Running })

	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 2)
	var heard, drained, examined atomicCount
	go func() { ended <- b.Beats(ctx, func(work.Presence) { heard.add() }) }()
	go func() {
		ended <- honest.Serve(ctx, ServiceOptions{Agent: "honest", Site: "Fra", Version: "1.0.0", Stats: func() any { return nil },
			Drain: drained.add, Examine: func(context.Context, work.StoreCheck) []work.Check { examined.add(); return nil }})
	}()
	eventually(t, "the honest agent serves", func() bool {
		_, err := b.ExamineStore(ctx, "Fra", "honest", work.StoreCheck{Store: "mem://a"})
		return err == nil
	})
	asked := examined.get()

	targets := []string{
		"tranship.ctl.Fra.honest.drain", "tranship.ctl.Fra.honest.examine", "tranship.beat.Fra.honest",
		"tranship.result.Fra.honest.1.1", "tranship.work.Fra.norm.1.1", "$KV.TRANSHIP_JOBS.1",
	}
	for i, target := range targets {
		publish(t, b, itemsAt("fra", 100+i, 1)...)
		for _, request := range []string{
			"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_fra.norm", // an item
			"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_fra.hi",   // that there is none
			"$JS.API.STREAM.INFO.KV_TRANSHIP_JOBS",             // an answer
		} {
			m := &nats.Msg{Subject: request, Reply: target, Data: []byte(`{"batch":1,"no_wait":true}`)}
			if err := rogue.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, rogue)
		aimConsumer(t, rogue, fmt.Sprintf("aim-%d", i), target)
	}
	if err := honest.Beat(work.Presence{Agent: "honest", Site: "Fra"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the honest agent is heard", func() bool { return heard.get() > 0 })
	// Everything that was aimed before a request of ours has come before it.
	if err := b.Drain(ctx, "Fra", "honest"); err != nil {
		t.Fatal(err)
	}
	if n := drained.get(); n != 1 {
		t.Errorf("the honest agent was asked to drain %d times, want once", n)
	}
	if n := examined.get() - asked; n != 0 {
		t.Errorf("the honest agent looked at %d stores that nobody asked of", n)
	}
	if n := heard.get(); n != 1 {
		t.Errorf("%d signs of life were heard, want one", n)
	}
	if got := jobs.state(1); got != work.Running {
		t.Errorf("job 1 is %q to agents, want running", got)
	}
	eventually(t, "results that are none are put aside", func() bool {
		list, _, err := b.Results(ctx, 10, 50*time.Millisecond)
		if len(list) > 0 || err != nil {
			t.Fatalf("Results = %v, %v, want none", list, err)
		}
		return messages(t, b, resultsStream) == 0
	})
	eventually(t, "items that are none are put aside", func() bool {
		list, err := honest.Take(ctx, "Fra", 1, 50*time.Millisecond)
		if len(list) > 0 || err != nil {
			t.Fatalf("Take = %v, %v, want none", list, err)
		}
		return messages(t, b, deadStream) >= 2
	})
	cancel()
	<-ended
	<-ended
}

// What the server is made to do by an answer that is aimed at its own API, with
// rights that the agent does not have, is made good like any other loss.
func TestAimedDeletionIsHealed(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	o, _ := identify(t, s.Authority(), s.URL(), "rogue", "fra", time.Time{})
	rogue := connect(t, o)
	o, _ = identify(t, s.Authority(), s.URL(), "honest", "Fra", time.Time{})
	honest := connect(t, o)
	for i, target := range []string{
		"$JS.API.STREAM.DELETE.TRANSHIP_WORK_Fra", "$JS.API.CONSUMER.DELETE.TRANSHIP_WORK_Fra.norm",
		"$JS.API.STREAM.DELETE.TRANSHIP_RESULTS", "$JS.API.CONSUMER.DELETE.TRANSHIP_RESULTS.ledger",
		"$JS.API.STREAM.DELETE.KV_TRANSHIP_JOBS",
	} {
		m := &nats.Msg{Subject: "$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_fra.norm", Reply: target, Data: []byte(`{"batch":1,"no_wait":true}`)}
		if err := rogue.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		flush(t, rogue)
		b.sawSite("Fra", time.Now().Add(-lookAgain)) // or it takes that long to be noticed
		id := work.ItemID(i + 1)
		eventually(t, "an item to pass after "+target, func() bool {
			_ = b.Publish(testContext(t), itemsAt("Fra", int(id), 1))
			d, err := honest.Take(testContext(t), "Fra", 1, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			ack(t, d...)
			return len(d) == 1 && d[0].Item.ID == id
		})
		reported := make(chan error, 1)
		go func() { reported <- honest.Report(testContext(t), "Fra", "honest", result(1, id)) }()
		_, settle := results(t, b, 1)
		settle()
		if err := <-reported; err != nil {
			t.Error(err)
		}
		set(t, b, 1, work.Running)
	}
}

// aimConsumer has the server deliver the state of jobs to a subject, unless it
// refuses to, as it does where that is a loop.
func aimConsumer(t *testing.T, rogue *Bus, name, target string) {
	t.Helper()
	body := fmt.Sprintf(`{"stream_name":"KV_TRANSHIP_JOBS","config":{"name":%q,"deliver_subject":%q,"deliver_policy":"all","ack_policy":"none","flow_control":true,"idle_heartbeat":1000000000}}`, name, target)
	m, err := rogue.nc.RequestWithContext(testContext(t), rogue.api+"CONSUMER.CREATE.KV_TRANSHIP_JOBS."+name, []byte(body))
	if err != nil {
		t.Fatalf("consumer aimed at %s: %v", target, err)
	}
	if refused := strings.Contains(string(m.Data), `"error"`); refused != strings.HasPrefix(target, "$KV.") {
		t.Fatalf("consumer aimed at %s: %s", target, m.Data)
	}
}

func TestViewerMayOnlyLook(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	publish(t, b, itemsAt("Fra", 1, 1)...)
	set(t, b, 1, work.Running)
	for _, file := range []string{adminFile, viewerFile, filepath.Join(keysFolder, keysFile)} {
		info, err := os.Stat(filepath.Join(s.dir, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", file, info, err)
		}
	}
	o := Options{URL: s.URL(), Name: "viewer", Credentials: s.ViewerCredentials()}
	viewer := connect(t, o)
	ctx := testContext(t)
	info, err := viewer.js.Stream(ctx, workPrefix+"Fra")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := info.GetMsg(ctx, 1); err != nil || m.Subject != "tranship.work.Fra.norm.1.1" {
		t.Errorf("view of a message = %v, %v", m, err)
	}
	kv, err := viewer.js.KeyValue(ctx, jobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "1"); err != nil || !strings.Contains(string(e.Value()), "running") {
		t.Errorf("view of a job = %v, %v", e, err)
	}
	if _, err := viewer.js.AccountInfo(ctx); err != nil {
		t.Error(err)
	}
	for _, c := range viewer.Examine(ctx) {
		if c.State == work.CheckFailing {
			t.Errorf("what a viewer sees: %+v", c)
		}
	}
	if err := viewer.nc.LastError(); err != nil {
		t.Errorf("the server refused something: %v", err)
	}
	before := census(t, b)
	for _, subject := range []string{
		"$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_Fra.norm", "$JS.ACK.TRANSHIP_WORK_Fra.norm.1.1.1.1.0", "$JS.API.CONSUMER.MSG.NEXT.TRANSHIP_RESULTS.ledger",
		"$JS.API.STREAM.PURGE.TRANSHIP_WORK_Fra", "$JS.API.STREAM.DELETE.TRANSHIP_WORK_Fra", "$JS.API.STREAM.MSG.DELETE.TRANSHIP_WORK_Fra",
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.UPDATE.TRANSHIP_DEAD", "$JS.API.CONSUMER.CREATE.TRANSHIP_WORK_Fra.mine",
		"$JS.API.CONSUMER.DELETE.TRANSHIP_WORK_Fra.norm", "$JS.API.CONSUMER.PAUSE.TRANSHIP_WORK_Fra.norm", "$JS.API.CONSUMER.CREATE.TRANSHIP_RESULTS.mine",
		"tranship.work.Fra.norm.1.1", "tranship.result.Fra.agent-1.1.1", "tranship.beat.Fra.agent-1", "tranship.ctl.Fra.agent-1.drain",
		"tranship.dead.x", "tranship.event.1.x", "$KV.TRANSHIP_JOBS.1", "$KV.TRANSHIP_LEDGER.mark", "$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE",
	} {
		if err := attempt(t, o, func(nc *nats.Conn) error { return nc.PublishRequest(subject, "_INBOX_viewer.x", nil) }); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v, want a refusal", subject, err)
		}
	}
	for _, subject := range []string{">", "tranship.>", "_INBOX_coordinator.>", "_INBOX_*.>", "$SYS.>", "$JS.>"} {
		err := attempt(t, o, func(nc *nats.Conn) error {
			_, err := nc.SubscribeSync(subject)
			return err
		})
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("subscribe to %s: %v, want a refusal", subject, err)
		}
	}
	if after := census(t, b); after != before {
		t.Errorf("the queue held\n%s\nand holds\n%s", before, after)
	}
}

func TestAdminMayAll(t *testing.T) {
	t.Parallel()
	s, b := newKeyedFleet(t)
	publish(t, b, itemsAt("Fra", 1, 3)...)
	admin := connect(t, Options{URL: s.URL(), Name: "admin", Credentials: filepath.Join(s.dir, adminFile)})
	if err := admin.PurgeJob(testContext(t), "Fra", 1); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, b, workPrefix+"Fra"); n != 0 {
		t.Errorf("%d items are left", n)
	}
	if _, err := admin.js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "X"}); err != nil {
		t.Error(err)
	}
	err := attempt(t, Options{URL: s.URL(), Credentials: filepath.Join(s.dir, adminFile)}, func(nc *nats.Conn) error {
		_, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", nil, time.Second)
		if err == nil {
			t.Error("the system account answers an admin")
		}
		return nil
	})
	if err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		t.Error(err)
	}
}
