package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Record writes results as a Ledger does.
func (m *Memory) Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (changed int, err error) {
	now := m.begin()
	defer m.mu.Unlock()
	b := m.load(results)
	if len(b.rows) > 0 {
		load := func(ids []int64) error {
			m.loadObjects(b, ids)
			return nil
		}
		if changed, err = b.applyAll(ctx, m.log, results, decide, load); err != nil {
			return 0, fmt.Errorf("record %d results: %w", len(results), err)
		}
	}
	if changed > 0 {
		m.write(now, b)
	}
	return changed + m.keepStrays(results), nil
}

// load returns what results are about: copies of open rows.
func (m *Memory) load(results []work.Result) *batch {
	b := newBatch()
	closed := reachesClosed(results)
	locked := map[work.JobID]bool{}
	ids := m.familyOf(results)
	for _, r := range results {
		ids = append(ids, int64(r.Item))
		if j := m.job(r.Job); j != nil && (closed || j.State.Open()) {
			locked[j.ID] = true
		}
	}
	var uploads []*upload
	for _, id := range ids {
		it := m.item(work.ItemID(id))
		switch {
		case it == nil || !it.isOpen() || !locked[it.job.ID] || b.rows[it.id] != nil:
			continue
		case !it.job.State.Open() && it.kind != work.Abort:
			continue
		}
		b.rows[it.id] = it.toChange()
		known := func(u *upload) bool { return u.ID == it.upload.ID }
		if it.upload != nil && !slices.ContainsFunc(uploads, known) {
			u := *it.upload
			u.finish, u.touched = -1, false
			uploads = append(uploads, &u)
		}
	}
	if len(uploads) > 0 {
		b.join(uploads)
	}
	return b
}

// toChange returns the row as a batch changes it.
func (it *memoryItem) toChange() *openItem {
	first, _ := keysOf(it.objects)
	return &openItem{
		itemRow: it.row(), State: it.state, Amount: len(it.objects), Bytes: it.bytes, FirstKey: first, item: it.item(),
	}
}

// familyOf returns the items that may change with those that results are of.
func (m *Memory) familyOf(results []work.Result) (ids []int64) {
	parts, failed := partsIn(results)
	if len(parts) == 0 {
		return nil
	}
	ending := map[*upload]bool{} // whether a part of it failed
	for _, id := range parts {
		if it := m.item(work.ItemID(id)); it != nil && it.kind == work.Part {
			ending[it.upload] = ending[it.upload] || slices.Contains(failed, id)
		}
	}
	for _, it := range m.items {
		if ends, ok := ending[it.upload]; ok && (ends || it.kind == work.Finish) {
			ids = append(ids, int64(it.id))
		}
	}
	return ids
}

// loadObjects fills in the objects of rows.
func (m *Memory) loadObjects(b *batch, ids []int64) {
	for _, id := range ids {
		if row := b.rows[work.ItemID(id)]; row != nil {
			row.item.Objects = m.item(row.ID).objects
		}
	}
}

// write keeps the changes, in the order in which a Ledger writes them.
func (m *Memory) write(now time.Time, b *batch) {
	m.updateItems(now, b)
	m.name(b.inserts)
	m.insertUploads(b)
	m.insertNamed(now, b.inserts)
	m.updateUploads(now, b)
	m.insertFailures(now, b)
	m.updateJobs(now, b)
	for _, o := range b.orphans {
		m.addEvent(now, o.upload.Job, "", "orphaned", o.note())
	}
}

func (m *Memory) updateItems(now time.Time, b *batch) {
	for id, row := range b.rows {
		if !row.touched {
			continue
		}
		it := m.item(id)
		it.state, it.tally, it.kept = row.State, row.tally, row.kept.asStored()
		it.agent, it.fault, it.reason = row.agent, row.fault, row.reason
		if row.Kind == work.Scan {
			it.span = row.item.Range
		}
		if row.delay > 0 {
			it.notBefore = now.Add(row.delay.Truncate(time.Microsecond))
		}
		it.lookedAt, it.doneAt = time.Time{}, time.Time{}
		switch it.state {
		case work.Queued:
			it.lookedAt = now
		case work.Done, work.Dead:
			it.doneAt = now
		}
	}
}

