package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// loadBatch locks the jobs of the results, then their items and those that may
// change with them, then the uploads, and reads what is open. Whoever locks
// several does it in this order and by id.
func loadBatch(ctx context.Context, tx *sqlx.Tx, results []work.Result) (*batch, error) {
	const lockJobs = `SELECT id FROM jobs WHERE id = ANY ($1)`
	const ordered = ` ORDER BY id FOR NO KEY UPDATE`
	const lockItems = `
		SELECT i.job_id AS job, i.id, i.kind, j.class, i.site, i.attempt, i.epoch,
			j.source, j.target, j.options, i.spec, i.upload, coalesce(i.n, 0) AS n, i.suspect,
			i.state, i.objects_count AS amount, i.bytes, i.first_key AS firstkey
		FROM items i
		JOIN jobs j ON j.id = i.job_id
		WHERE i.id = ANY ($1) AND i.job_id = ANY ($2) AND i.state IN ('waiting', 'ready', 'queued')`
	const orderedItems = ` ORDER BY i.id FOR UPDATE OF i`

	b := newBatch()
	var jobs, items []int64
	for _, r := range results {
		jobs, items = append(jobs, int64(r.Job)), append(items, int64(r.Item))
	}
	ofJobs, ofItems := ` AND state IN ('running', 'paused')`, ``
	if reachesClosed(results) {
		ofJobs, ofItems = ``, ` AND (j.state IN ('running', 'paused') OR i.kind = 'abort')`
	}
	var locked []int64
	if err := tx.SelectContext(ctx, &locked, lockJobs+ofJobs+ordered, pq.Array(jobs)); err != nil || len(locked) == 0 {
		return b, err
	}
	family, err := familyOf(ctx, tx, results)
	if err != nil {
		return nil, err
	}
	var rows []*openItem
	if err := tx.SelectContext(ctx, &rows, lockItems+ofItems+orderedItems, pq.Array(append(items, family...)), pq.Array(locked)); err != nil {
		return nil, err
	}
	for _, row := range rows {
		var err error
		if row.item, err = row.itemRow.item(); err != nil {
			return nil, err
		}
		b.rows[row.ID] = row
	}
	return b, b.loadUploads(ctx, tx)
}

// familyOf returns the items that may change with those that the results are
// of: the finish that waits for a part and, when a part failed, the other
// parts. Their jobs are locked, so that none is added.
func familyOf(ctx context.Context, tx *sqlx.Tx, results []work.Result) (ids []int64, err error) {
	const query = `
		SELECT id
		FROM items
		WHERE upload IN (SELECT upload FROM items WHERE id = ANY ($1) AND kind = 'part')
		AND state IN ('waiting', 'ready', 'queued')
		AND (kind = 'finish' OR upload IN (SELECT upload FROM items WHERE id = ANY ($2) AND kind = 'part'))`

	parts, failed := partsIn(results)
	if len(parts) == 0 {
		return nil, nil
	}
	err = tx.SelectContext(ctx, &ids, query, pq.Array(parts), pq.Array(failed))
	return ids, err
}

// loadUploads locks the uploads of the items.
func (b *batch) loadUploads(ctx context.Context, tx *sqlx.Tx) error {
	const query = `SELECT` + uploadColumns + ` FROM uploads WHERE id = ANY ($1) ORDER BY id FOR UPDATE`

	var ids []int64
	for _, row := range b.rows {
		if row.Upload.Valid {
			ids = append(ids, row.Upload.Int64)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	var uploads []*upload
	if err := tx.SelectContext(ctx, &uploads, query, pq.Array(slices.Compact(ids))); err != nil {
		return err
	}
	for _, u := range uploads {
		if err := u.decode(); err != nil {
			return err
		}
	}
	b.join(uploads)
	return nil
}

// loadObjects reads the objects of items that are locked.
func (b *batch) loadObjects(ctx context.Context, tx *sqlx.Tx, ids []int64) error {
	const query = `SELECT id, objects FROM items WHERE id = ANY ($1) AND objects IS NOT NULL`

	if len(ids) == 0 {
		return nil
	}
	var rows []struct {
		ID      work.ItemID
		Objects []byte
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return err
	}
	for _, r := range rows {
		if row := b.rows[r.ID]; row != nil {
			if err := json.Unmarshal(r.Objects, &row.item.Objects); err != nil {
				return fmt.Errorf("read the objects of item %d: %w", r.ID, err)
			}
		}
	}
	return nil
}
