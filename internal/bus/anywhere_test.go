package bus

import (
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// itemsAt returns n items of class norm for a site.
func itemsAt(site string, first, n int) []work.Item {
	list := items(work.Norm, 1, first, n)
	for i := range list {
		list[i].Site = site
	}
	return list
}

// tally takes n items for a site and counts them by the site they are of.
func tally(t *testing.T, agent *Bus, site string, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	ctx := testContext(t)
	for total := 0; total < n; {
		list, err := agent.Take(ctx, site, min(8, n-total), time.Second)
		if err != nil {
			t.Fatalf("after %d of %d items: %v", total, n, err)
		}
		for _, d := range list {
			count[d.Item.Site]++
		}
		ack(t, list...)
		total += len(list)
	}
	return count
}

func TestEveryAgentTakesOfAnySite(t *testing.T) {
	t.Parallel()
	b, first := newFleet(t, Options{})
	second := connect(t, Options{Server: b.opt.Server, Name: "agent-2"})
	if err := b.AddSite(testContext(t), "far"); err != nil {
		t.Fatal(err)
	}
	publish(t, b, itemsAt(work.AnySite, 1, 64)...)
	for agent, site := range map[*Bus]string{first: "s", second: "far"} {
		if got := tally(t, agent, site, 32); got[work.AnySite] != 32 {
			t.Errorf("at site %s came %v, want 32 of any", site, got)
		}
	}
	eventually(t, "all are acked", func() bool { return messages(t, b, anyStream) == 0 })
}

func TestOwnSiteFirstAndAnyNotStarved(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, itemsAt("s", 1, 100)...)
	publish(t, b, itemsAt(work.AnySite, 201, 20)...)
	noticed(t, b, map[work.Class]uint64{work.Norm: 100})
	if got := tally(t, agent, "s", 64); got[work.AnySite] != 64/lowerEvery || got["s"] != 64-64/lowerEvery {
		t.Errorf("of 64 items came %v, want %d of any", got, 64/lowerEvery)
	}
	if got := tally(t, agent, "s", 56); got[work.AnySite] != 16 || got["s"] != 40 {
		t.Errorf("then came %v, want all that was left", got)
	}
}

// A queue of the any site that is not there holds nothing up, and is found when
// it comes.
func TestNoAnySite(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	publish(t, b, item(work.Norm, 1, 1))
	ack(t, take(t, agent, 1)...)
	d, err := agent.Take(testContext(t), "s", 1, 50*time.Millisecond)
	if len(d) > 0 || err != nil {
		t.Fatalf("Take of nothing = %v, %v", d, err)
	}
	if agent.anywhere.open() {
		t.Error("it asks again at once for a queue that is not there")
	}
	publish(t, b, itemsAt(work.AnySite, 2, 1)...)
	agent.anywhere.close(0) // as time does
	if got := tally(t, agent, "s", 1); got[work.AnySite] != 1 {
		t.Errorf("came %v, want one of any", got)
	}
}

// An agent whose rights are of the version before goes on with its own site.
func TestNoRightOnAnySite(t *testing.T) {
	t.Parallel()
	address, b := startPasswords(t, oldPermissions())
	publish(t, b, itemsAt(work.AnySite, 1, 1)...)
	agent := connect(t, Options{URL: "nats://agent-1:a@" + address, Name: "agent-1"})
	eventually(t, "it knows that it may not", func() bool {
		if d, err := agent.Take(testContext(t), "s", 1, 50*time.Millisecond); len(d) > 0 || err != nil {
			t.Fatalf("Take = %v, %v", d, err)
		}
		return !agent.anywhere.open()
	})
	publish(t, b, item(work.Norm, 1, 2))
	ack(t, take(t, agent, 1)...)
}

// Of several queues that were asked at once, only the one that is not there is
// taken to be missing.
func TestOwnQueueIsNotBlamed(t *testing.T) {
	t.Parallel()
	_, agent := newFleet(t, Options{})
	own, other := source{workPrefix + "s", "hi"}, source{anyStream, "hi"}
	p := agent.newPull()
	if err := p.first(testContext(t), 1, []source{own, other}, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	p.close()
	if p.gone[own] || !p.gone[other] {
		t.Errorf("missing are %v, want only that of the any site", p.gone)
	}
}
