package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// explain says why a job stands still, as far as the ledger can know: here and
// nowhere else, so that page, command line, metrics and events say the same.
func (l *Ledger) explain(ctx context.Context, s standingJob, rule StallRule, crew []crewman) (work.Stall, error) {
	stall := work.Stall{Job: s.Job, Since: s.Since.UTC(), Ready: s.Ready, Queued: s.Queued}
	failed, err := l.lastFault(ctx, s)
	if err != nil {
		return stall, err
	}
	stall.Cause, stall.Why, stall.Next = cause(s, rule, crew, failed)
	return stall, nil
}

// A crewman is an agent at the site of a job.
type crewman struct {
	Agent, Site, State, Trouble string
	LastSeen                    time.Time
	Here                        bool // it was heard from lately
	Stores                      *string
}

// crewOf returns the agents that take items of a site, those heard from lately
// first.
func (l *Ledger) crewOf(ctx context.Context, site string, gone time.Duration) (crew []crewman, err error) {
	const query = `
		SELECT agent, site, state, trouble, stores, last_seen AS lastseen,
			last_seen > now() - $2::bigint * interval '1 microsecond' AS here
		FROM agents
		WHERE site = $1 OR $1 = 'any'
		ORDER BY last_seen DESC
		LIMIT 1000`

	err = l.db.SelectContext(ctx, &crew, query, site, gone.Microseconds())
	return crew, err
}

// A mishap is what went wrong with something that is tried again.
type mishap struct {
	Fault work.Fault
	Error string
}

// lastFault returns what last went wrong with a job since it stands still; a
// mishap without a fault if nothing did.
func (l *Ledger) lastFault(ctx context.Context, s standingJob) (m mishap, err error) {
	// What is tried again is due last.
	const query = `
		SELECT coalesce(o.one ->> 'fault', p.fault) AS fault, coalesce(o.one ->> 'error', p.error) AS error
		FROM (VALUES ('scan'), ('copy'), ('begin'), ('part'), ('finish')) AS k (kind)
		CROSS JOIN LATERAL (
			(SELECT parent FROM items WHERE job_id = $1 AND kind = k.kind AND state = 'ready' ORDER BY not_before DESC LIMIT 16)
			UNION ALL
			(SELECT parent FROM items WHERE job_id = $1 AND kind = k.kind AND state = 'queued' ORDER BY looked_at DESC LIMIT 16)
		) i
		JOIN items p ON p.id = i.parent AND p.done_at >= $2
		LEFT JOIN LATERAL (
			SELECT one
			FROM jsonb_array_elements(CASE jsonb_typeof(p.result) WHEN 'array' THEN p.result ELSE '[]' END) AS one
			WHERE one ->> 'outcome' IN ('retry', 'changed') AND one ->> 'fault' <> ''
			LIMIT 1
		) o ON true
		WHERE coalesce(o.one ->> 'fault', p.fault) <> ''
		ORDER BY p.done_at DESC, p.id DESC
		LIMIT 1`

	err = l.db.GetContext(ctx, &m, query, s.Job, s.Since)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return m, err
}

// cause works out why a job stands still and what to do about it: pure, so that
// it can be tested.
func cause(s standingJob, rule StallRule, crew []crewman, failed mishap) (c work.StallCause, why, next string) {
	var there []work.Presence
	var trouble *crewman
	for i, a := range crew {
		if !a.Here {
			continue
		}
		there = append(there, a.presence())
		if a.Trouble != "" && (trouble == nil || a.Agent < trouble.Agent) { // the same each time
			trouble = &crew[i]
		}
	}
	wait := work.Job{Site: s.Site, Source: s.Source, Target: s.Target}.Awaits(there)
	switch {
	case rule.QueueDown:
		return work.StallQueue, "the coordinator cannot reach the queue",
			"Look at the NATS server and at the coordinator's log. Once the queue answers, the job goes on by itself."
	case wait != nil && len(there) == 0:
		return work.StallNoAgent, wait.Why + lastSeen(crew), wait.Next
	case wait != nil:
		return work.StallNoAgent, wait.Why, wait.Next
	case trouble != nil:
		return work.StallTrouble, "agent " + trouble.Agent + " cannot work: " + trouble.Trouble,
			"Mend the cause. The job goes on by itself then."
	case failed.Fault != "":
		return work.StallFault, fmt.Sprintf("what was tried since then has to be tried again (%s): %s", failed.Fault, failed.Error),
			fmt.Sprintf("Mend the cause. The job goes on by itself then; tranship job objects %d --open lists what waits.", s.Job)
	case s.Others:
		return work.StallBusy, "the agents " + work.AtSite(s.Site) + " are busy with other jobs",
			"It goes on when it is its turn. More agents at the site shorten the wait."
	case s.Queued == 0:
		return work.StallUnknown, "nothing of it is handed out", "Look at the coordinator's log for the reason."
	}
	return work.StallUnknown, "there are agents " + work.AtSite(s.Site) + ", and none says what becomes of the items that were handed out",
		"Look at the agents' logs for the reason. What a dead agent held is handed out again by itself."
}

// presence returns what is known of who is here.
func (a crewman) presence() work.Presence {
	p := work.Presence{Agent: a.Agent, Site: a.Site, State: a.State}
	_ = telling{Stores: a.Stores}.into(&p) // what cannot be read it does not have
	return p
}

// lastSeen says who was at a site before nobody was.
func lastSeen(crew []crewman) string {
	if len(crew) == 0 {
		return ", and none was ever heard from there"
	}
	return fmt.Sprintf("; the last one, %s, was heard from at %s", crew[0].Agent, crew[0].LastSeen.UTC().Format("2006-01-02 15:04:05 UTC"))
}
