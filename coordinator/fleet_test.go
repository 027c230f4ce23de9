package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// patience bounds every wait of a test; only a failure takes that long.
const patience = 2 * time.Minute

// ackWait is how long an item may stay with a silent agent, unless a bundle
// says otherwise.
const ackWait = 6 * time.Second

func TestMain(m *testing.M) { ledgertest.Main(m) }

// A bundle is a ledger, a queue and stores, and what works with them.
type bundle struct {
	t      testing.TB
	url    string // of the ledger
	ledger *ledger.Ledger
	server *bus.Server
	stores storage.Drivers
	// reconcile is how long items may be on the queue before coordinators that
	// are started from then on look for them.
	reconcile time.Duration
	// stalled is after how long they say that a job is; 0: the default.
	stalled time.Duration
	ackWait time.Duration
	script  atomic.Pointer[func(storagetest.Call) storagetest.Kind] // of faulty stores
}

func setup(t testing.TB) *bundle {
	t.Helper()
	server, err := bus.StartServer(t.Context(), bus.ServerOptions{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Open: true, MaxStore: 4 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b := &bundle{t: t, server: server, reconcile: time.Second, ackWait: ackWait}
	b.restore(ledgertest.URL(t))
	b.stores = storage.Drivers{"mem": memstore.Open, "faulty": b.openFaulty, "null": openNull}
	return b
}

// restore makes the database the ledger of coordinators that are started from
// then on.
func (b *bundle) restore(url string) {
	b.t.Helper()
	l, err := ledger.Open(b.t.Context(), url, ledger.Options{Connections: 4, Log: b.log("ledger")})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { l.Close() })
	b.url, b.ledger = url, l
}

// openFaulty opens faulty://name/prefix: the memory store of that name, which
// fails as the bundle's script says.
func (b *bundle) openFaulty(ctx context.Context, u *url.URL) (storage.Store, error) {
	mem := *u
	mem.Scheme = "mem"
	s, err := memstore.Open(ctx, &mem)
	if err != nil {
		return nil, err
	}
	return storagetest.Faulty(s, storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
		if f := b.script.Load(); f != nil {
			return (*f)(c)
		}
		return ""
	}}), nil
}

// fail sets the script of faulty stores.
func (b *bundle) fail(script func(storagetest.Call) storagetest.Kind) { b.script.Store(&script) }

// hold lets the first n writes of faulty stores pass and holds the others
// until release is called. reached is closed when the first is held.
func (b *bundle) hold(n int64) (reached <-chan struct{}, release func()) {
	var count atomic.Int64
	full, gate := make(chan struct{}), make(chan struct{})
	b.fail(func(c storagetest.Call) storagetest.Kind {
		if c.Op != "put" && c.Op != "copy" {
			return ""
		}
		switch nth := count.Add(1); {
		case nth == n+1:
			close(full)
			<-gate
		case nth > n:
			<-gate
		}
		return ""
	})
	var once atomic.Bool
	release = func() {
		if once.CompareAndSwap(false, true) {
			close(gate)
		}
	}
	b.t.Cleanup(release)
	return full, release
}

