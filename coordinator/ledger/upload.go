package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// States of an upload.
const (
	uploadOpen      = "open"
	uploadFinished  = "finished"
	uploadAbandoned = "abandoned" // to be aborted
	uploadAborting  = "aborting"
	uploadAborted   = "aborted"
	uploadOrphaned  = "orphaned" // could not be aborted
)

// An upload is a row of table uploads, with the changes made to it so far.
type upload struct {
	ID       int64
	Job      work.JobID
	Begin    work.ItemID
	Item     sql.NullInt64 // its finish
	Object   []byte
	UploadID string
	PartSize int64
	Dropped  string // of the metadata, when it was opened
	Stood    string // at the target then
	Parts    int
	Left     int // parts that are not there yet
	State    string

	object  work.Object
	finish  int // which of the batch's inserts is its new finish, or -1
	touched bool
}

const uploadColumns = `
	id, job_id AS job, begin_id AS begin, item_id AS item, object, upload_id AS uploadid, part_size AS partsize,
	dropped, stood, parts, parts_left AS "left", state`

func (u *upload) decode() error {
	u.finish = -1
	if err := json.Unmarshal(u.Object, &u.object); err != nil {
		return fmt.Errorf("read the object of upload %d: %w", u.ID, err)
	}
	return nil
}

// asOpened is the upload as its begin reported it.
func (u *upload) asOpened() *work.Upload {
	return &work.Upload{ID: u.UploadID, Part: u.PartSize, Dropped: u.Dropped, Stood: u.Stood}
}

// of makes an item one of the upload's.
func (u *upload) of(it *work.Item) {
	it.Upload = u.asOpened()
	it.Objects = []work.Object{u.object}
}

// bigObjects is what a batch of results has of big objects.
type bigObjects struct {
	uploads  map[int64]*upload   // locked
	finishes map[int64]*openItem // by upload: those that wait for parts
	opened   []*upload           // to be inserted
	ended    []int64             // uploads whose open parts are to be canceled
	orphans  []orphan
}

// An orphan is an upload that could not be aborted.
type orphan struct {
	upload *upload
	fault  work.Fault
	reason string
}

// opened reports whether a result says that an upload is open at the target.
func opened(r work.Result) bool { return r.Kind == work.Begin && r.Fault == "" && r.Upload != nil }

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

	var parts, failed []int64
	for _, r := range results {
		if r.Kind == work.Part {
			parts = append(parts, int64(r.Item))
			if r.Fault != "" {
				failed = append(failed, int64(r.Item))
			}
		}
	}
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
	b.uploads, b.finishes = map[int64]*upload{}, map[int64]*openItem{}
	for _, u := range uploads {
		if err := u.decode(); err != nil {
			return err
		}
		b.uploads[u.ID] = u
	}
	for _, row := range b.rows {
		u := b.uploads[row.Upload.Int64]
		if u == nil {
			continue
		}
		row.upload = u
		switch row.Kind {
		case work.Finish: // its objects are counted: read when they are wanted
			row.item.Upload = u.asOpened()
			if row.State == work.Waiting {
				b.finishes[u.ID] = row
			}
		default:
			u.of(&row.item)
		}
	}
	return nil
}

// finishOf returns the finish that waits for a part.
func (b *batch) finishOf(row *openItem) []int64 {
	if f := b.finishes[row.Upload.Int64]; f != nil {
		return []int64{int64(f.ID)}
	}
	return nil
}

// An ending is what becomes of an object one of whose parts was given up.
type ending struct {
	finish  *openItem
	verdict work.Verdict
	result  string
}

// endOf returns what the verdict on a part ends: the finish that waits for it.
func (b *batch) endOf(row *openItem, r work.Result, v work.Verdict, decide decider) (*ending, error) {
	if row.Kind != work.Part {
		return nil, nil
	}
	f := b.finishes[row.Upload.Int64]
	if f == nil || row.upload.State != uploadOpen {
		return nil, fmt.Errorf("part %d belongs to an upload that waits for none", row.N)
	}
	if v.State != work.Dead {
		return nil, nil
	}
	e := &ending{finish: f}
	e.verdict = decide(f.item, work.Result{
		Job: f.Job, Item: f.ID, Kind: work.Part, Epoch: r.Epoch, Agent: r.Agent, At: r.At,
		Fault: v.Fault, Error: v.Error, Gone: r.Gone,
	})
	if err := f.check(e.verdict); err != nil {
		return nil, fmt.Errorf("for the finish of part %d: %w", row.N, err)
	}
	if !e.verdict.Abandon {
		return nil, errors.New("the verdict finishes an upload that lacks a part")
	}
	var err error
	e.result, err = f.resultOf(e.verdict)
	return e, err
}

// giveUp ends the upload of a part that was given up.
func (b *batch) giveUp(u *upload, agent string, e ending) {
	b.take(e.finish, agent, e.verdict, e.result)
	delete(b.finishes, u.ID)
	b.ended = append(b.ended, u.ID)
	for _, row := range b.rows {
		if row.upload == u && row.Kind == work.Part && !row.touched {
			row.State = work.ItemCanceled // with all others of the upload, by cancelParts
		}
	}
}

