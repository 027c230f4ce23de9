package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// A failureRow is an object that was given up.
type failureRow struct {
	job      work.JobID
	item     work.ItemID
	born     int // if item is not known yet: which of the batch's inserts it is, else -1
	position int
	key      string
	outcome  work.ObjectOutcome
	attempts int
	agent    string
}

// addFailures remembers the failed ones of an item's objects.
func (b *batch) addFailures(job work.JobID, item work.ItemID, born int, outcomes []work.ObjectOutcome, objects []work.Object, attempts int, agent string) {
	for i, o := range outcomes {
		if o.Outcome == work.Failed {
			b.failures = append(b.failures, failureRow{job, item, born, i, objects[i].Key, o, attempts, agent})
		}
	}
}

// write puts the changes into the database, in a handful of statements however
// many there are.
func (b *batch) write(ctx context.Context, tx *sqlx.Tx) error {
	if err := b.updateItems(ctx, tx); err != nil {
		return fmt.Errorf("update items: %w", err)
	}
	if err := nameItems(ctx, tx, b.inserts); err != nil {
		return err
	}
	if err := b.insertUploads(ctx, tx); err != nil {
		return fmt.Errorf("insert uploads: %w", err)
	}
	if err := insertNamed(ctx, tx, b.inserts); err != nil {
		return err
	}
	if err := b.updateUploads(ctx, tx); err != nil {
		return fmt.Errorf("update uploads: %w", err)
	}
	if err := b.insertFailures(ctx, tx); err != nil {
		return fmt.Errorf("insert failures: %w", err)
	}
	if err := b.updateJobs(ctx, tx); err != nil {
		return fmt.Errorf("update the counters of jobs: %w", err)
	}
	if err := b.writeReports(ctx, tx); err != nil {
		return fmt.Errorf("keep what is known of the stores: %w", err)
	}
	return b.tellOrphans(ctx, tx)
}

func (b *batch) updateItems(ctx context.Context, tx *sqlx.Tx) error {
	const query = `
		UPDATE items i
		SET state = u.state, spec = coalesce(nullif(u.spec, '')::jsonb, i.spec), result = nullif(u.result, '')::jsonb,
			copied = u.copied, skipped = u.skipped, failed = u.failed, handed = u.handed,
			agent = u.agent, fault = u.fault, error = u.error,
			not_before = CASE WHEN u.delay > 0 THEN now() + u.delay * interval '1 microsecond' ELSE i.not_before END,
			looked_at = CASE WHEN u.state = 'queued' THEN now() END, -- it is alive
			done_at = CASE WHEN u.state IN ('done', 'dead') THEN now() END
		FROM unnest(
			$1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
			$9::text[], $10::text[], $11::text[], $12::bigint[])
		AS u (id, state, spec, result, copied, skipped, failed, handed, agent, fault, error, delay)
		WHERE i.id = u.id`

	var ids, delays []int64
	var states, specs, results, agents, faults, errs []string
	var copied, skipped, failed, handed []int32
	for _, row := range b.rows {
		if !row.touched {
			continue
		}
		spec, err := jsonOf(row.item.Range, row.Kind == work.Scan)
		if err != nil {
			return err
		}
		result, err := row.kept.json()
		if err != nil {
			return err
		}
		ids, states = append(ids, int64(row.ID)), append(states, string(row.State))
		specs, results = append(specs, spec), append(results, result)
		copied, skipped = append(copied, int32(row.tally.copied)), append(skipped, int32(row.tally.skipped))
		failed, handed = append(failed, int32(row.tally.failed)), append(handed, int32(row.tally.handed))
		agents, faults, errs = append(agents, row.agent), append(faults, string(row.fault)), append(errs, row.reason)
		delays = append(delays, row.delay.Microseconds())
	}
	_, err := tx.ExecContext(ctx, query,
		pq.Array(ids), pq.Array(states), pq.Array(specs), pq.Array(results),
		pq.Array(copied), pq.Array(skipped), pq.Array(failed), pq.Array(handed),
		pq.Array(agents), pq.Array(faults), pq.Array(errs), pq.Array(delays))
	return err
}

// json returns the column of what is kept.
func (k kept) json() (string, error) {
	if k.part != nil {
		return jsonOf(k.part, true)
	}
	return jsonOf(k.outcomes, k.outcomes != nil)
}

