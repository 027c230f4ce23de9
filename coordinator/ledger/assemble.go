package ledger

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// assemble makes items of rows that are to be published: those of big objects
// get what their upload has for them, and a finish all parts, in order.
func assemble(ctx context.Context, tx *sqlx.Tx, rows []itemRow) ([]work.Item, error) {
	items := make([]work.Item, 0, len(rows))
	var uploads, finishes []int64
	for _, r := range rows {
		it, err := r.item()
		if err != nil {
			return nil, err
		}
		items = append(items, it)
		if r.Upload.Valid {
			uploads = append(uploads, r.Upload.Int64)
			if r.Kind == work.Finish {
				finishes = append(finishes, r.Upload.Int64)
			}
		}
	}
	if len(uploads) == 0 {
		return items, nil
	}
	known, err := uploadsOf(ctx, tx, uploads)
	if err != nil {
		return nil, err
	}
	parts, err := partsOf(ctx, tx, finishes)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		u := known[r.Upload.Int64]
		if u == nil {
			continue
		}
		u.of(&items[i])
		if r.Kind == work.Finish {
			items[i].Parts = parts[u.ID]
		}
	}
	return items, nil
}

// uploadsOf reads uploads, without a lock: what items need of them never
// changes.
func uploadsOf(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64]*upload, error) {
	const query = `SELECT` + uploadColumns + ` FROM uploads WHERE id = ANY ($1)`

	var rows []*upload
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return nil, err
	}
	known := make(map[int64]*upload, len(rows))
	for _, u := range rows {
		if err := u.decode(); err != nil {
			return nil, err
		}
		known[u.ID] = u
	}
	return known, nil
}

// partsOf reads the parts of uploads that are there, in order.
func partsOf(ctx context.Context, tx *sqlx.Tx, uploads []int64) (map[int64][]work.StoredPart, error) {
	const query = `
		SELECT upload, result
		FROM items
		WHERE upload = ANY ($1) AND kind = 'part' AND result IS NOT NULL
		ORDER BY upload, n`

	if len(uploads) == 0 {
		return nil, nil
	}
	var rows []struct {
		Upload int64
		Result []byte
	}
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(uploads)); err != nil {
		return nil, err
	}
	parts := map[int64][]work.StoredPart{}
	for _, r := range rows {
		var p work.StoredPart
		if err := json.Unmarshal(r.Result, &p); err != nil {
			return nil, fmt.Errorf("read a part of upload %d: %w", r.Upload, err)
		}
		parts[r.Upload] = append(parts[r.Upload], p)
	}
	return parts, nil
}
