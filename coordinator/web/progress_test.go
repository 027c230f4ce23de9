package web

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// every makes samples a step apart, the last at noon.
func every(step time.Duration, objects ...int64) []work.Sample {
	var list []work.Sample
	for i, n := range objects {
		list = append(list, work.Sample{At: noon.Add(-step * time.Duration(len(objects)-1-i)), Objects: n, Bytes: n * 1000})
	}
	return list
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	running := func(planned, done, failed int64) work.Job {
		return work.Job{State: work.Running, Counts: work.Counts{Planned: planned, Copied: done, Failed: failed,
			Open: planned - done - failed, PlannedBytes: planned * 1000, DoneBytes: done * 1000}}
	}
	with := func(j work.Job, change func(*work.Job)) work.Job {
		change(&j)
		return j
	}
	steady := every(10*time.Second, 0, 100, 200, 300, 400, 500, 600)
	tests := []struct {
		name    string
		job     work.Job
		samples []work.Sample
		objects float64
		eta     time.Duration // from now; negative: none
		basis   string
	}{
		{"steady", running(1200, 600, 0), steady, 10, 60 * time.Second, "at the rate of the last 60 s"},
		{"bound by bytes", with(running(1200, 600, 0), func(j *work.Job) { j.PlannedBytes = 12_600_000 }), steady, 10, 1200 * time.Second, "at the rate"},
		{"failed bytes will not come", running(1200, 300, 300), every(10*time.Second, 0, 100, 200, 300, 400, 500, 600), 10, 60 * time.Second, "at the rate"},
		{"still listing", with(running(1200, 600, 0), func(j *work.Job) { j.Scanning = true }), steady, 10, 60 * time.Second, "found so far"},
		{"all found is done", with(running(600, 600, 0), func(j *work.Job) { j.Scanning = true }), steady, 10, -1, "still being listed"},
		{"slow batches", running(3000, 1500, 0), every(100*time.Second, 0, 500, 1000, 1500), 5, 300 * time.Second, "at the rate of the last 5 min"},
		{"one sample", running(1200, 600, 0), every(time.Second, 600), 0, -1, "nothing has finished"},
		{"the counters are ahead of the samples", running(1200, 600, 0), []work.Sample{{At: noon.Add(-30 * time.Second), Objects: 300, Bytes: 300000}}, 10, 60 * time.Second, "last 30 s"},
		{"no samples", running(1200, 600, 0), nil, 0, -1, "nothing has finished"},
		{"nothing found yet", with(running(0, 0, 0), func(j *work.Job) { j.Scanning = true }), nil, 0, -1, "the source is being listed"},
		{"standing still", running(1200, 600, 0), every(10*time.Second, 600, 600, 600, 600), 0, -1, "nothing has finished"},
		{"old samples", running(1200, 600, 0), []work.Sample{{At: noon.Add(-3 * time.Hour)}, {At: noon.Add(-2 * time.Hour), Objects: 600}}, 0, -1, "nothing has finished"},
		{"a retry took failures back", running(1200, 600, 0), every(10*time.Second, 0, 200, 400, 600, 200, 400, 600), 1000. / 60, 36 * time.Second, "at the rate"},
		{"for ever", running(math.MaxInt64/4000, 600, 0), steady, 10, -1, "too slow to name a date"},
		{"paused", with(running(1200, 600, 0), func(j *work.Job) { j.State = work.Paused }), steady, 0, -1, "paused"},
		{"ended", with(running(600, 600, 0), func(j *work.Job) {
			j.State, j.StartedAt, j.FinishedAt = work.Succeeded, noon.Add(-5*time.Minute), noon.Add(-4*time.Minute)
		}), steady, 10, -1, "ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Estimate(tt.job, tt.samples, noon)
			eta := time.Duration(-1)
			if !p.ETA.IsZero() {
				eta = p.ETA.Sub(noon)
			}
			if math.Abs(p.ObjectsRate-tt.objects) > 0.01 || eta != tt.eta || !strings.Contains(p.Basis, tt.basis) {
				t.Errorf("got %.2f objects/s, ETA in %s, %q; want %.2f, %s, %q", p.ObjectsRate, eta, p.Basis, tt.objects, tt.eta, tt.basis)
			}
			if p.Fraction < 0 || p.Fraction > 1 || math.IsNaN(p.Fraction) || p.AtLeast != tt.job.Scanning {
				t.Errorf("fraction %v, at least %v", p.Fraction, p.AtLeast)
			}
		})
	}
}

