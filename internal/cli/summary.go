package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// evidence counts the objects of a job by what became of them.
type evidence struct {
	failures, skips, dropped, proofs []work.Tally
}

// readEvidence reads it from the ledger of this process.
func readEvidence(ctx context.Context, l *ledger.Ledger, id work.JobID) (e evidence, err error) {
	if e.failures, err = l.FailureTally(ctx, id); err != nil {
		return e, err
	}
	for about, list := range map[work.About]*[]work.Tally{
		work.AboutSkipped: &e.skips, work.AboutDropped: &e.dropped, work.AboutProof: &e.proofs} {
		if *list, err = l.Remarks(ctx, id, about); err != nil {
			return e, err
		}
	}
	return e, nil
}

// evidenceOf returns what a server said.
func evidenceOf(t api.Tallies) evidence {
	plain := func(list []api.Tally) []work.Tally {
		tallies := make([]work.Tally, len(list))
		for i, t := range list {
			tallies[i] = t.Tally
		}
		return tallies
	}
	return evidence{plain(t.Failures), plain(t.Skips), plain(t.Dropped), plain(t.Proofs)}
}

// summarize tells people how a job ended, what was verified, what was left
// behind or out and, fault by fault, what failed.
func (p *program) summarize(job work.Job, e evidence) {
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, count(n)+" "+what)
		}
	}
	add(job.Copied, "copied")
	left := int64(0) // skipped because of what they are
	for _, t := range e.skips {
		if !api.StoodThere(t.Name) {
			left += t.Count
		}
	}
	add(job.Skipped-left, "skipped: they stood there already")
	add(left, "skipped by policy")
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
	if s := api.Proven(job, e.proofs); s != "" {
		p.say("  %s", s)
	}
	for _, t := range e.dropped {
		p.say("  %s left behind by %s objects%s", text(t.Name), count(t.Count), suchAs(t))
	}
	for _, t := range e.skips {
		if !api.StoodThere(t.Name) {
			p.say("  %s skipped because %s%s", count(t.Count), text(api.Because(t.Name)), suchAs(t))
		}
	}
	for _, t := range e.failures {
		p.say("  %s", tallyLine(t))
	}
}

// tallyLine says how many objects failed for one reason, with an example.
func tallyLine(t work.Tally) string {
	line := fmt.Sprintf("%s %s%s", count(t.Count), t.Name, suchAs(t))
	if t.Text != "" {
		line += ": " + work.Quote(t.Text)
	}
	return line
}

// suchAs names the tally's example, if it has one.
func suchAs(t work.Tally) string {
	if t.Key == "" {
		return ""
	}
	return ", for example " + work.Quote(t.Key)
}
