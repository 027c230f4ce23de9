package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Loads returns how much there is to do at each site, and who is there to do
// it: of all sites that running jobs name or where an agent was heard from
// within gone, by name. Ready items are counted up to BacklogLimit a site.
func (l *Ledger) Loads(ctx context.Context, gone time.Duration) ([]work.SiteLoad, error) {
	const query = `
		WITH here AS (
			SELECT site, count(*) FILTER (WHERE state = 'running') AS agents,
				coalesce(sum(stream_limit) FILTER (WHERE state = 'running'), 0) AS streams, sum(rate) AS rate
			FROM agents
			WHERE last_seen > now() - $2::bigint * interval '1 microsecond'
			GROUP BY site
		), asked AS (
			SELECT site, sum(greatest(planned_bytes - done_bytes, 0))::bigint AS bytes
			FROM jobs
			WHERE state = 'running'
			GROUP BY site
		)
		SELECT site, coalesce(a.bytes, 0) AS bytes,
			coalesce(h.agents, 0) AS agents, coalesce(h.streams, 0) AS streams, coalesce(h.rate, 0) AS rate,
			(SELECT count(*) FROM (
				SELECT FROM jobs j JOIN items i ON i.job_id = j.id
				WHERE j.state = 'running' AND j.site = a.site AND i.state = 'ready' AND i.kind <> 'abort'
				LIMIT $1) counted) AS ready,
			(SELECT count(*) FROM jobs j JOIN items i ON i.job_id = j.id
				WHERE j.state = 'running' AND j.site = a.site AND i.state = 'queued' AND i.kind <> 'abort') AS queued,
			(SELECT coalesce(extract(epoch FROM now() - min(first.not_before)), 0)::float8
				FROM jobs j
				CROSS JOIN (VALUES ('scan'), ('copy'), ('begin'), ('part'), ('finish')) AS k (kind)
				CROSS JOIN LATERAL (
					SELECT i.not_before FROM items i
					WHERE i.job_id = j.id AND i.kind = k.kind AND i.state = 'ready'
					ORDER BY i.not_before
					LIMIT 1) first
				WHERE j.state = 'running' AND j.site = a.site AND first.not_before <= now()) AS seconds
		FROM asked a
		FULL JOIN here h USING (site)
		ORDER BY site`

	var rows []struct {
		work.SiteLoad
		Seconds float64
	}
	if err := l.db.SelectContext(ctx, &rows, query, BacklogLimit, gone.Microseconds()); err != nil {
		return nil, fmt.Errorf("count the work of each site: %w", err)
	}
	loads := make([]work.SiteLoad, len(rows))
	for i, r := range rows {
		loads[i] = r.SiteLoad
		loads[i].Oldest = time.Duration(r.Seconds * float64(time.Second))
	}
	return loads, nil
}
