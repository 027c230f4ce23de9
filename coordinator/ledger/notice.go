package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// A NoticeRule says what is worth a notice.
type NoticeRule struct {
	// FailureRate is the share of a job's final objects, 0 to 1, that may fail.
	// 0: any may.
	FailureRate float64
}

const (
	// leastFinal is how many objects must be final before their failures are a rate.
	leastFinal = 100
	// noticeBatch bounds the jobs that one call looks at.
	noticeBatch = 100
)

// Notices finds what has come to be of jobs and was not told yet. For each it
// keeps the deliveries that address returns, and that they were told of, in
// one transaction: whoever dies, and however many coordinators look, there is
// one notice of each. Of address only the receivers and bodies count; it may
// be called again for the same notice, under another id.
//
// What comes and goes between two calls is not told: a short stall, or an end
// that was retried at once.
func (l *Ledger) Notices(ctx context.Context, rule NoticeRule, address func(work.Notice) ([]work.Delivery, error)) (told []work.Notice, err error) {
	ids, err := l.unnoticed(ctx, rule)
	if err != nil {
		return nil, fmt.Errorf("look for notices: %w", err)
	}
	for _, id := range ids {
		// Counted before the job is locked: there may be many.
		faults, err := l.FailureTally(ctx, id)
		if err != nil {
			return told, err
		}
		some, err := l.noticeJob(ctx, id, rule, faults, address)
		if err != nil {
			return told, fmt.Errorf("keep the notices of job %d: %w", id, err)
		}
		told = append(told, some...)
	}
	return told, nil
}

// unnoticed returns jobs of which there may be something to tell.
func (l *Ledger) unnoticed(ctx context.Context, rule NoticeRule) (ids []work.JobID, err error) {
	const query = `
		SELECT id
		FROM jobs
		WHERE state = 'running' AND (
			(stalled IS NOT NULL) <> noticed ? 'job.stalled'
			OR $1::float8 > 0 AND NOT noticed ? 'job.failure_rate'
			AND copied + skipped + failed >= $2 AND failed > $1::float8 * (copied + skipped + failed))
		UNION ALL
		SELECT id
		FROM jobs
		WHERE state NOT IN ('running', 'paused') AND NOT noticed ?| '{job.finished,job.failed,job.canceled}'
		ORDER BY id
		LIMIT $3`

	err = l.db.SelectContext(ctx, &ids, query, rule.FailureRate, leastFinal, noticeBatch)
	return ids, err
}

func (l *Ledger) noticeJob(ctx context.Context, id work.JobID, rule NoticeRule, faults []work.Tally,
	address func(work.Notice) ([]work.Delivery, error)) (told []work.Notice, err error) {
	const read = `SELECT noticed, now() AS at FROM jobs WHERE id = $1`
	const write = `UPDATE jobs SET noticed = $2 WHERE id = $1`

	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		told = nil
		if _, err := lockJob(ctx, tx, id); err != nil {
			return err
		}
		job, err := getJob(ctx, tx, id)
		if err != nil {
			return err
		}
		var row struct {
			Noticed []byte
			At      time.Time
		}
		if err := tx.GetContext(ctx, &row, read, id); err != nil {
			return err
		}
		var before noticed
		if err := json.Unmarshal(row.Noticed, &before); err != nil {
			return fmt.Errorf("read what was told: %w", err)
		}
		kinds, after := before.next(job, rule, row.At.UTC())
		if maps.Equal(before, after) {
			return nil // another coordinator was faster
		}
		for _, kind := range kinds {
			n := work.Notice{ID: noticeID(), Kind: kind, At: row.At.UTC(), Job: job, Faults: faults}
			deliveries, err := address(n)
			if err != nil {
				return err
			}
			if err := insertDeliveries(ctx, tx, n, deliveries); err != nil {
				return err
			}
			told = append(told, n)
		}
		text, err := json.Marshal(after)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, write, id, string(text))
		return err
	})
	return told, err
}

// noticeID returns an id that no other notice has.
func noticeID() string { return "msg_" + rand.Text() }

// noticed says of which kinds there was a notice, and when; zero: before there
// were notices.
type noticed map[work.NoticeKind]time.Time

// next returns what is to be told of a job, and what was told then.
func (n noticed) next(j work.Job, rule NoticeRule, now time.Time) (kinds []work.NoticeKind, after noticed) {
	after = maps.Clone(n)
	if after == nil {
		after = noticed{}
	}
	tell := func(kind work.NoticeKind) {
		if _, known := after[kind]; !known {
			kinds, after[kind] = append(kinds, kind), now
		}
	}
	if final := j.Copied + j.Skipped + j.Failed; rule.FailureRate > 0 && final >= leastFinal &&
		float64(j.Failed) > rule.FailureRate*float64(final) {
		tell(work.NoticeFailing)
	}
	_, stalled := n[work.NoticeStalled]
	switch j.State {
	case work.Running:
		switch {
		case j.Stalled != nil:
			tell(work.NoticeStalled)
		case stalled:
			delete(after, work.NoticeStalled)
			kinds = append(kinds, work.NoticeMoving)
		}
	case work.Succeeded, work.Incomplete:
		tell(work.NoticeFinished)
	case work.JobFailed:
		tell(work.NoticeFailed)
	case work.Canceled:
		tell(work.NoticeCanceled)
	}
	return kinds, after
}

// insertDeliveries keeps deliveries of a notice.
func insertDeliveries(ctx context.Context, tx *sqlx.Tx, n work.Notice, deliveries []work.Delivery) error {
	const query = `
		INSERT INTO deliveries (notice, kind, job_id, receiver, body)
		SELECT $1, $2, nullif($3::bigint, 0), u.receiver, u.body
		FROM unnest($4::text[], $5::text[]) AS u (receiver, body)`

	receivers, bodies := make([]string, len(deliveries)), make([]string, len(deliveries))
	for i, d := range deliveries {
		receivers[i], bodies[i] = d.Receiver, d.Body
	}
	_, err := tx.ExecContext(ctx, query, n.ID, string(n.Kind), int64(n.Job.ID), pq.Array(receivers), pq.Array(bodies))
	return err
}
