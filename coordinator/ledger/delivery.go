package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// deliveryColumns are the columns of a deliveryRow, of deliveries AS d.
const deliveryColumns = `
	d.id, d.notice, d.receiver, d.kind, d.job_id AS ofjob, d.body, d.state, d.tries, d.next_at AS nextat,
	d.created_at AS createdat, d.sent_at AS sent, d.status, d.error`

// A deliveryRow is a delivery as a query returns it.
type deliveryRow struct {
	work.Delivery
	OfJob sql.NullInt64
	Sent  sql.NullTime
}

func (r deliveryRow) delivery() work.Delivery {
	d := r.Delivery
	d.Job = work.JobID(r.OfJob.Int64)
	d.CreatedAt, d.SentAt = d.CreatedAt.UTC(), timeOf(r.Sent)
	if d.NextAt = d.NextAt.UTC(); d.State != work.DeliveryWaiting {
		d.NextAt = time.Time{}
	}
	return d
}

func deliveriesOf(rows []deliveryRow) []work.Delivery {
	deliveries := make([]work.Delivery, len(rows))
	for i, r := range rows {
		deliveries[i] = r.delivery()
	}
	return deliveries
}

// ClaimDeliveries returns deliveries that are due, for each receiver at most as
// many as there is room for, those first that were due first. Nobody else gets
// them until lease is over: by then the try must have ended. Whoever dies
// before it has settled one leaves it to another.
func (l *Ledger) ClaimDeliveries(ctx context.Context, room map[string]int, lease time.Duration) ([]work.Delivery, error) {
	const query = `
		WITH due AS (
			SELECT w.id
			FROM unnest($1::text[], $2::integer[]) AS r (name, room)
			CROSS JOIN LATERAL (
				SELECT id
				FROM deliveries
				WHERE receiver = r.name AND state = 'waiting' AND next_at <= now()
				ORDER BY next_at
				LIMIT r.room
				FOR UPDATE SKIP LOCKED -- coordinators claim side by side
			) w
		)
		UPDATE deliveries d
		SET tries = tries + 1, next_at = now() + $3::bigint * interval '1 microsecond'
		FROM due
		WHERE d.id = due.id
		RETURNING` + deliveryColumns

	names, rooms := make([]string, 0, len(room)), make([]int64, 0, len(room))
	for name, n := range room {
		names, rooms = append(names, name), append(rooms, int64(n))
	}
	var rows []deliveryRow
	if err := l.db.SelectContext(ctx, &rows, query, pq.Array(names), pq.Array(rooms), lease.Microseconds()); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	return deliveriesOf(rows), nil
}

// SettleDelivery keeps what became of the present try of a delivery. If there
// was another meanwhile, or somebody had it sent again, it changes nothing.
func (l *Ledger) SettleDelivery(ctx context.Context, d work.Delivery, r work.DeliveryResult) error {
	const query = `
		UPDATE deliveries
		SET state = $3, next_at = now() + $4::bigint * interval '1 microsecond', status = $5, error = $6,
			sent_at = CASE WHEN $3 = 'sent' THEN now() ELSE sent_at END
		WHERE id = $1 AND tries = $2 AND state = 'waiting'`

	_, err := l.db.ExecContext(ctx, query, d.ID, d.Tries, string(r.State), r.After.Microseconds(), r.Status, plain(r.Error))
	if err != nil {
		return fmt.Errorf("keep what became of delivery %d: %w", d.ID, err)
	}
	return nil
}

// TestDelivery keeps a delivery of nothing but a test, as if whoever asks had
// claimed it.
func (l *Ledger) TestDelivery(ctx context.Context, receiver, who string, lease time.Duration,
	body func(work.Notice) (string, error)) (work.Delivery, error) {
	const query = `
		INSERT INTO deliveries AS d (notice, kind, receiver, body, tries, next_at)
		VALUES ($1, $2, $3, $4, 1, now() + $5::bigint * interval '1 microsecond')
		RETURNING` + deliveryColumns

	n := work.Notice{ID: noticeID(), Kind: work.NoticeTest, At: time.Now().UTC()}
	text, err := body(n)
	if err != nil {
		return work.Delivery{}, err
	}
	var row deliveryRow
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		row = deliveryRow{}
		if err := tx.GetContext(ctx, &row, query, n.ID, string(n.Kind), receiver, text, lease.Microseconds()); err != nil {
			return err
		}
		return addEvent(ctx, tx, 0, who, "receiver tested", receiver)
	})
	if err != nil {
		return work.Delivery{}, fmt.Errorf("keep a test of receiver %s: %w", receiver, err)
	}
	return row.delivery(), nil
}

