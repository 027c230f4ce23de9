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
// running jobs are queued, and beside them a few that abort uploads, whatever
// became of their jobs.
//
// More urgent classes come first. Within a class every running job gets the
// same share of the window, and its items take turns with those of others. Of
// one job, ranges to list come before all others, so that no agent waits for a
// listing, then the ends and the beginnings of big objects. Their parts and
// batches to copy get the same share.
//
// What was claimed is queued from then on, whether it is published or not:
// give it to Release if it cannot be, or let Overdue find it.
func (l *Ledger) Claim(ctx context.Context, site string, window int) ([]work.Item, error) {
	var items []work.Item
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		items = nil
		hasAborts, err := lockSite(ctx, tx, site)
		if err != nil {
			return err
		}
		var ids []int64
		if hasAborts {
			if ids, err = lockAborts(ctx, tx, site, abortsAtOnce(window)); err != nil {
				return err
			}
		}
		waiting, free, err := waitingJobs(ctx, tx, site, window)
		if err != nil {
			return err
		}
		share(waiting, free)
		items, err = take(ctx, tx, ids, waiting)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim items of site %s: %w", site, err)
	}
	return items, nil
}

// lockSite keeps others from claiming for the site: two coordinators that
// looked at the same window would overfill it. It reports whether there are
// uploads to abort.
func lockSite(ctx context.Context, tx *sqlx.Tx, site string) (aborts bool, err error) {
	const query = `
		SELECT EXISTS (SELECT FROM items WHERE site = $1 AND kind = 'abort' AND state = 'ready')
		FROM pg_advisory_xact_lock(hashtext('tranship claim ' || $1))`

	err = tx.GetContext(ctx, &aborts, query, site)
	return aborts, err
}

// A waitingJob is a running job of a site and its part of the window.
type waitingJob struct {
	Job    work.JobID
	Class  work.Class
	Queued int // items that are in the window
	// Of each kind, what is ready to be handed out, as far as it would fit.
	Scans, Finishes, Begins, Parts, Copies int
	Big                                    bool // there is something of big objects

	granted int // by share
}

// due returns how many items of the job may be handed out.
func (j waitingJob) due() int { return j.Scans + j.Finishes + j.Begins + j.Parts + j.Copies }

const (
	// finishesAtOnce bounds the finishes that a job is handed out at once: each
	// may be nearly a MiB.
	finishesAtOnce = 16
	// abortShare says which fraction of a window aborts may have beside it.
	abortShare = 8
)

// abortsAtOnce bounds the aborts that are queued beside a window.
func abortsAtOnce(window int) int { return max(1, window/abortShare) }

