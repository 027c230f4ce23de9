package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// A StallRule says when a job counts as stalled, and what the ledger cannot
// know itself.
type StallRule struct {
	After     time.Duration // without anything that brings the job on
	Gone      time.Duration // after which an agent that is silent does not count
	Watched   time.Duration // how long whoever asks has been at work: what stood still while nobody was is no news
	QueueDown bool          // whoever asks cannot reach the queue
}

// Stalls are the jobs that stand still.
type Stalls struct {
	All    []work.Stall
	Fresh  []work.Stall // of all: those that were found just now
	Moving []work.JobID // that were found to have come on just now
}

// Stalled returns the running jobs that stand still: something of them is due,
// and for longer than the rule says no result has brought them on and no agent
// has said that bytes of them move. A result that only has everything tried
// again does not bring a job on, so a store that refuses for ever is no reason
// for silence. A slow transfer is no stall as long as bytes move.
//
// What it finds is kept with the job, and so is an event when a job stalls and
// when it moves again. Any number of coordinators may ask: each event is
// written once, and only who writes it is told of the job in Fresh or Moving.
func (l *Ledger) Stalled(ctx context.Context, rule StallRule) (found Stalls, err error) {
	if found.Moving, err = l.stallsOver(ctx); err != nil {
		return found, fmt.Errorf("look for jobs that move again: %w", err)
	}
	standing, err := l.standing(ctx, rule)
	if err != nil {
		return found, fmt.Errorf("look for stalled jobs: %w", err)
	}
	crews := map[string][]crewman{}
	for _, s := range standing {
		if _, known := crews[s.Site]; !known {
			if crews[s.Site], err = l.crewOf(ctx, s.Site, rule.Gone); err != nil {
				return found, fmt.Errorf("look for agents at site %s: %w", s.Site, err)
			}
		}
		stall, err := l.explain(ctx, s, rule, crews[s.Site])
		if err != nil {
			return found, fmt.Errorf("find out why job %d is stalled: %w", s.Job, err)
		}
		fresh, holds, err := l.keepStall(ctx, s, stall)
		if err != nil {
			return found, fmt.Errorf("keep why job %d is stalled: %w", s.Job, err)
		}
		if holds {
			found.All = append(found.All, stall)
		}
		if fresh {
			found.Fresh = append(found.Fresh, stall)
		}
	}
	return found, nil
}

// stallsOver forgets the stalls of jobs that have come on, or are not running.
func (l *Ledger) stallsOver(ctx context.Context) (moving []work.JobID, err error) {
	const query = `
		UPDATE jobs j
		SET stalled = NULL
		FROM (
			SELECT id, coalesce(moved_at, created_at) > (stalled ->> 'since')::timestamptz AS moves
			FROM jobs
			WHERE stalled IS NOT NULL
			AND (state <> 'running' OR coalesce(moved_at, created_at) > (stalled ->> 'since')::timestamptz)
			ORDER BY id
			FOR NO KEY UPDATE
		) old
		WHERE j.id = old.id AND j.stalled IS NOT NULL
		RETURNING j.id, old.moves`

	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		moving = nil
		var over []struct {
			ID    work.JobID
			Moves bool
		}
		if err := tx.SelectContext(ctx, &over, query); err != nil {
			return err
		}
		for _, o := range over {
			if !o.Moves {
				continue
			}
			if err := addEvent(ctx, tx, o.ID, "", "moving", "it is no longer stalled"); err != nil {
				return err
			}
			moving = append(moving, o.ID)
		}
		return nil
	})
	return moving, err
}

// A standingJob is a job that stands still.
type standingJob struct {
	Job           work.JobID
	Site          string
	Source        string
	Target        string
	Since         time.Time
	Ready, Queued int64
	Others        bool // jobs of the same site have come on meanwhile
	Known         []byte
}

// dueItem is a condition on jobs AS j: something of it is on the queue, or
// could be.
const dueItem = `
	(EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'queued' AND i.kind <> 'abort')
	OR EXISTS (
		SELECT FROM (VALUES ('scan'), ('copy'), ('begin'), ('part'), ('finish')) AS k (kind)
		CROSS JOIN LATERAL (
			SELECT FROM items i
			WHERE i.job_id = j.id AND i.kind = k.kind AND i.state = 'ready' AND i.not_before <= now()
			LIMIT 1) first))`

// standing returns the jobs that stand still. One that was found to do so stays
// until it comes on, also while all that is left of it waits for another try.
func (l *Ledger) standing(ctx context.Context, rule StallRule) (jobs []standingJob, err error) {
	const query = `
		SELECT j.id AS job, j.site, j.source, j.target, coalesce(j.moved_at, j.created_at) AS since, j.stalled AS known,
			(SELECT count(*) FROM (
				SELECT FROM items i
				WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind <> 'abort' AND i.not_before <= now()
				LIMIT $2) counted) AS ready,
			(SELECT count(*) FROM items i WHERE i.job_id = j.id AND i.state = 'queued' AND i.kind <> 'abort') AS queued,
			EXISTS (
				SELECT FROM jobs o
				WHERE o.site = j.site AND o.state = 'running' AND o.id <> j.id
				AND o.moved_at > now() - $1::bigint * interval '1 microsecond') AS others
		FROM jobs j
		WHERE j.state = 'running' AND coalesce(j.moved_at, j.created_at) <= now() - $1::bigint * interval '1 microsecond'
		AND (j.stalled IS NOT NULL OR $3 AND` + dueItem + `)
		ORDER BY j.id`

	err = l.db.SelectContext(ctx, &jobs, query, rule.After.Microseconds(), BacklogLimit, rule.Watched >= rule.After)
	return jobs, err
}

// keepStall keeps a stall with its job, and reports whether it is news and
// whether the job still stands.
func (l *Ledger) keepStall(ctx context.Context, s standingJob, stall work.Stall) (fresh, holds bool, err error) {
	const query = `
		UPDATE jobs j
		SET stalled = $2
		FROM (SELECT id, stalled FROM jobs WHERE id = $1) old
		WHERE j.id = old.id AND j.state = 'running' AND coalesce(j.moved_at, j.created_at) = $3
		RETURNING old.stalled IS NULL`

	var known work.Stall
	if s.Known != nil {
		if err := json.Unmarshal(s.Known, &known); err != nil {
			return false, false, err
		}
		if known.Job = s.Job; known.Since.Equal(stall.Since) {
			known.Since = stall.Since
		}
		if known == stall {
			return false, true, nil
		}
	}
	text, err := json.Marshal(stall)
	if err != nil {
		return false, false, err
	}
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		fresh, holds = false, false
		if _, err := lockJob(ctx, tx, s.Job); err != nil {
			return err
		}
		err := tx.GetContext(ctx, &fresh, query, s.Job, string(text), s.Since)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it has come on, or was stopped
		}
		if err != nil {
			return err
		}
		holds = true
		if !fresh {
			return nil
		}
		note := fmt.Sprintf("nothing has moved since %s: %s", stall.Since.Format(time.RFC3339), stall.Why)
		return addEvent(ctx, tx, s.Job, "", "stalled", note)
	})
	return fresh, holds, err
}
