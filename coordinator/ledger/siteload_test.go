package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func TestLoads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check := func(what string, want ...work.SiteLoad) {
		t.Helper()
		got, err := b.Loads(b.ctx(), time.Minute)
		b.must(err)
		for i := range got {
			if got[i].Oldest > time.Hour+time.Minute || got[i].Oldest < 0 {
				t.Errorf("%s: the oldest of %s waits for %v", what, got[i].Site, got[i].Oldest)
			}
			got[i].Oldest = got[i].Oldest.Truncate(time.Hour)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: Loads = %+v, want %+v", what, got, want)
		}
	}
	check("nothing there")
	b.must(b.Beat(b.ctx(), []work.Presence{
		{Agent: "a1", Site: "here", State: "running", Limit: 8, Rate: 100},
		{Agent: "a2", Site: "here", State: "draining", Limit: 8, Rate: 50},
		{Agent: "gone", Site: "there", State: "running", Limit: 8, Rate: 50},
	}))
	b.exec(`UPDATE tranship.agents SET last_seen = now() - interval '1 hour' WHERE agent = 'gone'`)
	here := work.SiteLoad{Site: "here", Agents: 1, Streams: 8, Rate: 150}
	check("agents alone", here)

	id := b.ready(5)
	b.exec(`UPDATE tranship.jobs SET planned_bytes = 700, done_bytes = 300 WHERE id = $1`, id)
	b.exec(`UPDATE tranship.items SET not_before = now() - interval '1 hour' WHERE job_id = $1 AND state = 'ready'`, id)
	b.claim(2)
	check("a job of another site", work.SiteLoad{Site: work.DefaultSite, Ready: 3, Queued: 2, Bytes: 400, Oldest: time.Hour}, here)
	_, err := b.Pause(b.ctx(), id, "tester")
	b.must(err)
	check("paused", here)
}

func TestDesiredAgents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ready, queued, perAgent, want int64 }{
		{0, 0, 32, 0}, {1, 0, 32, 1}, {0, 1, 32, 1}, {32, 0, 32, 1}, {32, 1, 32, 2}, {100_000, 512, 32, 3141}, {5, 0, 1, 5},
	} {
		if got := (work.SiteLoad{Ready: c.ready, Queued: c.queued}).Desired(c.perAgent); got != c.want {
			t.Errorf("%d ready and %d queued, %d per agent: %d agents, want %d", c.ready, c.queued, c.perAgent, got, c.want)
		}
	}
}
