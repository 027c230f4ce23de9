package ledger_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func TestAgents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	started := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	one := work.Presence{Agent: "one", Site: "west", Version: "v1", Host: "h\x00", PID: 7, Started: started, State: "running",
		Items: 1, Streams: 2, Limit: 3, Objects: 4, Bytes: 1 << 40, Rate: 1.5}
	namesake := one
	namesake.Site = "east"
	later := one
	later.Items, later.State = 9, "draining"
	later.Labels, later.Stores = map[string]string{"rack": "b7", "ünï": "\"'"}, []string{"old", "new"}
	later.Tuning = []work.Tuning{{Streams: 7, Why: "faster so"}}
	b.must(b.Beat(b.ctx(), nil))
	b.must(b.Beat(b.ctx(), []work.Presence{one, namesake}))
	b.must(b.Beat(b.ctx(), []work.Presence{one, later}))
	rows, err := b.Agents(b.ctx())
	b.must(err)
	if len(rows) != 2 {
		t.Fatalf("Agents = %+v, want two", rows)
	}
	if rows[0].LastSeen.IsZero() || rows[0].LastSeen.Before(rows[1].LastSeen) {
		t.Errorf("last seen %v and %v, want the later first", rows[0].LastSeen, rows[1].LastSeen)
	}
	later.Host = "h\ufffd"
	if !reflect.DeepEqual(rows[0].Presence, later) || rows[1].Site != "east" {
		t.Errorf("Agents = %+v, want %+v first", rows, later)
	}
}

// TestBeatOfAStranger: what an agent says of itself does not keep what others
// say from being noted.
func TestBeatOfAStranger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fine := work.Presence{Agent: "fine", Site: "s", Labels: map[string]string{"a": "b"}}
	nul, long := fine, fine
	nul.Agent, nul.Stores = "nul", []string{"a\x00b"}
	long.Agent, long.Labels = "long", map[string]string{"a": strings.Repeat("x", 1<<20)}
	b.must(b.Beat(b.ctx(), []work.Presence{nul, fine, long}))
	rows, err := b.Agents(b.ctx())
	b.must(err)
	if len(rows) != 3 {
		t.Fatalf("Agents = %+v, want three", rows)
	}
	for _, r := range rows {
		if r.Stores != nil || (r.Labels["a"] != "") != (r.Agent != "long") {
			t.Errorf("agent %s has the stores %q and %d labels", r.Agent, r.Stores, len(r.Labels))
		}
	}
}

// TestBeatsCross: two coordinators write the same agents in another order.
func TestBeatsCross(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var forth, back []work.Presence
	for i := range 50 {
		p := work.Presence{Agent: string(rune('a' + i)), Site: "s", Started: time.Now()}
		forth, back = append(forth, p), append([]work.Presence{p}, back...)
	}
	var wg sync.WaitGroup
	for _, beats := range [][]work.Presence{forth, back, forth, back} {
		wg.Go(func() {
			for range 5 {
				if err := b.Beat(t.Context(), beats); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSamples(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a", "b", "c")
	paused := b.create()
	_, err := b.Pause(b.ctx(), paused, "me")
	b.must(err)
	b.record(outcomes(it, "copied", "failed denied", "retry transient"))
	b.must(b.Sample(b.ctx()))
	b.must(b.Sample(b.ctx())) // within the second
	b.exec(`UPDATE tranship.samples SET at = at - interval '1 minute'`)
	b.must(b.Sample(b.ctx()))
	samples, err := b.Samples(b.ctx(), id, time.Time{})
	b.must(err)
	if len(samples) < 2 {
		t.Fatalf("Samples = %+v, want two moments", samples)
	}
	first := samples[0]
	if first.Objects != 2 || first.Failed != 1 || first.Bytes != 1 || first.At.IsZero() {
		t.Errorf("the first sample = %+v, want 2 objects, 1 failed, 1 byte", first)
	}
	rest, err := b.Samples(b.ctx(), id, first.At)
	b.must(err)
	if len(rest) >= len(samples) {
		t.Errorf("samples since the first = %+v, want it left out", rest)
	}
	none, err := b.Samples(b.ctx(), paused, time.Time{})
	b.must(err)
	if len(none) != 0 {
		t.Errorf("samples of a paused job = %+v", none)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.create(), b.create()
	_, err := b.Pause(b.ctx(), first, "odd\x00name")
	b.must(err)
	events, err := b.Events(b.ctx(), first, 0, 0)
	b.must(err)
	if len(events) != 2 || events[1].Who != "odd\ufffdname" || events[1].What != "paused" {
		t.Errorf("events of the first = %+v", events)
	}
	events, err = b.Events(b.ctx(), 0, events[0].ID, 1)
	b.must(err)
	if len(events) != 1 || events[0].Job != second {
		t.Errorf("the event after the first = %+v, want the creation of job %d", events, second)
	}
}

func TestLatestEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	first, second := b.create(), b.create()
	b.token("ci", work.ScopeRead, 0)
	latest := func(id work.JobID, before int64, limit int) (jobs []work.JobID, last int64) {
		t.Helper()
		events, err := b.LatestEvents(b.ctx(), id, before, limit)
		b.must(err)
		for _, e := range events {
			jobs, last = append(jobs, e.Job), e.ID
		}
		return jobs, last
	}
	jobs, last := latest(0, 0, 2)
	if !slices.Equal(jobs, []work.JobID{0, second}) {
		t.Errorf("the newest events are about jobs %v, want none and the second", jobs)
	}
	if jobs, _ = latest(0, last, 9); !slices.Equal(jobs, []work.JobID{first}) {
		t.Errorf("the events before are about jobs %v, want the first", jobs)
	}
	if jobs, _ = latest(first, 0, 9); !slices.Equal(jobs, []work.JobID{first}) {
		t.Errorf("the events of the first job are about %v", jobs)
	}
}
