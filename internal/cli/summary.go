package cli

import (
	"fmt"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// summarize tells people how a job ended and, fault by fault, what failed.
func (p *program) summarize(job work.Job, failures []work.Tally) {
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, count(n)+" "+what)
		}
	}
	add(job.Copied, "copied")
	add(job.Skipped, "skipped: they stood there already")
	add(job.Failed, "failed")
	add(job.Open, "left open")
	if len(parts) == 0 {
		parts = append(parts, "no objects")
	}
	ran := ""
	if !job.StartedAt.IsZero() && !job.FinishedAt.IsZero() {
		ran = ", in " + took(job)
	}
	p.say("job %d %s: %s; %s of %s%s", job.ID, job.State, strings.Join(parts, ", "),
		bytesText(job.DoneBytes), bytesText(job.PlannedBytes), ran)
	for _, t := range failures {
		p.say("  %s", tallyLine(t))
	}
}

// tallyLine says how many objects failed for one reason, with an example.
func tallyLine(t work.Tally) string {
	line := fmt.Sprintf("%s %s", count(t.Count), t.Name)
	if t.Key != "" {
		line += ", for example " + work.Quote(t.Key)
	}
	if t.Text != "" {
		line += ": " + work.Quote(t.Text)
	}
	return line
}
