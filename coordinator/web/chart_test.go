package web

import (
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func TestChartsOf(t *testing.T) {
	t.Parallel()
	s := &site{now: func() time.Time { return noon }}
	j := work.Job{ID: 7, State: work.Running, Counts: work.Counts{Planned: 1000}}
	samples := every(10*time.Second, 0, 100, 100, 400)
	samples[3].Failed = 30
	v := s.chartsOf(j, spans[0], samples)
	var says []string
	for _, c := range v.Charts {
		says = append(says, c.ID+" "+c.Says)
		if !strings.HasPrefix(c.Path, "M0 64V") || strings.Contains(c.Path, "NaN") {
			t.Errorf("%s is drawn as %s", c.Name, c.Path)
		}
	}
	want := "bytes 13 KiB/s on average, 29 KiB/s at most; objects 13/s on average, 30/s at most; " +
		"failed 7.5% of those that were done with; left 900 at first, 600 at last, of those found by now"
	if got := strings.Join(says, "; "); got != want {
		t.Errorf("the charts say %q, want %q", got, want)
	}
	if len(v.Rows) != 3 || v.Rows[0].Failed != "10.0%" || v.Rows[0].Remaining != "600" || v.Rows[1].Objects != "0/s" || v.Rows[2].Remaining != "900" {
		t.Errorf("the table says %+v", v.Rows)
	}
	if v.Series != "/v1/jobs/7/samples?points=300&since=2026-01-05T11%3A00%3A00Z" {
		t.Errorf("scripts read %s", v.Series)
	}
	for _, few := range [][]work.Sample{nil, every(time.Second, 5), {{At: noon}, {At: noon}}} {
		if v := s.chartsOf(j, spans[2], few); v.Charts != nil || v.Rows != nil {
			t.Errorf("of %v is drawn %+v", few, v)
		}
	}
	still := s.chartsOf(j, spans[2], every(time.Second, 5, 5, 5))
	if len(still.Charts) != 4 || !strings.Contains(still.Series, "1970-01-01") || still.Rows[0].Failed != "0%" {
		t.Errorf("of a job that stands still is drawn %+v", still)
	}
}

// TestSpans: a span ends now, or when the job did.
func TestSpans(t *testing.T) {
	t.Parallel()
	open, ended := work.Job{State: work.Running}, work.Job{State: work.Succeeded, FinishedAt: noon.Add(-24 * time.Hour)}
	for _, tt := range []struct {
		asked string
		job   work.Job
		name  string
		since time.Time
	}{
		{"", open, "1h", noon.Add(-time.Hour)}, {"", ended, "all", time.Time{}},
		{"24h", open, "24h", noon.Add(-24 * time.Hour)}, {"1h", ended, "1h", noon.Add(-25 * time.Hour)}, {"all", open, "all", time.Time{}},
	} {
		p := &params{values: map[string][]string{"span": {tt.asked}}}
		sp := readSpan(p, tt.job)
		if sp.Name != tt.name || !sp.since(tt.job, noon).Equal(tt.since) || p.err() != nil {
			t.Errorf("span %q: %+v since %s, %v", tt.asked, sp, sp.since(tt.job, noon), p.err())
		}
	}
	p := &params{values: map[string][]string{"span": {"2h"}}}
	if readSpan(p, open); p.err() == nil {
		t.Error("an unknown span is no error")
	}
}
