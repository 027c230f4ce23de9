package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// progressAt shows a job at times since a beginning, and returns what a
// terminal, or what is none, got to see.
func progressAt(live bool, jobs map[time.Duration]work.Job, at ...time.Duration) string {
	var out safeBuffer
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := begin
	p := newProgress(&console{w: &out, live: live})
	p.now = func() time.Time { return now }
	for _, d := range at {
		now = begin.Add(d)
		p.show(jobs[d])
	}
	p.end()
	return out.String()
}

var halfway = map[time.Duration]work.Job{
	0: {ID: 7, State: work.Running, Scanning: true},
	2 * time.Second: {ID: 7, State: work.Running, Scanning: true,
		Counts: work.Counts{Planned: 2000, Copied: 500, Open: 1500, PlannedBytes: 20 << 20, DoneBytes: 5 << 20}},
	4 * time.Second: {ID: 7, State: work.Running,
		Counts: work.Counts{Planned: 5000, Copied: 2000, Skipped: 400, Failed: 3, Open: 2597, Retries: 12, PlannedBytes: 100 << 20, DoneBytes: 40 << 20}},
	9 * time.Second: {ID: 7, State: work.Incomplete,
		Counts: work.Counts{Planned: 5000, Copied: 4597, Skipped: 400, Failed: 3, PlannedBytes: 100 << 20, DoneBytes: 99 << 20}},
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	got := progressAt(true, halfway, 0, 2*time.Second, 4*time.Second)
	lines := strings.Split(got, clearLine)[1:]
	want := []string{
		"job 7 running  0/0+ objects  0 B/0 B+  0 B/s",
		"job 7 running  500/2,000+ objects  5.0 MiB/20 MiB+  2.5 MiB/s",
		// 60 MiB at 10 MiB/s are 6 s; the terminal is 80 columns wide.
		"job 7 running  2,403/5,000 objects  40 MiB/100 MiB  10 MiB/s  ETA 6s  400 skip…",
		"",
	}
	if len(lines) != len(want) {
		t.Fatalf("the terminal got %q", got)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, lines[i], want[i])
		}
	}
}

func TestProgressLineNamesEverything(t *testing.T) {
	t.Parallel()
	j := halfway[4*time.Second]
	p := newProgress(&console{})
	p.now = func() time.Time { return time.Unix(0, 0) }
	got := p.measure(time.Unix(0, 0), j).text()
	for _, want := range []string{"2,403/5,000 objects", "40 MiB/100 MiB", "400 skipped", "12 retries", "3 failed"} {
		if !strings.Contains(got, want) {
			t.Errorf("the line %q does not say %q", got, want)
		}
	}
}

func TestProgressElsewhereIsNDJSON(t *testing.T) {
	t.Parallel()
	got := progressAt(false, halfway, 0, 2*time.Second, 4*time.Second, 9*time.Second)
	var lines []progressLine
	for line := range strings.Lines(got) {
		var l progressLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, l)
	}
	// The first, none within the next five seconds, and the end.
	if len(lines) != 2 || lines[0].State != work.Running || lines[1].State != work.Incomplete || lines[1].Failed != 3 {
		t.Errorf("got %s", got)
	}
}

func TestETA(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		c              work.Counts
		bytes, objects float64
		want           float64
	}{
		{"by bytes", work.Counts{Open: 10, PlannedBytes: 1000, DoneBytes: 400}, 100, 10, 6},
		{"by objects, when they are empty", work.Counts{Open: 100}, 0, 10, 10},
		{"the longer of both", work.Counts{Open: 100, PlannedBytes: 10}, 10, 10, 10},
		{"standing still", work.Counts{Open: 100, PlannedBytes: 10}, 0, 0, 0},
		{"done", work.Counts{}, 10, 10, 0},
	}
	for _, tt := range tests {
		if got := eta(work.Job{Counts: tt.c}, tt.bytes, tt.objects); got != tt.want {
			t.Errorf("%s: eta = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRateForgetsOldTimes(t *testing.T) {
	t.Parallel()
	p := newProgress(&console{})
	var last progressLine
	for s := range 100 {
		done := int64(s) << 20 // one MiB/s
		if s > 50 {
			done = 50 << 20 // and then nothing
		}
		last = p.measure(time.Unix(int64(s), 0), work.Job{State: work.Running, Counts: work.Counts{DoneBytes: done}})
	}
	if last.Rate != 0 {
		t.Errorf("the rate is %v bytes/s half a minute after the last byte, want 0", last.Rate)
	}
	if len(p.seen) > 20 {
		t.Errorf("%d points are remembered", len(p.seen))
	}
}

func TestConsoleKeepsTheLineBelow(t *testing.T) {
	t.Parallel()
	var out safeBuffer
	c := &console{w: &out, live: true}
	c.setLines("1/2")
	if _, err := c.Write([]byte("talk\n")); err != nil {
		t.Fatal(err)
	}
	c.setLines("2/2")
	c.setLines()
	if _, err := c.Write([]byte("end\n")); err != nil {
		t.Fatal(err)
	}
	want := clearLine + "1/2" + clearLine + "talk\n1/2" + clearLine + "2/2" + clearLine + "end\n"
	if got := out.String(); got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}
}