// waitingJobs returns the running jobs of the site and what is free of the
// window.
func waitingJobs(ctx context.Context, tx *sqlx.Tx, site string, window int) (jobs []waitingJob, free int, err error) {
	const query = `
		SELECT j.id AS job, j.class, queued.n AS queued, scans.n AS scans, copies.n AS copies, EXISTS (
			SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind IN ('begin', 'part', 'finish')
		) AS big
		FROM jobs j
		CROSS JOIN LATERAL (
			SELECT count(*) AS n FROM items i WHERE i.job_id = j.id AND i.state = 'queued' AND i.kind <> 'abort'
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
	for i := range jobs {
		free -= jobs[i].Queued
		if jobs[i].Big {
			if err := jobs[i].countBig(ctx, tx, window); err != nil {
				return nil, 0, err
			}
		}
	}
	return jobs, free, nil
}

// countBig counts what is ready of a job's big objects.
func (j *waitingJob) countBig(ctx context.Context, tx *sqlx.Tx, window int) error {
	const query = `
		SELECT count(*) FROM (
			SELECT FROM items
			WHERE job_id = $1 AND state = 'ready' AND kind = $2 AND not_before <= now()
			LIMIT $3) due`

	for _, c := range []struct {
		kind work.Kind
		n    *int
		most int
	}{{work.Finish, &j.Finishes, min(window, finishesAtOnce)}, {work.Begin, &j.Begins, window}, {work.Part, &j.Parts, window}} {
		if err := tx.GetContext(ctx, c.n, query, j.Job, string(c.kind), c.most); err != nil {
			return err
		}
	}
	j.holdBegins(window)
	return nil
}

// holdBegins lets no more objects be begun while there are parts to move: what
// is open at the target costs money, and its source must not change.
func (j *waitingJob) holdBegins(window int) { j.Begins = max(0, min(j.Begins, window-j.Parts)) }

// share grants free places: the most urgent class first, and within a class
// always to the job that has the fewest.
func share(jobs []waitingJob, free int) {
	for _, class := range work.Classes() {
		for free > 0 {
			var next *waitingJob
			for i := range jobs {
				j := &jobs[i]
				if j.Class != class || j.granted >= j.due() {
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

// A grant is how many items of a kind a job is handed out.
type grant struct {
	kind work.Kind
	n    int
}

// grants divides what the job was granted among its kinds of items.
func (j waitingJob) grants() []grant {
	left := j.granted
	upto := func(n int) int {
		n = min(n, left)
		left -= n
		return n
	}
	all := []grant{{work.Scan, upto(j.Scans)}, {work.Finish, upto(j.Finishes)}, {work.Begin, upto(j.Begins)}}
	parts := upto(max(min(j.Parts, (left+1)/2), left-j.Copies))
	return append(all, grant{work.Part, parts}, grant{work.Copy, upto(j.Copies)})
}

// take claims what was granted, besides ids.
func take(ctx context.Context, tx *sqlx.Tx, ids []int64, jobs []waitingJob) ([]work.Item, error) {
	const query = `
		UPDATE items i
		SET state = 'queued', epoch = i.epoch + 1, queued_at = now(), looked_at = now(), class = NULL
		FROM jobs j
		WHERE i.id = ANY ($1) AND j.id = i.job_id
		RETURNING i.epoch,` + itemColumns

	level := map[work.JobID]int{} // of the window, per job
	for _, j := range jobs {
		level[j.Job] = j.Queued
		for _, g := range j.grants() {
			due, err := lockDue(ctx, tx, j.Job, g.kind, g.n)
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
	return assemble(ctx, tx, inTurns(rows, level))
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

// lockAborts locks ready aborts of a site, so that most are on the queue, and
// returns their ids.
func lockAborts(ctx context.Context, tx *sqlx.Tx, site string, most int) (ids []int64, err error) {
	const query = `
		SELECT id
		FROM items
		WHERE site = $1 AND kind = 'abort' AND state = 'ready' AND not_before <= now()
		ORDER BY not_before, id
		LIMIT greatest(0, $2 - (SELECT count(*) FROM items WHERE site = $1 AND kind = 'abort' AND state = 'queued'))
		FOR UPDATE SKIP LOCKED`

	err = tx.SelectContext(ctx, &ids, query, site, most)
	return ids, err
}

// inTurns sorts claimed rows as they are to be published: by class, then so
// that jobs take turns, beginning with those that have the fewest items in
// the window. The parts of a job take turns with its copies.
func inTurns(rows []itemRow, level map[work.JobID]int) []itemRow {
	classes := work.Classes()
	byRank := func(a, b itemRow) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) }
	slices.SortFunc(rows, func(a, b itemRow) int { return cmp.Or(byRank(a, b), cmp.Compare(a.ID, b.ID)) })
	type sort struct {
		job  work.JobID
		kind work.Kind
	}
	nth, count := make(map[work.ItemID]int, len(rows)), map[sort]int{}
	for _, r := range rows {
		nth[r.ID] = count[sort{r.Job, r.Kind}]
		count[sort{r.Job, r.Kind}]++
	}
	slices.SortStableFunc(rows, func(a, b itemRow) int {
		return cmp.Or(byRank(a, b), cmp.Compare(nth[a.ID], nth[b.ID]))
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

// rank says which items of a job go before which.
func rank(k work.Kind) int {
	switch k {
	case work.Scan:
		return 0
	case work.Finish, work.Begin, work.Abort:
		return 1
	}
	return 2
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
