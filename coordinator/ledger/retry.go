package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Retry has failed objects of a job tried again from the first attempt, in new
// items, and says how many. If the query has no filter, ranges that could not
// be listed are listed again too. A job that had ended runs again; one that is
// paused stays so. A canceled job is work.ErrState.
//
// Many failures are taken in several transactions: if one fails, what was done
// before stays done, and doing it again does the rest.
func (l *Ledger) Retry(ctx context.Context, q work.RetryQuery, who string) (objects int64, err error) {
	// What fails again while this goes on is not taken a second time.
	const newest = `SELECT coalesce(max(id), 0) FROM failures WHERE job_id = $1`

	var last int64
	if err := l.db.GetContext(ctx, &last, newest, q.Job); err != nil {
		return 0, fmt.Errorf("retry failures of job %d: %w", q.Job, err)
	}
	for {
		n, err := l.retrySome(ctx, q, last, who, objects == 0)
		if err != nil {
			return objects, fmt.Errorf("retry failures of job %d: %w", q.Job, err)
		}
		if n == 0 {
			return objects, nil
		}
		objects += n
	}
}

// Retryable returns what Retry would take up of a job, and changes nothing:
// failed objects, and ranges that could not be listed. Its errors are those of
// Retry.
func (l *Ledger) Retryable(ctx context.Context, q work.RetryQuery) (objects, ranges int64, err error) {
	const query = `
		SELECT j.state,
			(SELECT count(*) FROM failures WHERE job_id = j.id AND ($2 = '' OR fault = $2)
				AND substring(key FOR octet_length($3::bytea)) = $3::bytea) AS objects,
			(SELECT count(*) FROM items WHERE job_id = j.id AND state = 'dead' AND kind = 'scan') AS ranges
		FROM jobs j
		WHERE j.id = $1`

	var row struct {
		State           work.JobState
		Objects, Ranges int64
	}
	err = l.db.GetContext(ctx, &row, query, q.Job, string(q.Fault), []byte(q.Prefix))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = work.ErrNoJob
	case err == nil && row.State == work.Canceled:
		err = fmt.Errorf("%w: it is %s", work.ErrState, row.State)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count what could be retried of job %d: %w", q.Job, err)
	}
	if q.Fault != "" || q.Prefix != "" {
		row.Ranges = 0
	}
	return row.Objects, row.Ranges, nil
}

// retrySome takes up some failures up to the one called last. The first step
// also takes up dead scans.
func (l *Ledger) retrySome(ctx context.Context, q work.RetryQuery, last int64, who string, first bool) (objects int64, err error) {
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		objects = 0
		state, err := lockJob(ctx, tx, q.Job)
		if err != nil {
			return err
		}
		if state == work.Canceled {
			return fmt.Errorf("%w: it is %s", work.ErrState, state)
		}
		var scans int64
		if first && q.Fault == "" && q.Prefix == "" {
			if scans, err = reviveScans(ctx, tx, q.Job); err != nil {
				return err
			}
		}
		failed, err := takeFailures(ctx, tx, q, last)
		if err != nil {
			return err
		}
		objects = int64(len(failed))
		if scans+objects == 0 {
			return nil
		}
		if err := handOn(ctx, tx, q.Job, failed); err != nil {
			return err
		}
		if err := reopen(ctx, tx, q.Job, objects); err != nil {
			return err
		}
		return addEvent(ctx, tx, q.Job, who, "retried", retryNote(q, objects, scans))
	})
	return objects, err
}

func retryNote(q work.RetryQuery, objects, scans int64) string {
	note := fmt.Sprintf("%d failed objects", objects)
	if q.Fault != "" {
		note += fmt.Sprintf(" with fault %s", q.Fault)
	}
	if q.Prefix != "" {
		note += fmt.Sprintf(" under %s", work.Quote(q.Prefix))
	}
	if scans > 0 {
		note += fmt.Sprintf(", %d ranges", scans)
	}
	return note
}

// reviveScans has what dead scans left of their ranges listed by new ones. Why
// they died stays to be read.
func reviveScans(ctx context.Context, tx *sqlx.Tx, job work.JobID) (int64, error) {
	const query = `
		UPDATE items
		SET state = 'done'
		WHERE job_id = $1 AND state = 'dead' AND kind = 'scan'
		RETURNING id, site, spec`

	var dead []givenUpScan
	if err := tx.SelectContext(ctx, &dead, query, job); err != nil {
		return 0, err
	}
	slices.SortFunc(dead, func(a, b givenUpScan) int { return cmp.Compare(a.ID, b.ID) })
	fresh := make([]newRow, len(dead))
	for i, d := range dead {
		left := new(work.Range)
		if err := json.Unmarshal(d.Spec, left); err != nil {
			return 0, fmt.Errorf("read the range of item %d: %w", d.ID, err)
		}
		fresh[i] = newRow{item: work.NewItem{Kind: work.Scan, Attempt: 1, Range: left}, job: job, site: d.Site, parent: d.ID}
	}
	return int64(len(dead)), insertItems(ctx, tx, fresh)
}

// A givenUpScan is a scan that was given up.
type givenUpScan struct {
	ID   work.ItemID
	Site string
	Spec []byte
}

// retryBatch bounds the failures that one transaction takes up.
const retryBatch = 5000

// A takenFailure is a failed object that is to be tried again.
type takenFailure struct {
	Item     work.ItemID
	Position int
	Fault    work.Fault
}

