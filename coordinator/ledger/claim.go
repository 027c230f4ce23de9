package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Claim marks ready items of a site as queued, each under its next epoch, and
// returns them in the order in which they are to be published. It takes as
// many as fit in the window: afterwards at most window items of the site's
// running jobs are queued.
//
// More urgent classes come first. Within a class every running job gets the
// same share of the window, and its items take turns with those of others. Of
// one job, ranges to list come before objects to copy, so that no agent waits
// for a listing.
//
// What was claimed is queued from then on, whether it is published or not:
// give it to Release if it cannot be, or let Overdue find it.
func (l *Ledger) Claim(ctx context.Context, site string, window int) ([]work.Item, error) {
	var items []work.Item
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		items = nil
		// Two coordinators that looked at the same window would overfill it.
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('tranship claim ' || $1))`, site); err != nil {
			return err
		}
		waiting, free, err := waitingJobs(ctx, tx, site, window)
		if err != nil || free <= 0 {
			return err
		}
		share(waiting, free)
		items, err = take(ctx, tx, waiting)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim items of site %s: %w", site, err)
	}
	return items, nil
}

// A waitingJob is a running job of a site and its part of the window.
type waitingJob struct {
	Job    work.JobID
	Class  work.Class
	Queued int // items that are in the window
	Scans  int // ready to be listed, as far as they would fit
	Copies int // ready to be copied, as far as they would fit

	granted int // by share
}

// waitingJobs returns the running jobs of the site and what is free of the
// window.
func waitingJobs(ctx context.Context, tx *sqlx.Tx, site string, window int) (jobs []waitingJob, free int, err error) {
	const query = `
		SELECT j.id AS job, j.class, queued.n AS queued, scans.n AS scans, copies.n AS copies
		FROM jobs j
		CROSS JOIN LATERAL (
			SELECT count(*) AS n FROM items i WHERE i.job_id = j.id AND i.state = 'queued'
		) queued
		CROSS JOIN LATERAL (
			SELECT count(*) AS n FROM (
				SELECT FROM items i
				WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind = 'scan' AND i.not_before <= now()
				LIMIT $2) due
		) scans
		CROSS JOIN LATERAL (
			SELECT count(*) AS n FROM (
				SELECT FROM items i
				WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind = 'copy' AND i.not_before <= now()
				LIMIT $2) due
		) copies
		WHERE j.state = 'running' AND j.site = $1
		ORDER BY j.id`

	if err := tx.SelectContext(ctx, &jobs, query, site, window); err != nil {
		return nil, 0, err
	}
	free = window
	for _, j := range jobs {
		free -= j.Queued
	}
	return jobs, free, nil
}

// share grants free places: the most urgent class first, and within a class
// always to the job that has the fewest.
func share(jobs []waitingJob, free int) {
	for _, class := range work.Classes() {
		for free > 0 {
			var next *waitingJob
			for i := range jobs {
				j := &jobs[i]
				if j.Class != class || j.granted >= j.Scans+j.Copies {
					continue
				}
				if next == nil || j.Queued+j.granted < next.Queued+next.granted {
					next = j
				}
			}
			if next == nil {
				break
			}
			next.granted++
			free--
		}
	}
}

// take claims what was granted.
func take(ctx context.Context, tx *sqlx.Tx, jobs []waitingJob) ([]work.Item, error) {
	const query = `
		UPDATE items i
		SET state = 'queued', epoch = i.epoch + 1, queued_at = now(), looked_at = now()
		FROM jobs j
		WHERE i.id = ANY ($1) AND j.id = i.job_id
		RETURNING i.epoch,` + itemColumns

	var ids []int64
	level := map[work.JobID]int{} // of the window, per job
	for _, j := range jobs {
		level[j.Job] = j.Queued
		scans := min(j.granted, j.Scans)
		for _, part := range []struct {
			kind work.Kind
			n    int
		}{{work.Scan, scans}, {work.Copy, j.granted - scans}} {
			due, err := lockDue(ctx, tx, j.Job, part.kind, part.n)
			if err != nil {
				return nil, err
			}
			ids = append(ids, due...)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []itemRow
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return nil, err
	}
	return itemsOf(inTurns(rows, level))
}

// lockDue locks up to n ready items of a job and returns their ids. It is a
// query for each job, because only a limit that is a plain number lets the
// planner see how few rows it is about.
func lockDue(ctx context.Context, tx *sqlx.Tx, job work.JobID, kind work.Kind, n int) (ids []int64, err error) {
	const query = `
		SELECT id
		FROM items
		WHERE job_id = $1 AND kind = $2 AND state = 'ready' AND not_before <= now()
		ORDER BY not_before, id
		LIMIT $3
		FOR UPDATE SKIP LOCKED -- coordinators and collectors work side by side`

	if n <= 0 {
		return nil, nil
	}
	err = tx.SelectContext(ctx, &ids, query, job, string(kind), n)
	return ids, err
}

// inTurns sorts claimed rows as they are to be published: by class, then so
// that jobs take turns, beginning with those that have the fewest items in
// the window.
func inTurns(rows []itemRow, level map[work.JobID]int) []itemRow {
	classes := work.Classes()
	slices.SortFunc(rows, func(a, b itemRow) int {
		return cmp.Or(
			// Scan sorts behind copy as a word, and goes before it.
			-cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.ID, b.ID))
	})
	turn := make(map[work.ItemID]int, len(rows))
	for _, r := range rows {
		turn[r.ID] = level[r.Job]
		level[r.Job]++
	}
	slices.SortStableFunc(rows, func(a, b itemRow) int {
		return cmp.Or(
			cmp.Compare(slices.Index(classes, a.Class), slices.Index(classes, b.Class)),
			cmp.Compare(turn[a.ID], turn[b.ID]),
			cmp.Compare(a.Job, b.Job))
	})
	return rows
}

// Release makes queued items ready again: those that could not be published.
// An item that was handed out anew in the meantime stays as it is.
func (l *Ledger) Release(ctx context.Context, items []work.Item) error {
	const query = `
		WITH given AS (
			SELECT i.id
			FROM items i
			JOIN unnest($1::bigint[], $2::integer[]) AS g (id, epoch) ON i.id = g.id AND i.epoch = g.epoch
			WHERE i.state = 'queued'
			ORDER BY i.id
			FOR UPDATE OF i
		)
		UPDATE items i
		SET state = 'ready', queued_at = NULL, looked_at = NULL
		FROM given
		WHERE i.id = given.id`

	return l.updateItems(ctx, "release", query, items)
}

// updateItems runs a statement that takes ids and epochs of items.
func (l *Ledger) updateItems(ctx context.Context, what, query string, items []work.Item) error {
	if len(items) == 0 {
		return nil
	}
	ids, epochs := make([]int64, len(items)), make([]int32, len(items))
	for i, it := range items {
		ids[i], epochs[i] = int64(it.ID), int32(it.Epoch)
	}
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, query, pq.Array(ids), pq.Array(epochs))
		return err
	})
	if err != nil {
		return fmt.Errorf("%s %d items: %w", what, len(items), err)
	}
	return nil
}