// asStored returns what is kept as it comes back from the database.
func (k kept) asStored() kept {
	k.outcomes = slices.Clone(k.outcomes)
	if k.part != nil {
		p := *k.part
		p.CRC32C, p.CRC64NVME = bytesOrNil(p.CRC32C), bytesOrNil(p.CRC64NVME)
		k.part = &p
	}
	return k
}

func bytesOrNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// keepUpload gives an upload its id and keeps a copy of it.
func (m *Memory) keepUpload(u *upload) {
	u.ID = int64(len(m.uploads) + 1)
	stored := *u
	stored.object = asStored([]work.Object{u.object})[0]
	m.uploads = append(m.uploads, &stored)
}

func (m *Memory) insertUploads(b *batch) {
	for _, u := range b.opened {
		u.Item = sql.NullInt64{Int64: int64(b.inserts[u.finish].id), Valid: true}
		m.keepUpload(u)
	}
}

func (m *Memory) updateUploads(now time.Time, b *batch) {
	for _, id := range b.ended {
		for _, it := range m.items {
			if it.upload != nil && it.upload.ID == id && it.kind == work.Part && it.isOut() {
				it.state, it.doneAt = work.ItemCanceled, now
			}
		}
	}
	for _, u := range b.uploads {
		if !u.touched {
			continue
		}
		stored := m.uploads[u.ID-1]
		stored.State, stored.Left = u.State, u.Left
		if u.finish >= 0 {
			stored.Item = sql.NullInt64{Int64: int64(b.inserts[u.finish].id), Valid: true}
		}
	}
}

func (m *Memory) insertFailures(now time.Time, b *batch) {
	for _, f := range b.failures {
		if f.born >= 0 {
			f.item = b.inserts[f.born].id
		}
		m.failed++
		j := m.job(f.job)
		j.failures = append(j.failures, memoryFailure{m.failed, f.position, work.Failure{
			Job: f.job, Item: f.item, Key: f.key, Fault: work.Fault(plain(string(f.outcome.Fault))),
			Message: plain(f.outcome.Error), Attempts: f.attempts, Agent: f.agent, At: now,
		}})
	}
}

func (m *Memory) updateJobs(now time.Time, b *batch) {
	for id, c := range b.jobs {
		j := m.job(id)
		if j.StartedAt.IsZero() {
			j.StartedAt = now
		}
		j.Planned += c.planned
		j.Copied += c.copied
		j.Skipped += c.skipped
		j.Failed += c.failed
		j.Retries += c.retries
		j.PlannedBytes += c.plannedBytes
		j.DoneBytes += c.doneBytes
		j.MovedBytes += c.movedBytes
	}
	for at, c := range b.remarks {
		known := m.job(at.job).remarks[at]
		if known == nil {
			known = &remarkCount{example: c.example}
			m.job(at.job).remarks[at] = known
		}
		known.objects += c.objects
		if known.example == "" {
			known.example = c.example
		}
	}
	for id, text := range b.reports {
		var r work.Report
		if err := json.Unmarshal([]byte(text), &r); err == nil { // it was marshaled from one
			m.job(id).Report = &r
		}
	}
}

// keepStrays keeps the uploads that results opened and that are not known.
func (m *Memory) keepStrays(results []work.Result) (strays int) {
	for _, r := range results {
		it := m.item(r.Item)
		if !mayStray(r) || it == nil || it.job.ID != r.Job || it.kind != work.Begin {
			continue
		}
		known := func(u *upload) bool { return u.Begin == it.id && u.UploadID == r.Upload.ID }
		if slices.ContainsFunc(m.uploads, known) {
			continue
		}
		m.keepUpload(&upload{
			Job: r.Job, Begin: it.id, UploadID: r.Upload.ID, PartSize: max(r.Upload.Part, 1), State: uploadAbandoned,
			object: it.objects[0],
		})
		strays++
	}
	return strays
}
