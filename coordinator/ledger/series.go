package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Series lists at most points samples of a job after since, oldest first: the
// first, the last and the newest at each of the moments that are evenly between
// them. It costs a look-up per point, however many samples there are.
func (l *Ledger) Series(ctx context.Context, id work.JobID, since time.Time, points int) ([]work.Sample, error) {
	const query = `
		WITH span AS (
			SELECT
				(SELECT min(at) FROM samples WHERE job_id = $1 AND at > $2) AS first,
				(SELECT max(at) FROM samples WHERE job_id = $1 AND at > $2) AS last
		)
		SELECT DISTINCT s.at, s.objects, s.failed, s.bytes
		FROM span
		CROSS JOIN generate_series(0, $3::integer - 1) AS n
		CROSS JOIN LATERAL (
			SELECT at, objects, failed, bytes
			FROM samples
			WHERE job_id = $1
			AND at <= CASE WHEN n = $3 - 1 THEN span.last ELSE span.first + (span.last - span.first) * n / ($3 - 1) END
			ORDER BY at DESC
			LIMIT 1
		) s
		ORDER BY s.at`

	var rows []work.Sample
	if err := l.db.SelectContext(ctx, &rows, query, id, since, max(2, points)); err != nil {
		return nil, fmt.Errorf("list %d samples of job %d: %w", points, id, err)
	}
	for i := range rows {
		rows[i].At = rows[i].At.UTC()
	}
	return rows, nil
}
