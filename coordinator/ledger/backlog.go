package ledger

import (
	"context"
	"fmt"
	"time"
)

// BacklogLimit is up to where ready items are counted: to count millions every
// few seconds would cost more than it tells.
const BacklogLimit = 100_000

// A Backlog is the open items of running jobs.
type Backlog struct {
	Ready  int64         // to be handed out, up to BacklogLimit
	Queued int64         // on the queue or with an agent
	Oldest time.Duration // how long the item has waited that was due first; 0: none waits
}

// Backlog counts the open items of running jobs.
func (l *Ledger) Backlog(ctx context.Context) (Backlog, error) {
	const query = `
		SELECT
			(SELECT count(*) FROM (
				SELECT FROM jobs j JOIN items i ON i.job_id = j.id
				WHERE j.state = 'running' AND i.state = 'ready' AND i.kind <> 'abort'
				LIMIT $1) counted) AS ready,
			(SELECT count(*) FROM jobs j JOIN items i ON i.job_id = j.id
				WHERE j.state = 'running' AND i.state = 'queued' AND i.kind <> 'abort') AS queued,
			(SELECT coalesce(extract(epoch FROM now() - min(first.not_before)), 0)::float8
				FROM jobs j
				CROSS JOIN (VALUES ('scan'), ('copy'), ('begin'), ('part'), ('finish')) AS k (kind)
				CROSS JOIN LATERAL (
					SELECT i.not_before FROM items i
					WHERE i.job_id = j.id AND i.kind = k.kind AND i.state = 'ready'
					ORDER BY i.not_before
					LIMIT 1) first
				WHERE j.state = 'running' AND first.not_before <= now()) AS seconds`

	var row struct {
		Ready, Queued int64
		Seconds       float64
	}
	if err := l.db.GetContext(ctx, &row, query, BacklogLimit); err != nil {
		return Backlog{}, fmt.Errorf("count the open items: %w", err)
	}
	return Backlog{row.Ready, row.Queued, time.Duration(row.Seconds * float64(time.Second))}, nil
}
