package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

// startReplicated returns a coordinator's Bus on three servers that replicate
// the queue of site s, and an agent's at each of them.
func startReplicated(t *testing.T) (coordinator *Bus, agents []*Bus) {
	t.Helper()
	if os.Getenv("TRANSHIP_LONG") != "1" {
		t.Skip("runs a cluster: set TRANSHIP_LONG=1, as .ci/run does")
	}
	dir := writeFleetKeys(t)
	c := startCluster(t, dir, 3)
	o := Options{URL: c.urls(), Name: "coordinator", Credentials: filepath.Join(dir, "coordinator.creds"), Replicas: 3}
	coordinator = connect(t, o)
	setUp(t, coordinator)
	if err := coordinator.AddSite(testContext(t), "s"); err != nil {
		t.Fatal(err)
	}
	for _, node := range c.nodes {
		o.URL, o.Name = node.ClientURL(), "agent"
		agents = append(agents, connect(t, o))
	}
	return coordinator, agents
}

// trickle publishes items one by one, in all classes.
func trickle(ctx context.Context, b *Bus, total int) error {
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
}

// Between servers an item may come after the answer that its batch is complete,
// or when the Take that asked for it has ended. It is not lost.
func TestNothingIsLostBetweenServers(t *testing.T) {
	t.Parallel()
	b, agents := startReplicated(t)
	const total = 200
	ctx := testContext(t)
	done, stop := context.WithCancel(ctx)
	var all errgroup.Group
	all.Go(func() error { return trickle(ctx, b, total) })
	seen := make(chan work.ItemID, total*2)
	for _, agent := range agents {
		all.Go(func() error {
			for done.Err() == nil {
				short, cancel := context.WithTimeout(done, time.Duration(rand.IntN(4_000))*time.Microsecond)
				list, err := agent.Take(short, "s", 1, time.Minute)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
					return err
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
	got := map[work.ItemID]bool{}
	for len(got) < total && ctx.Err() == nil {
		select {
		case id := <-seen:
			got[id] = true
		case <-ctx.Done():
			t.Errorf("got %d of %d items: the others were lost on their way", len(got), total)
		}
	}
	stop()
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

// An item that comes after Take has ended is the next Take's, and goes to
// another agent if there is none.
func TestLateItems(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	a := takeLate(t, b, agent, 1)
	if d := take(t, agent, 1)[0]; d.Item.ID != 1 || d.Deliveries != 1 || d.Asked != a.asked {
		t.Errorf("took item %d, delivery %d, asked for at %v; want 1, 1, %v", d.Item.ID, d.Deliveries, d.Asked, a.asked)
	}
	a = takeLate(t, b, agent, 2)
	agent.inbox.expire(a)
	if d := take(t, b, 1)[0]; d.Item.ID != 2 {
		t.Errorf("took item %d, want 2", d.Item.ID)
	}
}

// A consumer with replicas says that a batch is complete before it sends the
// batch's last message.
func TestAnswerBeforeMessage(t *testing.T) {
	t.Parallel()
	_, agent := newFleet(t, Options{})
	p := agent.newPull()
	r, err := agent.inbox.book(&request{from: source{workPrefix + "s", "hi"}, pull: p, asked: time.Now(), left: 1})
	if err != nil {
		t.Fatal(err)
	}
	complete := nats.Header{"Status": {"409"}, "Description": {"Batch Completed"}, "Nats-Pending-Messages": {"0"}}
	agent.inbox.receive(r.line, &nats.Msg{Subject: r.answer, Header: complete})
	if r.over {
		t.Error("it is over before the message has come")
	}
	agent.inbox.receive(r.line, &nats.Msg{Subject: "tranship.work.s.hi.1.1", Reply: "$JS.ACK.TRANSHIP_WORK_s.hi.1.1.1.1.0"})
	if !r.over || p.count() != 1 {
		t.Errorf("over is %v with %d messages, want true with 1", r.over, p.count())
	}
}

// What is on its way when an agent goes is not left to AckWait.
func TestCloseGivesBack(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	takeLate(t, b, agent, 1)
	agent.Close()
	take(t, b, 1)
}

// takeLate has an item come to an agent whose Take has ended.
func takeLate(t *testing.T, b, agent *Bus, id work.ItemID) (late *arrival) {
	t.Helper()
	agent.inbox.lie = time.Hour // an eighth of AckWait, that is
	if d, err := agent.Take(waiting(t, agent), "s", 1, time.Minute); len(d) > 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("Take = %v, %v, want that it was canceled", d, err)
	}
	publish(t, b, item(work.Norm, 1, id))
	eventually(t, "it comes", func() bool {
		agent.inbox.mu.Lock()
		defer agent.inbox.mu.Unlock()
		for _, late = range agent.inbox.shelf[source{workPrefix + "s", string(work.Norm)}] {
			return true
		}
		return false
	})
	return late
}

// A late suspect that nobody takes is not counted as one more delivery.
func TestLateSuspectLeaves(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	if _, err := agent.Take(waiting(t, agent), "s", 1, time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	it := item(work.Norm, 1, 1)
	it.Suspect = true
	publish(t, b, it)
	eventually(t, "it leaves", func() bool { return messages(t, b, workPrefix+"s") == 0 })
}

// waiting returns a context that ends once an agent waits in all classes.
func waiting(t *testing.T, agent *Bus) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		defer cancel()
		for _, c := range work.Classes() {
			for ctx.Err() == nil {
				if r, _ := agent.inbox.standing(source{workPrefix + "s", string(c)}); r != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	return ctx
}
