package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nats-io/nats.go"

	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startServer runs a server of the test's own; fields of o that are not set
// get a folder of the test and a free port.
func startServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.MaxStore == 0 {
		o.MaxStore = 8 << 30 // only a limit
	}
	s, err := StartServer(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, o Options) *Bus {
	t.Helper()
	b, err := Connect(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// newFleet returns a coordinator's and an agent's Bus on a server of their
// own, with the queue of site s set up.
func newFleet(t *testing.T, o Options) (coordinator, agent *Bus) {
	t.Helper()
	o.Server = startServer(t, ServerOptions{})
	o.Name = "coordinator"
	coordinator = connect(t, o)
	if err := coordinator.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := coordinator.AddSite(testContext(t), "s"); err != nil {
		t.Fatal(err)
	}
	o.Name = "agent-1"
	return coordinator, connect(t, o)
}

func item(class work.Class, job work.JobID, id work.ItemID) work.Item {
	return work.Item{
		Job: job, ID: id, Kind: work.Copy, Class: class, Site: "s", Epoch: 1, Attempt: 1,
		Source: "mem://a/", Target: "mem://b/", Options: work.DefaultOptions(),
		Objects: []work.Object{{Key: fmt.Sprintf("key-%d", id), Size: 1}},
	}
}

func items(class work.Class, job work.JobID, first, n int) []work.Item {
	var list []work.Item
	for i := range n {
		list = append(list, item(class, job, work.ItemID(first+i)))
	}
	return list
}

func result(job work.JobID, id work.ItemID) work.Result {
	return work.Result{Job: job, Item: id, Kind: work.Copy, Epoch: 1,
		Outcomes: []work.ObjectOutcome{{Outcome: work.Copied}}, At: time.Unix(1700000000, 0).UTC()}
}

// publish publishes items that the queue must take.
func publish(t *testing.T, b *Bus, list ...work.Item) {
	t.Helper()
	for i, r := range b.Publish(testContext(t), list) {
		if r.Err != nil || !r.Stored {
			t.Fatalf("Publish(item %d) = %+v, want stored", list[i].ID, r)
		}
	}
}

// take takes exactly n items.
func take(t *testing.T, b *Bus, n int) []*Delivery {
	t.Helper()
	ctx := testContext(t)
	var got []*Delivery
	for len(got) < n {
		d, err := b.Take(ctx, "s", n-len(got), time.Second)
		if err != nil {
			t.Fatalf("Take after %d of %d items: %v", len(got), n, err)
		}
		got = append(got, d...)
	}
	if len(got) > n {
		t.Fatalf("Take handed out %d items, want at most %d", len(got), n)
	}
	return got
}

func ack(t *testing.T, list ...*Delivery) {
	t.Helper()
	for _, d := range list {
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

func flush(t *testing.T, b *Bus) {
	t.Helper()
	if err := b.nc.FlushWithContext(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// noticed waits until the consumers of site s know of so many items of each
// class: the server tells them only after it has confirmed what was published.
func noticed(t *testing.T, b *Bus, want map[work.Class]uint64) {
	t.Helper()
	for class, n := range want {
		eventually(t, "items to be noticed", func() bool {
			c, err := b.js.Consumer(testContext(t), workPrefix+"s", string(class))
			if err != nil {
				t.Fatal(err)
			}
			info, err := c.Info(testContext(t))
			return err == nil && info.NumPending >= n
		})
	}
}

// messages returns how many messages a stream holds.
func messages(t *testing.T, b *Bus, stream string) int {
	t.Helper()
	s, err := b.js.Stream(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// publishRaw stores a message that no program of ours would send.
func publishRaw(t *testing.T, b *Bus, subject, body string) {
	t.Helper()
	if _, err := b.js.PublishMsg(testContext(t), &nats.Msg{Subject: subject, Data: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// deadReason returns why the newest message of the dead stream lies there.
func deadReason(t *testing.T, b *Bus, subject string) (reason, body string) {
	t.Helper()
	s, err := b.js.Stream(testContext(t), deadStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(testContext(t), subject)
	if err != nil {
		t.Fatalf("dead letter %s: %v", subject, err)
	}
	return m.Header.Get("Tranship-Reason"), string(m.Data)
}

// An atomicCount counts calls.
type atomicCount struct{ n atomic.Int64 }

func (c *atomicCount) add()     { c.n.Add(1) }
func (c *atomicCount) get() int { return int(c.n.Load()) }
