package web

import (
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for want, tot := range map[string]totals{
		"No job is open.": {},
		"No job is running: what is open is paused.":   {Paused: 2},
		"One job is running, and nothing of it moves.": {Running: 1},
		"None of the 3 running jobs moves.":            {Running: 3},
		"The job that is running moves.":               {Running: 1, Moving: 1},
		"All 2 running jobs move.":                     {Running: 2, Moving: 2},
		"1 of the 2 running jobs moves.":               {Running: 2, Moving: 1, Paused: 1},
		"24 of the newest 25 running jobs move.":       {Running: 25, Moving: 24, MoreOpen: true},
		"All of the newest 25 running jobs move.":      {Running: 25, Moving: 25, MoreOpen: true},
		"None of the newest 25 running jobs moves.":    {Running: 25, MoreOpen: true},
	} {
		if got := tot.Verdict(); got != want {
			t.Errorf("Verdict of %+v = %q, want %q", tot, got, want)
		}
	}
	row := func(id work.JobID, state work.JobState, rate float64, eta time.Duration) jobRow {
		p := api.Progress{ObjectsRate: rate}
		if eta > 0 {
			p.ETA = noon.Add(eta)
		}
		return jobRow{Job: api.Job{Job: work.Job{ID: id, State: state}, Progress: &p}}
	}
	got := sum([]jobRow{row(1, work.Running, 1, time.Hour), row(2, work.Running, 2, 2*time.Hour), row(3, work.Running, 0, 0), row(4, work.Paused, 0, 0)}, nil, false)
	if got.Moving != 2 || got.Running != 3 || got.Paused != 1 || got.Last == nil || got.Last.ID != 2 {
		t.Errorf("sum = %+v", got)
	}
}

// TestWorkersOn finds the agents that move a job, also those of a version that
// does not say which jobs they move.
func TestWorkersOn(t *testing.T) {
	t.Parallel()
	tuned := func(source, target string) []work.Tuning {
		return []work.Tuning{{Source: source, Target: target, Streams: 4}}
	}
	agent := func(name string, rate float64, moving []work.JobID, tuning []work.Tuning) agentRow {
		return agentRow{AgentRow: work.AgentRow{Presence: work.Presence{Agent: name, Rate: rate, Moving: moving, Tuning: tuning}}}
	}
	silent := agent("silent", 1, []work.JobID{7}, nil)
	silent.Silent = true
	j := work.Job{ID: 7, Source: "s3://shop/originals/?region=x", Target: "gs://shop-eu"}
	var got []string
	for _, w := range workersOn(j, []agentRow{
		agent("idle", 9, []work.JobID{}, tuned("s3://shop", "gs://shop-eu")),
		agent("slow", 1, []work.JobID{3, 7}, nil),
		agent("fast", 2, []work.JobID{7}, tuned("s3://shop/", "gs://shop-eu")),
		agent("older", 3, nil, tuned("s3://shop", "gs://shop-eu")),
		agent("other bucket", 3, nil, tuned("s3://sho", "gs://shop-eu")),
		agent("other", 3, []work.JobID{8}, nil), silent,
	}) {
		name := w.Agent
		if w.Tuned != nil {
			name += " 4"
		}
		got = append(got, name)
	}
	if want := []string{"older 4", "fast 4", "slow"}; !slices.Equal(got, want) {
		t.Errorf("workers are %q, want %q", got, want)
	}
}

// TestAgentWords says how agents are that are not there, and what needs a person
// of it: nothing where somebody shut them out, or they never came.
func TestAgentWords(t *testing.T) {
	t.Parallel()
	s := newSite(Deps{Ledger: newFake(), Commander: newFake()})
	s.now = func() time.Time { return noon }
	revoked, joined := &work.Identity{JoinedAt: noon, RevokedAt: noon}, &work.Identity{JoinedAt: noon}
	for want, a := range map[string]struct {
		work.AgentRow
		lost bool
	}{
		"running":    {work.AgentRow{LastSeen: noon, Identity: joined}, false},
		"silent":     {work.AgentRow{LastSeen: noon.Add(-time.Minute), Identity: joined}, true},
		"revoked":    {work.AgentRow{LastSeen: noon.Add(-time.Minute), Identity: revoked}, false},
		"never seen": {work.AgentRow{Identity: joined}, false},
	} {
		a.Site, a.State = "s", "running"
		row := s.agentRow(a.AgentRow)
		if row.Word() != want || row.Lost() != a.lost || (len(silent([]agentRow{row}, noon)) > 0) != a.lost || (bySite([]agentRow{row})[0].Silent > 0) != a.lost {
			t.Errorf("an agent that is %s is %s, lost: %v", want, row.Word(), row.Lost())
		}
	}
}

// TestGroups cuts pages out of a fleet; each site's sums are of all of it.
func TestGroups(t *testing.T) {
	t.Parallel()
	var rows []agentRow
	for i, site := range []string{"a", "a", "a", "b", "c", "c"} {
		r := agentRow{AgentRow: work.AgentRow{LastSeen: noon, Presence: work.Presence{Agent: string(rune('0' + i)), Site: site, Streams: 2, Limit: 4, Rate: 1}}}
		r.Silent = i == 2
		rows = append(rows, r)
	}
	got := groups(rows, 2, 5)
	if len(got) != 3 || got[0].Agents != 3 || got[0].Silent != 1 || got[0].Streams != 4 || len(got[0].Rows) != 1 || got[0].Rows[0].Agent != "2" ||
		len(got[1].Rows) != 1 || got[2].Agents != 2 || len(got[2].Rows) != 1 || got[2].Rows[0].Agent != "4" {
		t.Errorf("groups = %+v", got)
	}
	if got := groups(rows, 6, 6); got != nil {
		t.Errorf("beyond the end: %+v", got)
	}
}
