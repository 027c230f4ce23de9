package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Objects lists objects of a job in the order in which they were found, those
// to be tried again after the others. An empty next means that there are no
// more. An object that is handed on while pages are read may be met twice or
// not at all.
func (l *Ledger) Objects(ctx context.Context, q work.ObjectQuery) (objects []work.ObjectRow, next string, err error) {
	of := "objects of " + q.Job.String()
	at, err := parseCursor(q.Cursor, of, cursor{N: -1})
	if err != nil {
		return nil, "", err
	}
	size := pageSize(q.Limit)
	// The items that may hold such objects are found by index, some at a time,
	// and only they are unfolded.
	begin := at.ID
	for {
		items, err := l.itemsWith(ctx, q, begin)
		if err != nil {
			return nil, "", err
		}
		if len(items) == 0 {
			return objects, "", nil
		}
		more, err := l.objectsIn(ctx, q, items, at, size+1-len(objects))
		if err != nil {
			return nil, "", err
		}
		for _, o := range more {
			if len(objects) == size {
				return objects, at.String(), nil
			}
			objects = append(objects, o.ObjectRow)
			at = cursor{Of: of, ID: int64(o.Item), N: o.Position}
		}
		begin = items[len(items)-1] + 1
	}
}

// itemsWith returns the next items from begin on that may hold objects asked
// for.
func (l *Ledger) itemsWith(ctx context.Context, q work.ObjectQuery, begin int64) ([]int64, error) {
	const some = 64
	// Not job_id = $1: the planner would then read the items of all jobs in the
	// order of their ids, trusting that some of this job's come soon.
	const query = `
		SELECT id
		FROM items
		WHERE (job_id, id) >= ($1, $2) AND job_id <= $1 AND kind IN ('copy', 'begin', 'finish')
		AND last_key >= $3 AND ($4::bytea IS NULL OR first_key < $4)`
	const order = `
		ORDER BY job_id, id
		LIMIT $5`

	condition := ""
	switch {
	case q.Open:
		condition = ` AND state <> 'done'`
	case q.Outcome == work.Failed:
		condition = ` AND failed > 0`
	case q.Outcome == work.Copied:
		condition = ` AND copied > 0`
	case q.Outcome == work.Skipped:
		condition = ` AND skipped > 0`
	}
	upto := beyond(q.Prefix)
	if q.Whole {
		upto = append([]byte(q.Prefix), 0) // no key is between
	}
	var ids []int64
	err := l.db.SelectContext(ctx, &ids, query+condition+order, q.Job, begin, []byte(q.Prefix), upto, some)
	if err != nil {
		return nil, fmt.Errorf("list items of job %d: %w", q.Job, err)
	}
	return ids, nil
}

type objectRow struct {
	work.ObjectRow
	Position int
}

// objectsIn returns the objects asked for of some items, behind the cursor.
func (l *Ledger) objectsIn(ctx context.Context, q work.ObjectQuery, items []int64, at cursor, limit int) ([]objectRow, error) {
	const query = `
		SELECT item_id AS item, position, key_bytes AS keybytes, size, coalesce(etag, '') AS etag,
			coalesce(outcome, '') AS outcome, coalesce(reason, '') AS reason, coalesce(proof, '') AS proof,
			coalesce(checksum, '') AS checksum, coalesce(dropped, '') AS dropped, attempt, agent, at, coalesce(error, '') AS error
		FROM objects
		WHERE job_id = $1 AND item_id = ANY ($2)
		AND (item_id, position) > ($3, $4)
		AND substring(key_bytes FOR octet_length($5::bytea)) = $5::bytea
		AND (NOT $9 OR key_bytes = $5)
		AND CASE WHEN $6 THEN outcome IS NULL ELSE $7 = '' OR outcome = $7 END
		ORDER BY item_id, position
		LIMIT $8`

	var rows []struct {
		Item                                                          work.ItemID
		Position                                                      int
		KeyBytes                                                      []byte
		Size                                                          int64
		ETag, Outcome, Reason, Proof, Checksum, Dropped, Agent, Error string
		Attempt                                                       int
		At                                                            sql.NullTime
	}
	err := l.db.SelectContext(ctx, &rows, query, q.Job, pq.Array(items), at.ID, at.N, []byte(q.Prefix), q.Open, string(q.Outcome), limit, q.Whole)
	if err != nil {
		return nil, fmt.Errorf("list objects of job %d: %w", q.Job, err)
	}
	objects := make([]objectRow, len(rows))
	for i, r := range rows {
		var done time.Time
		if r.Outcome != "" {
			done = timeOf(r.At)
		}
		objects[i] = objectRow{Position: r.Position, ObjectRow: work.ObjectRow{
			Job: q.Job, Item: r.Item, Key: string(r.KeyBytes), Size: r.Size, ETag: r.ETag, Outcome: work.Outcome(r.Outcome),
			Reason: r.Reason, Proof: r.Proof, Checksum: r.Checksum, Dropped: r.Dropped, Attempt: r.Attempt, Agent: r.Agent, At: done, Error: r.Error,
		}}
	}
	return objects, nil
}