// Resend has a delivery tried from the first time on, whatever became of it. If
// there is none, it is work.ErrNotThere.
func (l *Ledger) Resend(ctx context.Context, id work.DeliveryID, who string) (work.Delivery, error) {
	const query = `
		UPDATE deliveries d
		SET state = 'waiting', tries = 0, next_at = now()
		WHERE d.id = $1
		RETURNING` + deliveryColumns

	var row deliveryRow
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		row = deliveryRow{}
		err := tx.GetContext(ctx, &row, query, id)
		if errors.Is(err, sql.ErrNoRows) {
			return work.ErrNotThere
		}
		if err != nil {
			return err
		}
		note := fmt.Sprintf("delivery %d of %s to %s", id, row.Kind, row.Receiver)
		return addEvent(ctx, tx, work.JobID(row.OfJob.Int64), who, "notice resent", note)
	})
	if err != nil {
		return work.Delivery{}, fmt.Errorf("send delivery %d again: %w", id, err)
	}
	return row.delivery(), nil
}

// Deliveries lists deliveries, newest first. An empty next means that there are
// no more.
func (l *Ledger) Deliveries(ctx context.Context, q work.DeliveryQuery) (deliveries []work.Delivery, next string, err error) {
	const query = `
		SELECT` + deliveryColumns + `
		FROM deliveries d
		WHERE ($1 = '' OR d.receiver = $1) AND ($2 = '' OR d.state = $2) AND d.id < $3
		ORDER BY d.id DESC
		LIMIT $4`

	of := "deliveries"
	at, err := parseCursor(q.Cursor, of, cursor{ID: math.MaxInt64})
	if err != nil {
		return nil, "", err
	}
	size := pageSize(q.Limit)
	var rows []deliveryRow
	if err := l.db.SelectContext(ctx, &rows, query, q.Receiver, string(q.State), at.ID, size+1); err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	if len(rows) > size {
		rows = rows[:size]
		next = cursor{Of: of, ID: int64(rows[size-1].ID)}.String()
	}
	return deliveriesOf(rows), next, nil
}

// DeliveryStandings says how deliveries to receivers have fared.
func (l *Ledger) DeliveryStandings(ctx context.Context, receivers []string) (map[string]work.DeliveryStanding, error) {
	const query = `
		SELECT r.name,
			(SELECT count(*) FROM deliveries WHERE receiver = r.name AND state = 'waiting') AS waiting,
			(SELECT count(*) FROM deliveries WHERE receiver = r.name AND state = 'given_up') AS givenup,
			(SELECT max(sent_at) FROM deliveries WHERE receiver = r.name AND state = 'sent') AS sent
		FROM unnest($1::text[]) AS r (name)`

	var rows []struct {
		Name             string
		Waiting, GivenUp int64
		Sent             sql.NullTime
	}
	if err := l.db.SelectContext(ctx, &rows, query, pq.Array(receivers)); err != nil {
		return nil, fmt.Errorf("read how deliveries have fared: %w", err)
	}
	standings := make(map[string]work.DeliveryStanding, len(rows))
	for _, r := range rows {
		standings[r.Name] = work.DeliveryStanding{Waiting: r.Waiting, GivenUp: r.GivenUp, SentAt: timeOf(r.Sent)}
	}
	return standings, nil
}

// deliveryBatch bounds the deliveries that one step forgets or gives up.
const deliveryBatch = 1000

// TidyDeliveries forgets a bounded number of deliveries that are older than
// keep. Those gives up that have been due for longer than orphaned though
// nobody tries: to receivers that are not among known.
func (l *Ledger) TidyDeliveries(ctx context.Context, keep, orphaned time.Duration, known []string) (forgotten int64, err error) {
	const forget = `
		DELETE FROM deliveries
		WHERE id IN (
			SELECT id
			FROM (SELECT id, created_at FROM deliveries ORDER BY id LIMIT $2) oldest
			WHERE created_at < now() - $1::bigint * interval '1 microsecond')`
	const giveUp = `
		UPDATE deliveries
		SET state = 'given_up', error = 'no receiver of the configuration has this name any more'
		WHERE id IN (
			SELECT id
			FROM deliveries
			WHERE state = 'waiting' AND next_at < now() - $1::bigint * interval '1 microsecond' AND receiver <> ALL (coalesce($2::text[], '{}'))
			LIMIT $3
			FOR UPDATE SKIP LOCKED)`

	if _, err := l.db.ExecContext(ctx, giveUp, orphaned.Microseconds(), pq.Array(known), deliveryBatch); err != nil {
		return 0, fmt.Errorf("give deliveries up that nobody tries: %w", err)
	}
	res, err := l.db.ExecContext(ctx, forget, keep.Microseconds(), deliveryBatch)
	if err == nil {
		forgotten, err = res.RowsAffected()
	}
	if err != nil {
		return 0, fmt.Errorf("forget old deliveries: %w", err)
	}
	return forgotten, nil
}
