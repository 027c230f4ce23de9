package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// An itemRow is an item with what it takes from its job, as queries return it.
type itemRow struct {
	Job     work.JobID
	ID      work.ItemID
	Kind    work.Kind
	Class   work.Class
	Site    string
	Epoch   int
	Attempt int
	Source  string
	Target  string
	Options []byte
	Spec    []byte
	Objects []byte
	Upload  sql.NullInt64 // in table uploads
	N       int
	Suspect bool
}

// itemColumns are the columns of an itemRow but its epoch, of items AS i and
// jobs AS j.
const itemColumns = `
	i.job_id AS job, i.id, i.kind, coalesce(i.class, j.class) AS class, i.site, i.attempt,
	j.source, j.target, j.options, i.spec, i.objects, i.upload, coalesce(i.n, 0) AS n, i.suspect`

// item decodes the row. Objects and options that were not read stay empty.
func (r itemRow) item() (work.Item, error) {
	it := work.Item{
		Job: r.Job, ID: r.ID, Kind: r.Kind, Class: r.Class, Site: r.Site,
		Epoch: r.Epoch, Attempt: r.Attempt, Source: r.Source, Target: r.Target,
		N: r.N, Suspect: r.Suspect,
	}
	if err := json.Unmarshal(r.Options, &it.Options); err != nil {
		return work.Item{}, fmt.Errorf("read the options of job %d: %w", r.Job, err)
	}
	if r.Spec != nil {
		it.Range = new(work.Range)
		if err := json.Unmarshal(r.Spec, it.Range); err != nil {
			return work.Item{}, fmt.Errorf("read the range of item %d: %w", r.ID, err)
		}
	}
	if r.Objects != nil {
		if err := json.Unmarshal(r.Objects, &it.Objects); err != nil {
			return work.Item{}, fmt.Errorf("read the objects of item %d: %w", r.ID, err)
		}
	}
	return it, nil
}

// A tally counts the objects of an item by what became of them.
type tally struct{ copied, skipped, failed, handed int }

func tallyOf(outcomes []work.ObjectOutcome) tally {
	var t tally
	for _, o := range outcomes {
		switch o.Outcome {
		case work.Copied:
			t.copied++
		case work.Skipped:
			t.skipped++
		case work.Failed:
			t.failed++
		default:
			t.handed++
		}
	}
	return t
}

// A newRow is an item to insert.
type newRow struct {
	item   work.NewItem
	job    work.JobID
	site   string
	agent  string      // whose result brought a row that is born done
	parent work.ItemID // the item that it goes on from; 0: none
	upload *upload     // of a part, a finish or an abort
	waits  bool        // a finish, for its parts

	id work.ItemID // set by insertItems
}

func (r newRow) state() work.ItemState {
	switch {
	case r.item.Outcomes != nil:
		return work.Done
	case r.waits:
		return work.Waiting
	}
	return work.Ready
}

func bytesOf(objects []work.Object) int64 {
	var n int64
	for _, o := range objects {
		n += o.Size
	}
	return n
}

// keysOf returns the smallest and the largest key, nil if there are none.
func keysOf(objects []work.Object) (first, last []byte) {
	if len(objects) == 0 {
		return nil, nil
	}
	lo, hi := objects[0].Key, objects[0].Key
	for _, o := range objects[1:] {
		lo, hi = min(lo, o.Key), max(hi, o.Key)
	}
	return []byte(lo), []byte(hi)
}

