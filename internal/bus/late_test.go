package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/work"
)

func TestLateRepro(t *testing.T) {
	dir := writeFleetKeys(t)
	c := startCluster(t, dir, 3)
	opt := Options{URL: c.urls(), Name: "coordinator", Credentials: filepath.Join(dir, "coordinator.creds"), Replicas: 3}
	if os.Getenv("R1") != "" {
		opt.Replicas = 1
	}
	b := connect(t, opt)
	setUp(t, b)
	if err := b.AddSite(testContext(t), "s"); err != nil {
		t.Fatal(err)
	}
	const total = 600
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
	done, stop := context.WithCancel(ctx)
	seen := make(chan *Delivery, total*2)
	var agents errgroup.Group
	for i := range 3 {
		o := opt
		o.URL, o.Name = c.nodes[i].ClientURL(), "agent"
		agent := connect(t, o)
		agents.Go(func() error {
			for done.Err() == nil {
				short, cancel := context.WithTimeout(done, time.Duration(rand.IntN(4_000))*time.Microsecond)
				list, err := agent.Take(short, "s", 1, time.Minute)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
					return err
				}
				for _, d := range list {
					_ = d.Ack()
					seen <- d
				}
			}
			return nil
		})
	}
	got := map[work.ItemID]int{}
	for stuck := false; len(got) < total && !stuck; {
		select {
		case d := <-seen:
			got[d.Item.ID]++
		case <-time.After(5 * time.Second):
			stuck = true
		}
	}
	stop()
	_ = errors.Join(feed.Wait(), agents.Wait())
	twice := 0
	for _, n := range got {
		if n > 1 {
			twice++
		}
	}
	t.Logf("got %d of %d, %d twice", len(got), total, twice)
	for _, cl := range work.Classes() {
		cons, err := b.js.Consumer(testContext(t), workPrefix+"s", string(cl))
		if err != nil {
			t.Fatal(err)
		}
		i := cons.CachedInfo()
		t.Logf("%s leader %s pending %d ackpending %d waiting %d", cl, i.Cluster.Leader, i.NumPending, i.NumAckPending, i.NumWaiting)
	}
	if len(got) < total {
		t.Fail()
	}
}