// insertUploads inserts the uploads that were opened. The items of the batch
// have their ids by now.
func (b *batch) insertUploads(ctx context.Context, tx *sqlx.Tx) error {
	const name = `SELECT nextval('tranship.uploads_id_seq') FROM generate_series(1, $1)`
	const query = `
		INSERT INTO uploads (
			id, job_id, begin_id, item_id, key, size, etag, object, upload_id, part_size, parts, parts_left, dropped, stood, repeated, state)
		SELECT id, job_id, begin_id, item_id, key, size, etag, object::jsonb, upload_id, part_size, parts, parts, dropped, stood, repeated, 'open'
		FROM unnest(
			$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::text[],
			$8::text[], $9::text[], $10::bigint[], $11::integer[], $12::text[], $13::text[], $14::boolean[])
		AS new (id, job_id, begin_id, item_id, key, size, etag, object, upload_id, part_size, parts, dropped, stood, repeated)`

	if len(b.opened) == 0 {
		return nil
	}
	var ids, jobs, begins, items, sizes, partSizes []int64
	if err := tx.SelectContext(ctx, &ids, name, len(b.opened)); err != nil {
		return err
	}
	var keys [][]byte
	var etags, objects, names, dropped, stood []string
	var repeated []bool
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
		dropped, stood, repeated = append(dropped, u.Dropped), append(stood, u.Stood), append(repeated, u.Repeated)
	}
	_, err := tx.ExecContext(ctx, query, pq.Array(ids), pq.Array(jobs), pq.Array(begins), pq.Array(items), pq.Array(keys),
		pq.Array(sizes), pq.Array(etags), pq.Array(objects), pq.Array(names), pq.Array(partSizes), pq.Array(parts),
		pq.Array(dropped), pq.Array(stood), pq.Array(repeated))
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

func (b *batch) insertFailures(ctx context.Context, tx *sqlx.Tx) error {
	const query = `
		INSERT INTO failures (job_id, item_id, position, key, fault, message, attempts, agent)
		SELECT * FROM unnest(
			$1::bigint[], $2::bigint[], $3::integer[], $4::bytea[], $5::text[], $6::text[], $7::integer[], $8::text[])`

	if len(b.failures) == 0 {
		return nil
	}
	var jobs, items []int64
	var positions, attempts []int32
	var keys [][]byte
	var faults, messages, agents []string
	for _, f := range b.failures {
		if f.born >= 0 {
			f.item = b.inserts[f.born].id
		}
		jobs, items = append(jobs, int64(f.job)), append(items, int64(f.item))
		positions, attempts = append(positions, int32(f.position)), append(attempts, int32(f.attempts))
		keys = append(keys, []byte(f.key))
		faults, messages = append(faults, plain(string(f.outcome.Fault))), append(messages, plain(f.outcome.Error))
		agents = append(agents, f.agent)
	}
	_, err := tx.ExecContext(ctx, query, pq.Array(jobs), pq.Array(items), pq.Array(positions), pq.Array(keys),
		pq.Array(faults), pq.Array(messages), pq.Array(attempts), pq.Array(agents))
	return err
}

// updateJobs adds to the counters of jobs and to what is counted beside them.
func (b *batch) updateJobs(ctx context.Context, tx *sqlx.Tx) error {
	const query = `
		WITH remarked AS (` + addRemarks + `)
		UPDATE jobs j
		SET started_at = coalesce(j.started_at, now()), moved_at = CASE WHEN u.came THEN now() ELSE j.moved_at END,
			planned = j.planned + u.planned, copied = j.copied + u.copied, skipped = j.skipped + u.skipped,
			failed = j.failed + u.failed, retries = j.retries + u.retries,
			planned_bytes = j.planned_bytes + u.planned_bytes, done_bytes = j.done_bytes + u.done_bytes,
			moved_bytes = j.moved_bytes + u.moved_bytes
		FROM unnest(
			$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
			$12::bigint[], $13::bigint[], $14::bigint[], $15::boolean[])
		AS u (id, planned, copied, skipped, failed, retries, planned_bytes, done_bytes, moved_bytes, came)
		WHERE j.id = u.id`

	if len(b.jobs) == 0 {
		return nil
	}
	ids := slices.SortedFunc(maps.Keys(b.jobs), func(a, b work.JobID) int { return cmp.Compare(a, b) })
	var cols [9][]int64
	var came []bool
	for _, id := range ids {
		c := b.jobs[id]
		for i, n := range []int64{
			int64(id), c.planned, c.copied, c.skipped, c.failed, c.retries, c.plannedBytes, c.doneBytes, c.movedBytes,
		} {
			cols[i] = append(cols[i], n)
		}
		came = append(came, c.came)
	}
	args := b.remarkArgs()
	for i := range cols {
		args = append(args, pq.Array(cols[i]))
	}
	_, err := tx.ExecContext(ctx, query, append(args, pq.Array(came))...)
	return err
}

// mostReport bounds the JSON of a report.
const mostReport = 256 << 10

// report remembers what an agent found out about the stores of a job.
func (b *batch) report(row *openItem, r *work.Report) {
	if r == nil {
		return
	}
	told := *r
	told.Agent = row.agent
	text, err := json.Marshal(told)
	if err != nil || len(text) > mostReport {
		return // the job does as well without
	}
	if b.reports == nil {
		b.reports = map[work.JobID]string{}
	}
	b.reports[row.Job] = strings.ReplaceAll(string(text), `\u0000`, `\ufffd`) // which jsonb refuses
}

func (b *batch) writeReports(ctx context.Context, tx *sqlx.Tx) error {
	for id, text := range b.reports {
		if _, err := tx.ExecContext(ctx, `UPDATE jobs SET report = $2 WHERE id = $1`, id, text); err != nil {
			return err
		}
	}
	return nil
}