// takeFailures removes some failures that the query selects and returns them
// by item and position.
func takeFailures(ctx context.Context, tx *sqlx.Tx, q work.RetryQuery, last int64) ([]takenFailure, error) {
	const query = `
		WITH few AS (
			SELECT id
			FROM failures
			WHERE job_id = $1 AND id <= $4 AND ($2 = '' OR fault = $2)
			AND substring(key FOR octet_length($3::bytea)) = $3::bytea
			ORDER BY id
			LIMIT $5
		), gone AS (
			DELETE FROM failures f USING few WHERE f.id = few.id
			RETURNING f.item_id, f.position, f.fault
		)
		SELECT item_id AS item, position, fault FROM gone ORDER BY item_id, position`

	var failed []takenFailure
	err := tx.SelectContext(ctx, &failed, query, q.Job, string(q.Fault), []byte(q.Prefix), last, retryBatch)
	return failed, err
}

// handOn marks the failed objects in their done items as handed on and inserts
// the items that carry them: one for each, within the bounds of the old one,
// and one for each big object.
func handOn(ctx context.Context, tx *sqlx.Tx, job work.JobID, failed []takenFailure) error {
	const read = `
		SELECT i.id, i.site, i.objects, i.result, j.options
		FROM items i
		JOIN jobs j ON j.id = i.job_id
		WHERE i.id = ANY ($1)
		ORDER BY i.id
		FOR UPDATE OF i`
	const write = `
		UPDATE items i
		SET result = u.result::jsonb, failed = i.failed - u.n, handed = i.handed + u.n
		FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS u (id, result, n)
		WHERE i.id = u.id`

	positions := map[work.ItemID][]takenFailure{}
	var ids []int64
	for _, f := range failed {
		if positions[f.Item] == nil {
			ids = append(ids, int64(f.Item))
		}
		positions[f.Item] = append(positions[f.Item], f)
	}
	if len(ids) == 0 {
		return nil
	}
	var rows []doneRow
	if err := tx.SelectContext(ctx, &rows, read, pq.Array(ids)); err != nil {
		return err
	}
	var results []string
	var counts []int32
	var fresh []newRow
	ids = ids[:0]
	for _, r := range rows {
		d, err := r.decode()
		if err != nil {
			return fmt.Errorf("read item %d: %w", r.ID, err)
		}
		outcomes, objects, err := d.without(positions[r.ID])
		if err != nil {
			return fmt.Errorf("take objects out of item %d: %w", r.ID, err)
		}
		result, err := jsonOf(outcomes, true)
		if err != nil {
			return err
		}
		ids, results, counts = append(ids, int64(r.ID)), append(results, result), append(counts, int32(len(objects)))
		for _, n := range d.carriers(objects) {
			fresh = append(fresh, newRow{item: n, job: job, site: r.Site, parent: r.ID})
		}
	}
	if _, err := tx.ExecContext(ctx, write, pq.Array(ids), pq.Array(results), pq.Array(counts)); err != nil {
		return err
	}
	return insertItems(ctx, tx, fresh)
}

// A doneRow is a closed batch as a query returns it.
type doneRow struct {
	ID                       work.ItemID
	Site                     string
	Objects, Result, Options []byte
}

func (r doneRow) decode() (doneItem, error) {
	var d doneItem
	err := errors.Join(
		json.Unmarshal(r.Options, &d.options),
		json.Unmarshal(r.Objects, &d.objects),
		json.Unmarshal(r.Result, &d.outcomes))
	return d, err
}

// A doneItem is a closed batch.
type doneItem struct {
	options  work.Options
	objects  []work.Object
	outcomes []work.ObjectOutcome
}

// carriers returns the items in which objects travel at their first attempt.
func (d doneItem) carriers(objects []work.Object) (items []work.NewItem) {
	var small []work.Object
	for _, o := range objects {
		if kind := d.options.KindFor(o.Size); kind != work.Copy {
			items = append(items, work.NewItem{Kind: kind, Attempt: 1, Objects: []work.Object{o}})
			continue
		}
		small = append(small, o)
	}
	if len(small) > 0 {
		items = append(items, work.NewItem{Kind: work.Copy, Attempt: 1, Objects: small})
	}
	return items
}

// without returns the item's outcomes with some objects marked as handed on,
// and these objects.
func (d doneItem) without(failed []takenFailure) (outcomes []work.ObjectOutcome, taken []work.Object, err error) {
	outcomes = slices.Clone(d.outcomes)
	for _, f := range failed {
		if f.Position >= len(d.objects) || f.Position >= len(outcomes) {
			return nil, nil, fmt.Errorf("it has no object at %d", f.Position)
		}
		outcomes[f.Position].Outcome = work.Retry // what went wrong stays to be read
		o := d.objects[f.Position]
		o.Check = true // the failed attempt may have written it
		if f.Fault == work.SrcChanged {
			o.ETag, o.ModTime = "", time.Time{} // the listed version is gone: take the one that is there
		}
		taken = append(taken, o)
	}
	return outcomes, taken, nil
}

// reopen takes objects back from the failed ones and lets an ended job run.
func reopen(ctx context.Context, tx *sqlx.Tx, job work.JobID, objects int64) error {
	const query = `
		UPDATE jobs
		SET failed = failed - $2, retries = retries + $2, error = '', checked_at = NULL, finished_at = NULL,
			moved_at = now(), stalled = NULL,
			noticed = noticed - '{job.finished,job.failed,job.canceled,job.stalled}'::text[], -- its next end is news
			state = CASE WHEN state = 'paused' THEN state ELSE 'running' END
		WHERE id = $1`

	_, err := tx.ExecContext(ctx, query, job, objects)
	return err
}
