package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// rateSpan is the time over which the shown rate is averaged.
const rateSpan = 10 * time.Second

// quietInterval is the least time between two lines of progress that no
// person watches.
const quietInterval = 5 * time.Second

// A progress shows how far one job has come: a line that is rewritten on a
// terminal, else a line of JSON every few seconds. Its methods are called by
// one goroutine.
type progress struct {
	out   *console
	now   func() time.Time
	seen  []point // of the last rateSpan
	last  time.Time
	state work.JobState
}

// A point is how far a job had come at a time.
type point struct {
	at             time.Time
	objects, bytes int64
}

func newProgress(out *console) *progress { return &progress{out: out, now: time.Now} }

// A progressLine is what a line of JSON says.
type progressLine struct {
	At           time.Time     `json:"at"`
	Job          work.JobID    `json:"job"`
	State        work.JobState `json:"state"`
	Scanning     bool          `json:"scanning"`
	Planned      int64         `json:"planned"`
	Copied       int64         `json:"copied"`
	Skipped      int64         `json:"skipped"`
	Failed       int64         `json:"failed"`
	Open         int64         `json:"open"`
	Retries      int64         `json:"retries"`
	PlannedBytes int64         `json:"planned_bytes"`
	DoneBytes    int64         `json:"done_bytes"`
	Rate         float64       `json:"bytes_per_second"`
	ETA          float64       `json:"eta_seconds,omitempty"`
	Waiting      string        `json:"waiting,omitempty"` // for an agent, because
}

// show shows the job as it is now.
func (p *progress) show(job work.Job) {
	now := p.now()
	line := p.measure(now, job)
	switch {
	case p.out.live:
		p.out.setLines(line.text())
	case !job.State.Open() || job.State != p.state || now.Sub(p.last) >= quietInterval:
		p.last, p.state = now, job.State
		b, err := json.Marshal(line)
		if err != nil {
			return // plain numbers and words cannot fail
		}
		fmt.Fprintf(p.out, "%s\n", b)
	}
}

// end takes the line away.
func (p *progress) end() {
	if p.out.live {
		p.out.setLines()
	}
}

func (p *progress) measure(now time.Time, job work.Job) progressLine {
	done := point{now, job.Copied + job.Skipped + job.Failed, job.DoneBytes}
	for len(p.seen) > 1 && now.Sub(p.seen[1].at) >= rateSpan {
		p.seen = p.seen[1:]
	}
	p.seen = append(p.seen, done)
	line := progressLine{
		At: now.UTC(), Job: job.ID, State: job.State, Scanning: job.Scanning,
		Planned: job.Planned, Copied: job.Copied, Skipped: job.Skipped, Failed: job.Failed, Open: job.Open,
		Retries: job.Retries, PlannedBytes: job.PlannedBytes, DoneBytes: job.DoneBytes,
	}
	if job.Waiting != nil {
		line.Waiting = job.Waiting.Why
	}
	first := p.seen[0]
	passed := now.Sub(first.at).Seconds()
	if passed <= 0 {
		return line
	}
	line.Rate = float64(done.bytes-first.bytes) / passed
	if !job.Scanning && job.State == work.Running {
		line.ETA = eta(job, line.Rate, float64(done.objects-first.objects)/passed)
	}
	return line
}

// eta returns the seconds that are left: by bytes or by objects, whichever
// takes longer, because many empty objects take time as well. 0 if unknown.
func eta(job work.Job, bytesRate, objectsRate float64) float64 {
	var left float64
	if rest := job.PlannedBytes - job.DoneBytes; rest > 0 && bytesRate > 0 {
		left = float64(rest) / bytesRate
	}
	if job.Open > 0 && objectsRate > 0 {
		left = max(left, float64(job.Open)/objectsRate)
	}
	return left
}

// text returns the line for people.
func (l progressLine) text() string {
	done := l.Copied + l.Skipped + l.Failed
	parts := []string{
		fmt.Sprintf("job %d %s", l.Job, l.State),
		fmt.Sprintf("%s/%s objects", count(done), count(l.Planned)+more(l.Scanning)),
		fmt.Sprintf("%s/%s", bytesText(l.DoneBytes), bytesText(l.PlannedBytes)+more(l.Scanning)),
		bytesText(int64(l.Rate)) + "/s",
	}
	if l.Waiting != "" {
		parts = append(parts, "waiting: "+text(l.Waiting))
	}
	if l.ETA > 0 {
		parts = append(parts, "ETA "+span(time.Duration(l.ETA*float64(time.Second))))
	}
	if l.Skipped > 0 {
		parts = append(parts, count(l.Skipped)+" skipped")
	}
	if l.Retries > 0 {
		parts = append(parts, count(l.Retries)+" retries")
	}
	if l.Failed > 0 {
		parts = append(parts, count(l.Failed)+" failed")
	}
	return strings.Join(parts, "  ")
}

// more marks a total that still grows.
func more(scanning bool) string {
	if scanning {
		return "+"
	}
	return ""
}
