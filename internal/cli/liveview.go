package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// lookEvery is how often a live view asks for what the stream of a job does not
// say: agents and failures.
const lookEvery = 2 * time.Second

// most bounds the lines of a live view about agents, failures and jobs each.
const most = 8

// A view is what people see of a job while they watch it: several lines that
// are rewritten in place on a terminal, and a line of JSON now and then
// elsewhere. Its methods are called by one goroutine.
type view struct {
	*progress
	client *api.Client

	looked   time.Time
	agents   []work.AgentRow
	failures []api.Tally
}

func (p *program) newView(c *api.Client) *view {
	return &view{progress: newProgress(p.stderr), client: c}
}

// show shows the job as it is now.
func (v *view) show(ctx context.Context, job api.Job) {
	if !v.out.live {
		v.progress.show(job.Job)
		return
	}
	now := v.now()
	if now.Sub(v.looked) >= lookEvery {
		v.look(ctx, job)
		v.looked = now
	}
	v.out.setLines(v.lines(now, job)...)
}

// look asks for what else is shown. What does not answer is shown as it was.
func (v *view) look(ctx context.Context, job api.Job) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	if agents, err := v.client.Agents(ctx); err == nil {
		v.agents = agents
	}
	if job.Failed > 0 {
		if t, err := v.client.Tallies(ctx, job.ID); err == nil {
			v.failures = t.Failures
		}
	}
}

func (v *view) lines(now time.Time, job api.Job) []string {
	l := v.measure(now, job.Job)
	head := fmt.Sprintf("job %d %s", job.ID, job.State)
	if job.Name != "" {
		head += "  " + text(job.Name)
	}
	lines := []string{
		head + "  " + text(job.Source) + " → " + text(job.Target),
		fmt.Sprintf("%s  %s/%s objects  %s/%s", meter(fraction(job)), count(l.Copied+l.Skipped+l.Failed), count(l.Planned)+more(l.Scanning),
			bytesText(l.DoneBytes), bytesText(l.PlannedBytes)+more(l.Scanning)),
		v.speed(l, job),
		fmt.Sprintf("copied %s  skipped %s  failed %s  open %s  retries %s", count(l.Copied), count(l.Skipped), count(l.Failed),
			count(l.Open), count(l.Retries)),
	}
	if s := job.Stalled; s != nil {
		lines = append(lines, "stalled since "+stamp(s.Since)+": "+text(s.Why))
	}
	for i, t := range v.failures {
		if i == most {
			break
		}
		lines = append(lines, "  "+tallyLine(t.Tally))
	}
	return append(lines, agentLines(job.ID, v.agents, now)...)
}

func (v *view) speed(l progressLine, job api.Job) string {
	s := bytesText(int64(l.Rate)) + "/s"
	if p := job.Progress; p != nil {
		s += fmt.Sprintf("  %.0f objects/s", p.ObjectsRate)
		if !p.ETA.IsZero() {
			least := ""
			if p.AtLeast {
				least = "at least "
			}
			return s + "  ends in " + least + span(p.ETA.Sub(v.now())) + "  (" + text(p.Basis) + ")"
		}
		if p.Basis != "" {
			s += "  (" + text(p.Basis) + ")"
		}
	}
	return s
}

// agentLines names the agents that move bytes of the job.
func agentLines(id work.JobID, agents []work.AgentRow, now time.Time) []string {
	var lines []string
	left := 0
	for _, a := range agents {
		moving := false
		for _, j := range a.Moving {
			moving = moving || j == id
		}
		switch {
		case !moving || now.Sub(a.LastSeen) > time.Minute:
		case len(lines) == most:
			left++
		default:
			line := fmt.Sprintf("  %s/%s  %d of %d streams  %s/s", text(a.Site), text(a.Agent), a.Streams, a.Limit, bytesText(int64(a.Rate)))
			if a.Trouble != "" {
				line += "  " + text(a.Trouble)
			}
			lines = append(lines, line)
		}
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more agents", left))
	}
	return lines
}

// fraction is how much of a job is done: of its bytes, or of its objects where
// these have none.
func fraction(job api.Job) float64 {
	switch {
	case job.PlannedBytes > 0:
		return float64(job.DoneBytes) / float64(job.PlannedBytes)
	case job.Planned > 0:
		return float64(job.Planned-job.Open) / float64(job.Planned)
	}
	return 0
}

// meter draws a fraction.
func meter(f float64) string {
	const width = 24
	full := int(min(max(f, 0), 1) * width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full) + fmt.Sprintf(" %5.1f%%", 100*f)
}