func TestFraction(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		job  work.Job
		want float64
	}{
		{work.Job{State: work.Running}, 0},
		{work.Job{State: work.Succeeded}, 1},
		{work.Job{State: work.JobFailed}, 0},
		{work.Job{State: work.Running, Counts: work.Counts{Planned: 4, Copied: 1, Open: 3}}, 0.25},
		{work.Job{State: work.Incomplete, Counts: work.Counts{Planned: 4, Copied: 3, Failed: 1}}, 1},
	} {
		if got := fraction(tt.job); got != tt.want {
			t.Errorf("fraction(%+v) = %v, want %v", tt.job, got, tt.want)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	objects := func(s work.Sample) int64 { return s.Objects }
	rates, mean := buckets(every(10*time.Second, 0, 100, 100, 400), chartBuckets, objects)
	if len(rates) != 3 || rates[0] != 10 || rates[1] != 0 || rates[2] != 30 || math.Abs(mean-13.33) > 0.01 {
		t.Errorf("rates %v, mean %v", rates, mean)
	}
	var many []int64
	for i := range int64(1000) {
		many = append(many, i*7)
	}
	rates, mean = buckets(every(time.Second, many...), chartBuckets, objects)
	total := 0.0
	for _, r := range rates {
		total += r
	}
	if len(rates) != chartBuckets || math.Abs(total/chartBuckets-7) > 0.01 || math.Abs(mean-7) > 0.01 {
		t.Errorf("%d rates, mean %v and %v, want 7", len(rates), total/chartBuckets, mean)
	}
	for _, few := range [][]work.Sample{nil, every(time.Second, 5), {{At: noon}, {At: noon, Objects: 5}}} {
		if rates, _ := buckets(few, chartBuckets, objects); rates != nil {
			t.Errorf("buckets(%v) = %v", few, rates)
		}
	}
}

func TestAttention(t *testing.T) {
	t.Parallel()
	job := func(id work.JobID, state work.JobState, site string, change func(*jobRow)) jobRow {
		var j jobRow
		j.ID, j.State, j.Site, j.Href = id, state, site, "/jobs/"+id.String()
		if change != nil {
			change(&j)
		}
		return j
	}
	agent := func(name, site, state string, silent time.Duration, streams int) agentRow {
		a := agentRow{Silent: silent > agentSilent}
		a.Agent, a.Site, a.State, a.Streams, a.LastSeen = name, site, state, streams, noon.Add(-silent)
		return a
	}
	stuck := func(a agentRow, trouble string) agentRow {
		a.Trouble = trouble
		return a
	}
	still := func(cause work.StallCause, why string, ago time.Duration) func(*jobRow) {
		return func(j *jobRow) {
			j.Stalled = &work.Stall{Job: j.ID, Since: noon.Add(-ago), Cause: cause, Why: why, Next: "Do " + string(cause) + "."}
		}
	}
	two := []jobRow{job(1, work.Running, "a", still(work.StallUnknown, "none knows", time.Hour)),
		job(2, work.Running, "a", still(work.StallUnknown, "none knows", 2*time.Hour)),
		job(3, work.Running, "a", still(work.StallBusy, "others move", time.Hour))}
	tests := []struct {
		name        string
		failing     []failure
		open, ended []jobRow
		agents      []agentRow
		want        []string // begins of the texts, in order
	}{
		{name: "nothing"},
		{name: "all well", open: []jobRow{job(1, work.Running, "a", nil)}, agents: []agentRow{agent("x", "a", "running", 0, 3)}},
		{name: "no agent", open: []jobRow{job(1, work.Running, "a", nil)}, want: []string{"Job 1 is waiting for an agent: no agent is at site a."}},
		{name: "agent elsewhere", open: []jobRow{job(1, work.Running, "a", nil), job(2, work.Running, "a", nil)},
			agents: []agentRow{agent("x", "b", "running", 0, 0)}, want: []string{"Jobs 1, 2 are waiting for an agent: no agent is at site a."}},
		{name: "agent drains", open: []jobRow{job(1, work.Running, "a", nil)}, agents: []agentRow{agent("x", "a", "draining", 0, 9)},
			want: []string{"Job 1 is waiting for an agent: every agent at site a is about to stop"}},
		{name: "no agent that knows the store", open: []jobRow{job(1, work.Running, "a", func(j *jobRow) { j.Source = "store://old/x/" })},
			agents: []agentRow{agent("x", "a", "running", 0, 0)}, want: []string{"Job 1 is waiting for an agent: no agent at site a knows the store old."}},
		{name: "any agent will do", open: []jobRow{job(1, work.Running, work.AnySite, nil)}, agents: []agentRow{agent("x", "a", "running", 0, 0)}},
		{name: "agent silent", open: []jobRow{job(1, work.Running, "a", nil)}, agents: []agentRow{agent("x", "a", "running", time.Minute, 9)},
			want: []string{"Job 1 is waiting for an agent", "Agent x has fallen silent"}},
		{name: "agent taken away", agents: []agentRow{agent("x", "a", "running", 2*agentLost, 0)}},
		{name: "two agents silent", agents: []agentRow{agent("x", "a", "running", time.Minute, 0), agent("y", "a", "running", time.Minute, 0)},
			want: []string{"2 agents have fallen silent: x, y"}},
		{name: "agent in trouble", agents: []agentRow{stuck(agent("x", "a", "running", 0, 0), "expired\x1b")},
			want: []string{`Agent x cannot work: expired\x1b.`}},
		{name: "agents in trouble", agents: []agentRow{stuck(agent("x", "a", "running", 0, 0), "expired"), agent("z", "a", "running", 0, 0),
			stuck(agent("y", "a", "running", 0, 0), "expired")}, want: []string{"2 agents cannot work (x, y): expired."}},
		{name: "agent silent in trouble", agents: []agentRow{stuck(agent("x", "a", "running", time.Minute, 0), "expired")},
			want: []string{"Agent x has fallen silent"}},
		{name: "paused needs none", open: []jobRow{job(1, work.Paused, "a", nil)}},
		{name: "stalled", open: []jobRow{job(1, work.Running, "a", still(work.StallFault, "no\x1b", time.Hour))},
			agents: []agentRow{agent("x", "a", "running", 0, 0)},
			want:   []string{`Job 1 is stalled, nothing has moved since 2026-01-05 11:00:00 UTC (1 h ago): no\x1b.`}},
		{name: "stalled together", open: two, agents: []agentRow{agent("x", "a", "running", 0, 1)},
			want: []string{"Jobs 1, 2 are stalled, nothing has moved since 2026-01-05 10:00:00 UTC (2 h ago): none knows.", "Job 3 is stalled"}},
		{name: "stalled without an agent", open: []jobRow{job(1, work.Running, "a", still(work.StallNoAgent, "no agent", time.Hour))},
			want: []string{"Job 1 is stalled"}},
		{name: "failures", open: []jobRow{job(1, work.Running, "a", func(j *jobRow) { j.Failed = 1 })},
			agents: []agentRow{agent("x", "a", "running", 0, 0)}, want: []string{"Job 1: 1 object given up"}},
		{name: "urgent first", failing: []failure{{"agents", "are missing"}, {"nats", "has no space left"}},
			ended: []jobRow{job(3, work.Incomplete, "a", func(j *jobRow) { j.Failed = 2000 }), job(4, work.JobFailed, "a", func(j *jobRow) { j.Error = "no\nbucket" }), job(5, work.Succeeded, "a", nil)},
			want:  []string{"The coordinator's nats has no space left.", `Job 4 could not list its source whole: no\x0abucket`, "Job 3 ended with 2,000 objects given up"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := attention(tt.failing, tt.open, tt.ended, tt.agents, noon)
			if len(got) != len(tt.want) {
				t.Fatalf("got %+v, want %q", got, tt.want)
			}
			for i, n := range got {
				if n.Stall && n.Bad == strings.Contains(n.Text, "others move") {
					t.Errorf("a job that waits for its turn needs nobody, every other that stands still does: %+v", n)
				}
				if !strings.HasPrefix(n.Text, tt.want[i]) || n.Do == "" {
					t.Errorf("notice %d is %+v, want %q", i, n, tt.want[i])
				}
			}
		})
	}
}
