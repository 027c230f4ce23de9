package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Failures lists objects that were given up, oldest first. An empty next means
// that there are no more.
func (l *Ledger) Failures(ctx context.Context, q work.FailureQuery) (failures []work.Failure, next string, err error) {
	const query = `
		SELECT id AS row, item_id AS item, key AS keybytes, fault, message, attempts, agent, at
		FROM failures
		WHERE job_id = $1 AND id > $2 AND ($3 = '' OR fault = $3)
		AND substring(key FOR octet_length($4::bytea)) = $4::bytea
		ORDER BY id
		LIMIT $5`

	of := "failures of " + q.Job.String()
	at, err := parseCursor(q.Cursor, of, cursor{})
	if err != nil {
		return nil, "", err
	}
	size := pageSize(q.Limit)
	var rows []struct {
		Row      int64
		Item     work.ItemID
		KeyBytes []byte
		Fault    work.Fault
		Message  string
		Attempts int
		Agent    string
		At       time.Time
	}
	if err := l.db.SelectContext(ctx, &rows, query, q.Job, at.ID, string(q.Fault), []byte(q.Prefix), size+1); err != nil {
		return nil, "", fmt.Errorf("list failures of job %d: %w", q.Job, err)
	}
	if len(rows) > size {
		rows = rows[:size]
		next = cursor{Of: of, ID: rows[size-1].Row}.String()
	}
	for _, r := range rows {
		failures = append(failures, work.Failure{
			Job: q.Job, Item: r.Item, Key: string(r.KeyBytes), Fault: r.Fault, Message: r.Message,
			Attempts: r.Attempts, Agent: r.Agent, At: r.At.UTC(),
		})
	}
	return failures, next, nil
}

// FailureTally counts the failures of a job by fault, the most frequent first,
// each with the key and the message of its first.
func (l *Ledger) FailureTally(ctx context.Context, id work.JobID) ([]work.Tally, error) {
	const query = `
		SELECT t.fault AS name, t.n AS count, f.key AS keybytes, f.message AS text
		FROM (
			SELECT fault, count(*) AS n, min(id) AS first FROM failures WHERE job_id = $1 GROUP BY fault
		) t
		JOIN failures f ON f.id = t.first
		ORDER BY t.n DESC, t.fault`

	tallies, err := l.tally(ctx, query, id)
	if err != nil {
		return nil, fmt.Errorf("count failures of job %d: %w", id, err)
	}
	return tallies, nil
}

// tally runs a query that counts.
func (l *Ledger) tally(ctx context.Context, query string, args ...any) ([]work.Tally, error) {
	var rows []struct {
		work.Tally
		KeyBytes []byte
	}
	if err := l.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	tallies := make([]work.Tally, len(rows))
	for i, r := range rows {
		tallies[i] = r.Tally
		tallies[i].Key = string(r.KeyBytes)
	}
	return tallies, nil
}