// jsonOf returns the JSON of v, empty for what is not there.
func jsonOf(v any, there bool) (string, error) {
	if !there {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// insertItems inserts the rows in one statement and gives them their ids.
func insertItems(ctx context.Context, tx *sqlx.Tx, rows []newRow) error {
	if err := nameItems(ctx, tx, rows); err != nil {
		return err
	}
	return insertNamed(ctx, tx, rows)
}

// nameItems gives rows that are to be inserted their ids.
func nameItems(ctx context.Context, tx *sqlx.Tx, rows []newRow) error {
	const query = `SELECT nextval('tranship.items_id_seq') FROM generate_series(1, $1)`

	if len(rows) == 0 {
		return nil
	}
	var fresh []int64
	if err := tx.SelectContext(ctx, &fresh, query, len(rows)); err != nil {
		return fmt.Errorf("take item ids: %w", err)
	}
	for i := range rows {
		rows[i].id = work.ItemID(fresh[i])
	}
	return nil
}

// insertNamed inserts rows that have their ids. The uploads that they belong
// to must be there.
func insertNamed(ctx context.Context, tx *sqlx.Tx, rows []newRow) error {
	const query = `
		INSERT INTO items (
			id, job_id, kind, site, state, attempt, not_before, objects_count,
			copied, skipped, failed, bytes, first_key, last_key, spec, objects, result, agent, upload, n, suspect, parent, done_at)
		SELECT
			id, job_id, kind, site, state, attempt, now() + delay * interval '1 microsecond', objects_count,
			copied, skipped, failed, bytes,
			CASE WHEN objects_count > 0 THEN first_key END, CASE WHEN objects_count > 0 THEN last_key END,
			nullif(spec, '')::jsonb, nullif(objects, '')::jsonb, nullif(result, '')::jsonb,
			agent, nullif(upload, 0), nullif(n, 0), suspect, nullif(parent, 0), CASE WHEN state = 'done' THEN now() END
		FROM unnest(
			$1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[], $8::integer[],
			$9::integer[], $10::integer[], $11::integer[], $12::bigint[], $13::bytea[], $14::bytea[],
			$15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::integer[], $21::boolean[], $22::bigint[])
		AS new (
			id, job_id, kind, site, state, attempt, delay, objects_count,
			copied, skipped, failed, bytes, first_key, last_key, spec, objects, result, agent, upload, n, suspect, parent)`

	if len(rows) == 0 {
		return nil
	}
	var c itemArrays
	for _, r := range rows {
		if err := c.add(r); err != nil {
			return fmt.Errorf("write an item of job %d: %w", r.job, err)
		}
	}
	_, err := tx.ExecContext(ctx, query,
		pq.Array(c.ids), pq.Array(c.jobs), pq.Array(c.kinds), pq.Array(c.sites), pq.Array(c.states), pq.Array(c.attempts),
		pq.Array(c.delays), pq.Array(c.counts), pq.Array(c.copied), pq.Array(c.skipped), pq.Array(c.failed),
		pq.Array(c.bytes), pq.Array(c.first), pq.Array(c.last),
		pq.Array(c.specs), pq.Array(c.objects), pq.Array(c.results), pq.Array(c.agents),
		pq.Array(c.uploads), pq.Array(c.ns), pq.Array(c.suspects), pq.Array(c.parents))
	if err != nil {
		return fmt.Errorf("insert %d items: %w", len(rows), err)
	}
	return nil
}

// itemArrays are the columns of rows to insert.
type itemArrays struct {
	ids, jobs, delays, bytes, uploads, parents    []int64
	suspects                                      []bool
	kinds, sites, states, agents                  []string
	attempts, counts, copied, skipped, failed, ns []int32
	first, last                                   [][]byte
	specs, objects, results                       []string
}

func (c *itemArrays) add(r newRow) error {
	n := r.item
	spec, err := jsonOf(n.Range, n.Range != nil)
	if err != nil {
		return err
	}
	objects, err := jsonOf(plainObjects(n.Objects), n.Objects != nil)
	if err != nil {
		return err
	}
	result, err := jsonOf(plainOutcomes(n.Outcomes), n.Outcomes != nil)
	if err != nil {
		return err
	}
	var upload int64
	if r.upload != nil {
		upload = r.upload.ID
	}
	first, last := keysOf(n.Objects)
	t := tallyOf(n.Outcomes)
	c.ids, c.jobs = append(c.ids, int64(r.id)), append(c.jobs, int64(r.job))
	c.kinds, c.sites = append(c.kinds, string(n.Kind)), append(c.sites, r.site)
	c.states, c.agents = append(c.states, string(r.state())), append(c.agents, plain(r.agent))
	c.attempts = append(c.attempts, int32(max(n.Attempt, 1)))
	c.delays = append(c.delays, n.Delay.Microseconds())
	c.counts, c.bytes = append(c.counts, int32(len(n.Objects))), append(c.bytes, bytesOf(n.Objects))
	c.copied, c.skipped, c.failed = append(c.copied, int32(t.copied)), append(c.skipped, int32(t.skipped)), append(c.failed, int32(t.failed))
	c.first, c.last = append(c.first, first), append(c.last, last)
	c.specs, c.objects, c.results = append(c.specs, spec), append(c.objects, objects), append(c.results, result)
	c.uploads, c.ns = append(c.uploads, upload), append(c.ns, int32(n.N))
	c.suspects, c.parents = append(c.suspects, n.Suspect), append(c.parents, int64(r.parent))
	return nil
}
