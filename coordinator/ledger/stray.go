package ledger

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// keepStrays records the uploads that results opened and that are not known:
// the item was closed or handed out twice, its job is over, or the result
// could not be applied. The rows of their jobs are locked. It reports how many
// there were.
func keepStrays(ctx context.Context, tx *sqlx.Tx, results []work.Result) (strays int, err error) {
	const query = `
		INSERT INTO uploads (
			job_id, begin_id, key, size, etag, object, upload_id, part_size, parts, parts_left, state)
		SELECT i.job_id, i.id, i.first_key, i.bytes, coalesce(i.objects -> 0 ->> 'etag', ''), i.objects -> 0, $3, $4, 0, 0, 'abandoned'
		FROM items i
		WHERE i.id = $1 AND i.job_id = $2 AND i.kind = 'begin'
		AND NOT EXISTS (SELECT FROM uploads u WHERE u.begin_id = i.id AND u.upload_id = $3)`

	for _, r := range results {
		if !mayStray(r) {
			continue
		}
		res, err := tx.ExecContext(ctx, query, r.Item, r.Job, r.Upload.ID, max(r.Upload.Part, 1))
		if err != nil {
			return 0, fmt.Errorf("keep an upload of item %d that came to nothing: %w", r.Item, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		strays += int(n)
	}
	return strays, nil
}

// mayStray reports whether a result opened an upload that can be kept.
func mayStray(r work.Result) bool { return opened(r) && knownAs(r.Upload.ID) }

// tellOrphans writes an event for each upload that could not be aborted: it
// may cost money at the target until somebody removes it.
func (b *batch) tellOrphans(ctx context.Context, tx *sqlx.Tx) error {
	for _, o := range b.orphans {
		if err := addEvent(ctx, tx, o.upload.Job, "", "orphaned", o.note()); err != nil {
			return err
		}
	}
	return nil
}

func (o orphan) note() string {
	return fmt.Sprintf("upload %s of %s was given up and could not be aborted (%s): %s; abort it at the target",
		work.Quote(o.upload.UploadID), work.Quote(o.upload.object.Key), o.fault, o.reason)
}
