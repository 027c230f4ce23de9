package ledger_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// A twin is a ledger.Memory that a bench does everything to that it does to
// its ledger: it must answer the same and come to the same rows. Their clocks
// are compared by the hour, and so nothing else may depend on them by less.
type twin struct {
	*ledger.Memory
	start    time.Time // of the ledger, by its own clock
	advanced time.Duration
	events   int64 // that were compared
}

// pair gives the bench a twin.
func (b *bench) pair() {
	b.t.Helper()
	if _, measures := b.t.(*testing.B); measures {
		return
	}
	b.twin = &twin{Memory: ledger.NewMemory(nil)}
	b.must(b.sql.QueryRowContext(b.ctx(), `SELECT now()`).Scan(&b.twin.start))
	b.t.Cleanup(func() {
		if !b.t.Failed() {
			b.same()
		}
	})
}

// alone parts the bench from its twin, before it does what a Memory does not.
func (b *bench) alone() { b.twin = nil }

// advance lets whole hours pass.
func (b *bench) advance(hours int) {
	b.t.Helper()
	d := time.Duration(hours) * time.Hour
	b.must(ledgertest.Advance(b.ctx(), b.sql, d))
	b.twin.Advance(d)
	b.twin.advanced += d
}

// both compares what the ledger answered with what its twin answers.
func both[T any](b *bench, what string, real T, err error, again func(m *ledger.Memory) (T, error)) (T, error) {
	b.t.Helper()
	if b.twin == nil {
		return real, err
	}
	got, gotErr := again(b.twin.Memory)
	if fmt.Sprint(err) != fmt.Sprint(gotErr) {
		b.t.Fatalf("%s in memory: error %v, want %v", what, gotErr, err)
	}
	g, w := hourly(got, ledger.MemoryStart), hourly(real, b.twin.start.Add(-b.twin.advanced))
	if !reflect.DeepEqual(g, w) {
		b.t.Fatalf("%s in memory = %s\nwant %s", what, show(g), show(w))
	}
	return real, err
}

func show(v any) string {
	if items, ok := v.([]work.Item); ok {
		return string(must(json.Marshal(items)))
	}
	return fmt.Sprintf("%+v", v)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A listing is a page of rows and where the next begins.
type listing struct {
	rows any
	next string
}

// hourly returns an answer with its times in whole hours since start, and
// nothing in the place of an empty list.
func hourly(v any, start time.Time) any {
	each := func(times ...*time.Time) {
		for _, t := range times {
			if !t.IsZero() {
				*t = time.Unix(0, 0).UTC().Add(t.Sub(start)).Truncate(time.Hour)
			}
		}
	}
	switch rows := v.(type) {
	case listing:
		return listing{hourly(rows.rows, start), rows.next}
	case work.Job:
		each(&rows.CreatedAt, &rows.StartedAt, &rows.FinishedAt)
		return rows
	case []work.Job:
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i] = hourly(rows[i], start).(work.Job)
		}
		v = rows
	case []work.ObjectRow:
		rows = slices.Clone(rows)
		for i := range rows {
			each(&rows[i].At)
		}
		v = rows
	case []work.Failure:
		rows = slices.Clone(rows)
		for i := range rows {
			each(&rows[i].At)
		}
		v = rows
	case []work.Event:
		rows = slices.Clone(rows)
		for i := range rows {
			each(&rows[i].At)
		}
		v = rows
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.Len() == 0 {
		return nil
	}
	return v
}

// same fails the test unless the rows of the ledger and of its twin are equal.
func (b *bench) same() {
	b.t.Helper()
	if b.twin == nil {
		return
	}
	items, uploads := b.twin.Rows()
	equal(b.t, "item", items, b.itemRows())
	equal(b.t, "upload", uploads, b.uploadRows())
	events, err := b.Events(b.ctx(), 0, b.twin.events, 1000)
	b.must(err)
	b.twin.events += int64(len(events))
	var jobs []work.JobID
	b.must(sqlx.NewDb(b.sql, "postgres").SelectContext(b.ctx(), &jobs, `SELECT id FROM tranship.jobs ORDER BY id`))
	for _, id := range jobs {
		b.job(id)
		_, _, err := b.Failures(b.ctx(), work.FailureQuery{Job: id, Limit: 1000})
		b.must(err)
		for _, about := range []work.About{work.AboutSkipped, work.AboutDropped, work.AboutProof} {
			_, err := b.Remarks(b.ctx(), id, about)
			b.must(err)
		}
	}
}

func equal[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("%s %d is not in memory, want %#v", what, i+1, want[i])
		case i >= len(want):
			t.Fatalf("%s %d in memory is %#v, want none", what, i+1, got[i])
		case got[i] != want[i]:
			t.Fatalf("%s %d in memory is\n%#v, want\n%#v", what, i+1, got[i], want[i])
		}
	}
}

// itemRows reads all items.
func (b *bench) itemRows() []ledger.ItemRow {
	b.t.Helper()
	const query = `
		SELECT id, job_id AS job, kind, site, state, epoch, attempt,
			hours(not_before) AS notbefore, hours(looked_at) AS lookedat, hours(done_at) AS doneat,
			objects_count AS count, copied, skipped, failed, handed, bytes,
			coalesce(first_key, '') AS first, coalesce(last_key, '') AS last,
			coalesce(spec::text, '') AS spec, coalesce(objects::text, '') AS objects, coalesce(result::text, '') AS result,
			agent, fault, error, coalesce(upload, 0) AS upload, coalesce(n, 0) AS n, coalesce(parent, 0) AS parent, suspect
		FROM tranship.items
		ORDER BY id`

	var rows []ledger.ItemRow
	b.must(sqlx.NewDb(b.sql, "postgres").SelectContext(b.ctx(), &rows, b.inHours(query)))
	for i := range rows {
		r := &rows[i]
		recode[work.Range](b, &r.Spec)
		recode[[]work.Object](b, &r.Objects)
		if r.Kind == string(work.Part) {
			recode[work.StoredPart](b, &r.Result)
		} else {
			recode[[]work.ObjectOutcome](b, &r.Result)
		}
	}
	return rows
}

// inHours makes of hours(column) the full hours since the ledger is there.
func (b *bench) inHours(query string) string {
	since := b.twin.start.Add(-b.twin.advanced).UTC().Format(time.RFC3339Nano)
	return regexp.MustCompile(`hours\((\w+)\)`).ReplaceAllString(query,
		`coalesce(floor((extract(epoch FROM $1) - extract(epoch FROM timestamptz '`+since+`')) / 3600)::float8::text, '')`)
}

// uploadRows reads all uploads.
func (b *bench) uploadRows() []ledger.UploadRow {
	b.t.Helper()
	const query = `
		SELECT id, job_id AS job, begin_id AS begin, coalesce(item_id, 0) AS item, key, size, etag, object::text AS object,
			upload_id AS uploadid, part_size AS partsize, parts, parts_left AS "left", dropped, stood, repeated, state
		FROM tranship.uploads
		ORDER BY id`

	var rows []ledger.UploadRow
	b.must(sqlx.NewDb(b.sql, "postgres").SelectContext(b.ctx(), &rows, query))
	for i := range rows {
		recode[work.Object](b, &rows[i].Object)
	}
	return rows
}

// recode writes JSON of a T as Go does.
func recode[T any](b *bench, text *string) {
	b.t.Helper()
	if *text == "" {
		return
	}
	var v T
	b.must(json.Unmarshal([]byte(*text), &v))
	*text = string(must(json.Marshal(v)))
}