func (b *bundle) connect(name string) *bus.Bus {
	b.t.Helper()
	conn, err := bus.Connect(b.t.Context(), bus.Options{Server: b.server, Name: name, AckWait: b.ackWait})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

// coordinator runs a coordinator until stop is called or the test ends.
func (b *bundle) coordinator(name string) (c *Coordinator, stop func()) {
	b.t.Helper()
	conn := b.connect(name)
	c, stop = b.coordinatorOn(name, conn)
	// An agent that finds no queue yet looks again a second later.
	b.until("the queue is set up", func() bool { return conn.AddSite(b.t.Context(), work.DefaultSite) == nil })
	return c, stop
}

// coordinatorOn runs a coordinator on a connection that may not work.
func (b *bundle) coordinatorOn(name string, conn *bus.Bus) (c *Coordinator, stop func()) {
	cfg := config.Default().Coordinator
	cfg.Reconcile = config.Duration(b.reconcile)
	if b.stalled > 0 {
		cfg.Stalled = config.Duration(b.stalled)
	}
	c = New(cfg, Deps{
		HTTP:   config.HTTP{Open: true},
		Ledger: b.ledger, Bus: conn, Log: b.log(name), Metrics: prometheus.NewRegistry(), Version: "test",
	})
	return c, b.run(name, c.Run)
}

// agent runs an agent until stop is called or the test ends.
func (b *bundle) agent(name string) (stop func()) {
	b.t.Helper()
	return b.run(name, b.newAgent(name, b.connect(name), b.stores).Run)
}

func (b *bundle) newAgent(name string, conn *bus.Bus, stores storage.Drivers) *agent.Agent {
	b.t.Helper()
	cfg := config.Default().Agent
	cfg.Name, cfg.Streams, cfg.Memory, cfg.Grace = name, 16, 16<<20, config.Duration(time.Second)
	a, err := agent.New(cfg, agent.Deps{
		Bus: conn, Stores: stores, Log: b.log(name), Metrics: prometheus.NewRegistry(), Version: "test",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bundle) run(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			b.t.Errorf("%s: %v", name, err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) log(name string) *slog.Logger {
	h := slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})
	return slog.New(h).With("at", name)
}

// job asks c for a copy between two stores.
func (b *bundle) job(c *Coordinator, source, target string, o work.Options) work.Job {
	b.t.Helper()
	j, _, err := jobs{c}.CreateJob(b.t.Context(), work.NewJob{
		Name: b.t.Name(), Source: source, Target: target, Options: o, SubmittedBy: "tester",
	}, work.Idempotency{})
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// await waits until the job is as asked for.
func (b *bundle) await(id work.JobID, what string, is func(work.Job) bool) work.Job {
	b.t.Helper()
	var j work.Job
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if j, err = b.ledger.Job(b.t.Context(), id); err != nil {
			b.t.Fatal(err)
		}
		if is(j) {
			return j
		}
	}
	b.t.Fatalf("job is not %s: %+v", what, j)
	return j
}

// ended waits for the job's end, which must be the one given, and proves it.
func (b *bundle) ended(id work.JobID, want work.JobState) work.Job {
	b.t.Helper()
	j := b.await(id, "ended", func(j work.Job) bool { return !j.State.Open() })
	if j.State != want {
		b.t.Errorf("job ended %s (%s), want %s", j.State, j.Error, want)
	}
	balance, err := b.ledger.Balance(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if !balance.Holds() || balance.OpenItems > 0 {
		b.t.Errorf("the balance does not hold: %+v", balance)
	}
	return j
}

// counts checks a job's counters.
func (b *bundle) counts(j work.Job, copied, skipped, failed int64) {
	b.t.Helper()
	got := [...]int64{j.Planned, j.Copied, j.Skipped, j.Failed, j.Open}
	if want := [...]int64{copied + skipped + failed, copied, skipped, failed, 0}; got != want {
		b.t.Errorf("planned, copied, skipped, failed, open = %v, want %v", got, want)
	}
}

// fill puts n objects into a new memory store and returns its name.
func (b *bundle) fill(n int) (name string) {
	b.t.Helper()
	name = fmt.Sprintf("%s-%d", strings.ToLower(strings.ReplaceAll(b.t.Name(), "/", "-")), storeNumber.Add(1))
	s := b.open("mem://" + name + "/from")
	for i := range n {
		key := fmt.Sprintf("folder %d/object-%06d", i%7, i)
		body := fmt.Appendf(nil, "this is %s", key)
		if _, err := s.Put(b.t.Context(), key, bytes.NewReader(body), int64(len(body)), storage.PutOptions{}); err != nil {
			b.t.Fatal(err)
		}
	}
	return name
}

var storeNumber atomic.Int64

func (b *bundle) open(raw string) storage.Store {
	b.t.Helper()
	s, err := b.stores.Open(b.t.Context(), raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// same compares two stores object by object, bytes included.
func (b *bundle) same(source, target string) {
	b.t.Helper()
	from, to := b.contents(source), b.contents(target)
	if len(from) != len(to) {
		b.t.Errorf("%d objects at the source, %d at the target", len(from), len(to))
	}
	for key, body := range from {
		if got, ok := to[key]; !ok || got != body {
			b.t.Errorf("%q is %q at the target, want %q", key, got, body)
			return
		}
	}
}

func (b *bundle) contents(raw string) map[string]string {
	b.t.Helper()
	s := b.open(raw)
	all := make(map[string]string)
	err := s.List(b.t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, o := range page {
			body, _, err := s.Get(b.t.Context(), o.Key, "", 0, -1)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			all[o.Key] = string(text)
			if err := body.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// jetstream returns a connection of an operator.
func (b *bundle) jetstream() jetstream.JetStream {
	b.t.Helper()
	nc, err := nats.Connect(b.server.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}