// takeUpload makes a verdict's changes to the upload of the item and returns
// it, or the one that the verdict opens.
func (b *batch) takeUpload(row *openItem, v work.Verdict) *upload {
	u := row.upload
	switch {
	case v.Upload != nil:
		u = &upload{
			Job: row.Job, Begin: row.ID, UploadID: v.Upload.ID, PartSize: v.Upload.Part, Dropped: plain(v.Upload.Dropped), Stood: plain(v.Upload.Stood),
			State: uploadOpen, object: *v.Object, finish: -1,
		}
		u.Parts = v.Upload.Parts(u.object.Size)
		u.Left = u.Parts
		b.opened = append(b.opened, u)
		return u
	case row.Kind == work.Part && v.Part != nil:
		if u.Left--; u.Left == 0 {
			f := b.finishes[u.ID]
			f.State, f.touched = work.Ready, true
			delete(b.finishes, u.ID)
		}
	case row.Kind == work.Finish && v.Abandon:
		u.State = uploadAbandoned
	case row.Kind == work.Finish && len(v.Items) == 0:
		u.State = uploadFinished
	case row.Kind == work.Abort && v.State == work.Dead:
		u.State = uploadOrphaned
		b.orphans = append(b.orphans, orphan{u, row.fault, row.reason})
	case row.Kind == work.Abort && len(v.Items) == 0:
		u.State = uploadAborted
	}
	if u != nil {
		u.touched = true
	}
	return u
}

// insertUploads inserts the uploads that were opened. The items of the batch
// have their ids by now.
func (b *batch) insertUploads(ctx context.Context, tx *sqlx.Tx) error {
	const name = `SELECT nextval('tranship.uploads_id_seq') FROM generate_series(1, $1)`
	const query = `
		INSERT INTO uploads (
			id, job_id, begin_id, item_id, key, size, etag, object, upload_id, part_size, parts, parts_left, dropped, stood, state)
		SELECT id, job_id, begin_id, item_id, key, size, etag, object::jsonb, upload_id, part_size, parts, parts, dropped, stood, 'open'
		FROM unnest(
			$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::text[],
			$8::text[], $9::text[], $10::bigint[], $11::integer[], $12::text[], $13::text[])
		AS new (id, job_id, begin_id, item_id, key, size, etag, object, upload_id, part_size, parts, dropped, stood)`

	if len(b.opened) == 0 {
		return nil
	}
	var ids, jobs, begins, items, sizes, partSizes []int64
	if err := tx.SelectContext(ctx, &ids, name, len(b.opened)); err != nil {
		return err
	}
	var keys [][]byte
	var etags, objects, names, dropped, stood []string
	var parts []int32
	for i, u := range b.opened {
		u.ID = ids[i]
		object, err := jsonOf(plainObjects([]work.Object{u.object})[0], true)
		if err != nil {
			return err
		}
		jobs, begins = append(jobs, int64(u.Job)), append(begins, int64(u.Begin))
		items = append(items, int64(b.inserts[u.finish].id))
		keys, sizes, etags = append(keys, []byte(u.object.Key)), append(sizes, u.object.Size), append(etags, plain(u.object.ETag))
		objects, names = append(objects, object), append(names, u.UploadID)
		partSizes, parts = append(partSizes, u.PartSize), append(parts, int32(u.Parts))
		dropped, stood = append(dropped, u.Dropped), append(stood, u.Stood)
	}
	_, err := tx.ExecContext(ctx, query, pq.Array(ids), pq.Array(jobs), pq.Array(begins), pq.Array(items), pq.Array(keys),
		pq.Array(sizes), pq.Array(etags), pq.Array(objects), pq.Array(names), pq.Array(partSizes), pq.Array(parts),
		pq.Array(dropped), pq.Array(stood))
	return err
}

// updateUploads writes what changed of the uploads, and closes the parts of
// those that came to an end.
func (b *batch) updateUploads(ctx context.Context, tx *sqlx.Tx) error {
	const cancelParts = `
		UPDATE items
		SET state = 'canceled', done_at = now()
		WHERE upload = ANY ($1) AND kind = 'part' AND state IN ('ready', 'queued')`
	const query = `
		UPDATE uploads u
		SET state = n.state, parts_left = n.parts_left, item_id = n.item_id,
			changed_at = CASE WHEN u.state = n.state THEN u.changed_at ELSE now() END
		FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) AS n (id, state, parts_left, item_id)
		WHERE u.id = n.id`

	if len(b.ended) > 0 {
		if _, err := tx.ExecContext(ctx, cancelParts, pq.Array(b.ended)); err != nil {
			return err
		}
	}
	var ids []int64
	var states []string
	var left []int32
	var items []sql.NullInt64
	for _, u := range b.uploads {
		if !u.touched {
			continue
		}
		if u.finish >= 0 {
			u.Item = sql.NullInt64{Int64: int64(b.inserts[u.finish].id), Valid: true}
		}
		ids, states = append(ids, u.ID), append(states, u.State)
		left, items = append(left, int32(u.Left)), append(items, u.Item)
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, query, pq.Array(ids), pq.Array(states), pq.Array(left), pq.Array(items))
	return err
}
