package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Attempts returns every attempt at an object, the newest last: what each item
// that carried it says of it, from the one that carries it now back over those
// it was handed on from. Of a big object these are its begins and finishes,
// and in between the parts that had to be tried again; parts that were canceled
// with their upload are left out.
//
// With q.Listing it returns the attempts at those ranges of the source that
// could not be listed, or not yet.
//
// Older reports that there were more than asked for. An object that the job
// has not found is work.ErrNoObject. What items of the version before carried
// ends the history: they do not say whom they had it from.
func (l *Ledger) Attempts(ctx context.Context, q work.AttemptQuery) (attempts []work.Attempt, older bool, err error) {
	size := pageSize(q.Limit)
	var rows []attemptRow
	if q.Listing {
		rows, err = l.scanAttempts(ctx, q.Job, size+1)
	} else {
		rows, err = l.objectAttempts(ctx, q, size+1)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the attempts of job %d: %w", q.Job, err)
	}
	slices.SortFunc(rows, inTime)
	if older = len(rows) > size; older {
		rows = rows[len(rows)-size:]
	}
	for _, r := range rows {
		a, err := r.attempt()
		if err != nil {
			return nil, false, fmt.Errorf("read item %d of job %d: %w", r.Item, q.Job, err)
		}
		attempts = append(attempts, a)
	}
	return attempts, older, nil
}

// An attemptRow is an attempt as a query returns it.
type attemptRow struct {
	Item                         work.ItemID
	Kind                         work.Kind
	N, Attempt, Epoch            int
	State                        work.ItemState
	Suspect                      bool
	Agent, Outcome, Fault, Error string
	NotBefore                    time.Time
	QueuedAt, DoneAt             sql.NullTime
	Upload                       sql.NullInt64
	Spec                         []byte
}

// attemptColumns are the columns of an attemptRow but its outcome, of items AS
// i.
const attemptColumns = `
	i.id AS item, i.kind, coalesce(i.n, 0) AS n, i.attempt, i.epoch, i.state, i.suspect, i.agent,
	i.not_before AS notbefore, i.queued_at AS queuedat, i.done_at AS doneat, i.upload, i.spec`

// inTime orders attempts as they came to their end, those that are open last. A
// part that was given up comes before the finish that ended with it.
func inTime(a, b attemptRow) int {
	late := func(r attemptRow) int {
		if r.Kind == work.Part {
			return 0
		}
		return 1
	}
	switch {
	case a.DoneAt.Valid != b.DoneAt.Valid:
		if a.DoneAt.Valid {
			return -1
		}
		return 1
	case a.DoneAt.Valid:
		return cmp.Or(a.DoneAt.Time.Compare(b.DoneAt.Time), cmp.Compare(late(a), late(b)), cmp.Compare(a.Item, b.Item))
	}
	return cmp.Or(cmp.Compare(late(a), late(b)), cmp.Compare(a.Item, b.Item))
}

func (r attemptRow) attempt() (work.Attempt, error) {
	a := work.Attempt{
		Item: r.Item, Kind: r.Kind, N: r.N, Attempt: r.Attempt, Epoch: r.Epoch, State: r.State, Suspect: r.Suspect,
		Outcome: work.Outcome(r.Outcome), Fault: work.Fault(r.Fault), Error: r.Error, Agent: r.Agent,
		Queued: timeOf(r.QueuedAt), At: timeOf(r.DoneAt),
	}
	if r.State == work.Ready {
		a.Due = r.NotBefore.UTC()
	}
	if r.Kind == work.Scan && r.Spec != nil {
		a.Range = new(work.Range)
		return a, json.Unmarshal(r.Spec, a.Range)
	}
	return a, nil
}

func (l *Ledger) objectAttempts(ctx context.Context, q work.AttemptQuery, most int) ([]attemptRow, error) {
	item, err := l.itemOf(ctx, q.Job, q.Key)
	if err != nil {
		return nil, err
	}
	if item == 0 {
		return nil, fmt.Errorf("%w: %s", work.ErrNoObject, work.Quote(q.Key))
	}
	rows, err := l.carriersOf(ctx, item, q.Key, most)
	if err != nil {
		return nil, err
	}
	var uploads []int64
	for _, r := range rows {
		if r.Upload.Valid {
			uploads = append(uploads, r.Upload.Int64)
		}
	}
	if len(uploads) == 0 {
		return rows, nil
	}
	parts, err := l.partAttempts(ctx, q.Job, uploads, most)
	return append(rows, parts...), err
}

// itemOf returns the item in which an object of the job stands, 0 if there is
// none.
func (l *Ledger) itemOf(ctx context.Context, job work.JobID, key string) (work.ItemID, error) {
	const query = `
		SELECT coalesce((
			SELECT item_id FROM objects WHERE job_id = $1 AND key_bytes = $2 AND item_id = ANY (ARRAY (
				SELECT id
				FROM items
				WHERE (job_id, id) >= ($1, 0) AND job_id <= $1 AND kind IN ('copy', 'begin', 'finish') -- as in itemsWith
				AND first_key <= $2 AND last_key >= $2
			)) ORDER BY item_id DESC LIMIT 1), 0)`

	var item work.ItemID
	err := l.db.GetContext(ctx, &item, query, job, []byte(key))
	return item, err
}

