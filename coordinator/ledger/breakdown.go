package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Bounds of a breakdown: somebody waits for it.
const (
	mostItems    = 400_000 // that are looked at: a hundred million objects
	mostUnfolded = 256     // items whose objects are looked at one by one
	mostParts    = 5000    // parts of keys that are told apart
	mostRows     = 100
)

// Breakdown counts the objects of a job below a prefix by the next part of
// their keys.
//
// An item is a run of keys that follow each other, so nearly all items lie
// below one part whole, and are counted without looking into them. The others
// are unfolded, up to a bound. Of an item that handed objects on, the bytes of
// those that stayed are taken to be the average.
func (l *Ledger) Breakdown(ctx context.Context, q work.BreakdownQuery) (work.Breakdown, error) {
	b := work.Breakdown{Rows: []work.BreakdownRow{}}
	whole, unfold, err := l.countItems(ctx, q, &b)
	if err != nil {
		return b, fmt.Errorf("break job %d down below %s: %w", q.Job, work.Quote(q.Prefix), err)
	}
	single, err := l.countObjects(ctx, q, unfold)
	if err != nil {
		return b, fmt.Errorf("break job %d down below %s: %w", q.Job, work.Quote(q.Prefix), err)
	}
	parts := map[string]work.Counted{}
	for _, r := range append(whole, single...) {
		parts[string(r.Part)] = parts[string(r.Part)].Plus(r.Counted)
	}
	for part, c := range parts {
		b.Rows = append(b.Rows, work.BreakdownRow{Prefix: q.Prefix + part, Leaf: part == "", Counted: c})
	}
	slices.SortFunc(b.Rows, func(a, b work.BreakdownRow) int {
		return cmp.Or(cmp.Compare(b.Objects, a.Objects), strings.Compare(a.Prefix, b.Prefix))
	})
	for _, r := range b.Rows[min(len(b.Rows), mostRows):] {
		b.More, b.MoreParts = b.More.Plus(r.Counted), b.MoreParts+1
	}
	b.Rows = b.Rows[:min(len(b.Rows), mostRows)]
	return b, nil
}

// nextPart is the SQL of the part of a key that follows the prefix $2, with its
// slash; empty if the key has no further slash.
func nextPart(key string) string {
	rest := "substring(" + key + " FROM octet_length($2::bytea) + 1)"
	return "substring(" + rest + ` FOR position('\x2f'::bytea IN ` + rest + "))"
}

// A partRow is what was counted below a part of a key.
type partRow struct {
	Part []byte // nil: below several
	Item int64  // that holds several parts and is to be unfolded; 0: none
	Many int64  // parts that were counted together; 0: one
	Seen int64  // items that were looked at, in all
	work.Counted
}

// countItems counts by whole items. It returns the parts, and the items that
// are to be unfolded; the rest goes into b.
func (l *Ledger) countItems(ctx context.Context, q work.BreakdownQuery, b *work.Breakdown) (whole []partRow, unfold []int64, err error) {
	query := `
		WITH seen AS MATERIALIZED (
			SELECT id, objects_count - handed AS objects, copied, skipped, failed,
				CASE WHEN handed = 0 THEN bytes ELSE bytes * (objects_count - handed) / objects_count END AS bytes,
				` + nextPart("first_key") + ` AS part,
				first_key >= $2 AND ($3::bytea IS NULL OR last_key < $3)
				AND ` + nextPart("first_key") + ` = ` + nextPart("last_key") + ` AS whole
			FROM items
			-- Not job_id = $1: see itemsWith.
			WHERE (job_id, id) >= ($1, 0) AND job_id <= $1 AND kind IN ('copy', 'begin', 'finish')
			AND handed < objects_count AND last_key >= $2 AND ($3::bytea IS NULL OR first_key < $3)
			ORDER BY job_id, id
			LIMIT $4 + 1
		), parts AS (
			SELECT part, sum(objects) AS objects, sum(bytes) AS bytes, sum(copied) AS copied, sum(skipped) AS skipped,
				sum(failed) AS failed, row_number() OVER (ORDER BY sum(objects) DESC, part) AS nth
			FROM seen
			WHERE whole
			GROUP BY part
		), mixed AS (
			SELECT *, row_number() OVER (ORDER BY id) AS nth
			FROM seen
			WHERE NOT whole
		)
		SELECT CASE WHEN nth <= $5 THEN part END AS part, 0 AS item, CASE WHEN nth <= $5 THEN 0 ELSE count(*) END AS many,
			(SELECT count(*) FROM seen) AS seen,
			sum(objects)::bigint AS objects, sum(bytes)::bigint AS bytes,
			sum(copied)::bigint AS copied, sum(skipped)::bigint AS skipped, sum(failed)::bigint AS failed
		FROM parts
		GROUP BY nth <= $5, CASE WHEN nth <= $5 THEN part END
		UNION ALL
		SELECT NULL, CASE WHEN nth <= $6 THEN id ELSE 0 END, 0, (SELECT count(*) FROM seen),
			sum(objects)::bigint, sum(bytes)::bigint, sum(copied)::bigint, sum(skipped)::bigint, sum(failed)::bigint
		FROM mixed
		GROUP BY CASE WHEN nth <= $6 THEN id ELSE 0 END`

	var rows []partRow
	err = l.db.SelectContext(ctx, &rows, query, q.Job, []byte(q.Prefix), beyond(q.Prefix), mostItems, mostParts, mostUnfolded)
	for _, r := range rows {
		b.Partial = r.Seen > mostItems
		switch {
		case r.Many > 0:
			b.More, b.MoreParts = b.More.Plus(r.Counted), b.MoreParts+r.Many
		case r.Item > 0:
			unfold = append(unfold, r.Item)
		case r.Part == nil:
			b.Mixed = r.Counted
		default:
			whole = append(whole, r)
		}
	}
	return whole, unfold, err
}

// countObjects counts the objects of some items one by one.
func (l *Ledger) countObjects(ctx context.Context, q work.BreakdownQuery, items []int64) ([]partRow, error) {
	query := `
		SELECT ` + nextPart("key_bytes") + ` AS part, count(*) AS objects, sum(size)::bigint AS bytes,
			count(*) FILTER (WHERE outcome = 'copied') AS copied, count(*) FILTER (WHERE outcome = 'skipped') AS skipped,
			count(*) FILTER (WHERE outcome = 'failed') AS failed
		FROM objects
		WHERE job_id = $1 AND item_id = ANY ($3)
		AND substring(key_bytes FOR octet_length($2::bytea)) = $2::bytea
		GROUP BY 1`

	if len(items) == 0 {
		return nil, nil
	}
	var rows []partRow
	err := l.db.SelectContext(ctx, &rows, query, q.Job, []byte(q.Prefix), pq.Array(items))
	return rows, err
}
