package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func TestLiveViewSaysWhatMatters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	p := newProgress(&console{live: true})
	p.now = func() time.Time { return now }
	v := &view{progress: p,
		agents: []work.AgentRow{
			{Presence: work.Presence{Agent: "a1", Site: "fra", Streams: 12, Limit: 64, Rate: 5 << 20, Moving: []work.JobID{7}}, LastSeen: now},
			{Presence: work.Presence{Agent: "idle", Site: "fra", Moving: []work.JobID{}}, LastSeen: now},
			{Presence: work.Presence{Agent: "gone", Site: "fra", Moving: []work.JobID{7}}, LastSeen: now.Add(-time.Hour)},
		},
		failures: []api.Tally{{Tally: work.Tally{Name: "denied", Count: 3, Key: "x\x1b[2J", Text: "no"}}},
	}
	job := api.Job{Job: work.Job{ID: 7, Name: "photos", Source: "s3://old", Target: "s3://new", State: work.Running,
		Counts:  work.Counts{Planned: 100, Copied: 40, Skipped: 7, Failed: 3, Open: 50, PlannedBytes: 100 << 20, DoneBytes: 50 << 20},
		Stalled: &work.Stall{Since: now, Why: "no agent"}},
		Progress: &api.Progress{ObjectsRate: 20, ETA: now.Add(90 * time.Second), Basis: "the last 5 minutes"}}
	got := strings.Join(v.lines(now, job), "\n")
	want := `job 7 running  photos  s3://old → s3://new
████████████░░░░░░░░░░░░  50.0%  50/100 objects  50 MiB/100 MiB
0 B/s  20 objects/s  ends in 1m30s  (the last 5 minutes)
copied 40  skipped 7  failed 3  open 50  retries 0
stalled since 2026-01-01T12:00:00Z: no agent
  3 denied, for example "x\x1b[2J": no
  fra/a1  12 of 64 streams  5.0 MiB/s`
	if got != want {
		t.Errorf("the view is\n%s\nwant\n%s", got, want)
	}
}

func TestConsoleRewritesSeveralLines(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	c := &console{w: &out, live: true}
	c.setLines("1", "2", "3")
	c.setLines("1", "2", "3") // nothing new
	c.setLines("4", "5")
	c.setLines()
	up := func(n string) string { return "\r\x1b[" + n + "A\x1b[J" }
	if got, want := out.String(), clearLine+"1\n2\n3"+up("2")+"4\n5"+up("1"); got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}
}