// carriersOf returns an item and those that its object was handed on from, at
// most so many.
func (l *Ledger) carriersOf(ctx context.Context, item work.ItemID, key string, most int) (rows []attemptRow, err error) {
	const query = `
		WITH RECURSIVE line AS (
			SELECT id, parent, 1 AS nth FROM items WHERE id = $1
			UNION ALL
			SELECT i.id, i.parent, l.nth + 1
			FROM line l
			JOIN items i ON i.id = l.parent AND i.kind <> 'scan'
			WHERE l.nth < $3
		)
		SELECT` + attemptColumns + `,
			coalesce(o.outcome ->> 'outcome', '') AS outcome, coalesce(o.outcome ->> 'fault', '') AS fault,
			coalesce(o.outcome ->> 'error', '') AS error
		FROM line
		JOIN items i USING (id)
		LEFT JOIN LATERAL (
			SELECT e.outcome
			FROM ROWS FROM (jsonb_array_elements(i.objects), jsonb_array_elements(i.result)) AS e (object, outcome)
			WHERE CASE WHEN e.object ? 'key64'
				THEN decode(e.object ->> 'key64', 'base64')
				ELSE convert_to(coalesce(e.object ->> 'key', ''), 'UTF8')
			END = $2
			LIMIT 1
		) o ON true`

	err = l.db.SelectContext(ctx, &rows, query, item, []byte(key), most)
	return rows, err
}

// faultyColumns are the columns of an attemptRow whose item has no objects to
// tell of, of items AS i.
const faultyColumns = attemptColumns + `,
	CASE WHEN i.state = 'dead' THEN 'failed' WHEN i.fault <> '' THEN 'retry' ELSE '' END AS outcome, i.fault, i.error`

// partAttempts returns the attempts at parts of uploads that were tried more
// than once or given up.
func (l *Ledger) partAttempts(ctx context.Context, job work.JobID, uploads []int64, most int) (rows []attemptRow, err error) {
	const query = `
		WITH RECURSIVE line AS (
			SELECT last.id, last.parent, 1 AS nth
			FROM ( -- each by an index of its own
				SELECT id, parent FROM items WHERE upload = ANY ($2) AND kind = 'part' AND state IN ('ready', 'queued')
				UNION ALL
				SELECT id, parent FROM items WHERE upload = ANY ($2) AND kind = 'part' AND result IS NOT NULL
				UNION ALL
				SELECT id, parent FROM items WHERE job_id = $1 AND state = 'dead' AND kind = 'part' AND upload = ANY ($2)
			) last
			UNION ALL
			SELECT i.id, i.parent, l.nth + 1
			FROM line l
			JOIN items i ON i.id = l.parent AND i.kind = 'part'
			WHERE l.nth < $3
		)
		SELECT` + faultyColumns + `
		FROM line
		JOIN items i USING (id)
		WHERE i.fault <> '' OR EXISTS (SELECT FROM items p WHERE p.id = i.parent AND p.kind = 'part')
		ORDER BY i.done_at DESC NULLS FIRST, i.id DESC
		LIMIT $3`

	err = l.db.SelectContext(ctx, &rows, query, job, pq.Array(uploads), most)
	return rows, err
}

// scanAttempts returns the attempts at ranges that are not listed because
// scans of them failed.
func (l *Ledger) scanAttempts(ctx context.Context, job work.JobID, most int) (rows []attemptRow, err error) {
	const query = `
		WITH RECURSIVE line AS (
			SELECT last.id, last.parent, 1 AS nth
			FROM ( -- each by an index of its own
				SELECT id, parent FROM items WHERE job_id = $1 AND kind = 'scan' AND state = 'ready'
				UNION ALL
				SELECT id, parent FROM items WHERE job_id = $1 AND kind = 'scan' AND state = 'queued'
				UNION ALL
				SELECT id, parent FROM items WHERE job_id = $1 AND kind = 'scan' AND state = 'dead'
			) last
			UNION ALL
			SELECT i.id, i.parent, l.nth + 1
			FROM line l
			JOIN items i ON i.id = l.parent AND i.kind = 'scan' AND i.fault <> ''
			WHERE l.nth < $2
		)
		SELECT` + faultyColumns + `
		FROM line
		JOIN items i USING (id)
		WHERE i.fault <> '' OR EXISTS (SELECT FROM items p WHERE p.id = i.parent AND p.kind = 'scan' AND p.fault <> '')
		ORDER BY i.done_at DESC NULLS FIRST, i.id DESC
		LIMIT $2`

	err = l.db.SelectContext(ctx, &rows, query, job, most)
	return rows, err
}
