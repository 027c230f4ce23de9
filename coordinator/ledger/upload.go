package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

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
	Repeated bool   // its begin
	Parts    int
	Left     int // parts that are not there yet
	State    string

	object  work.Object
	finish  int // which of the batch's inserts is its new finish, or -1
	touched bool
}

const uploadColumns = `
	id, job_id AS job, begin_id AS begin, item_id AS item, object, upload_id AS uploadid, part_size AS partsize,
	dropped, stood, repeated, parts, parts_left AS "left", state`

func (u *upload) decode() error {
	u.finish = -1
	if err := json.Unmarshal(u.Object, &u.object); err != nil {
		return fmt.Errorf("read the object of upload %d: %w", u.ID, err)
	}
	return nil
}

// asOpened is the upload as its begin reported it.
func (u *upload) asOpened() *work.Upload {
	return &work.Upload{ID: u.UploadID, Part: u.PartSize, Dropped: u.Dropped, Stood: u.Stood, Repeated: u.Repeated}
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

// partsIn returns the parts that results are of, and those that failed.
func partsIn(results []work.Result) (parts, failed []int64) {
	for _, r := range results {
		if r.Kind == work.Part {
			parts = append(parts, int64(r.Item))
			if r.Fault != "" {
				failed = append(failed, int64(r.Item))
			}
		}
	}
	return parts, failed
}

// join gives the rows the uploads that they belong to.
func (b *batch) join(uploads []*upload) {
	b.uploads, b.finishes = map[int64]*upload{}, map[int64]*openItem{}
	for _, u := range uploads {
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
	return e, nil
}

// giveUp ends the upload of a part that was given up.
func (b *batch) giveUp(u *upload, agent string, e ending) {
	b.take(e.finish, agent, e.verdict)
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
			Job: row.Job, Begin: row.ID, UploadID: v.Upload.ID, PartSize: v.Upload.Part, Dropped: plain(v.Upload.Dropped), Stood: plain(v.Upload.Stood), Repeated: v.Upload.Repeated,
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
