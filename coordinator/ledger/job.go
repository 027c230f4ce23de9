package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// jobColumns are the columns of a jobRow, of jobs AS j.
const jobColumns = `
	j.id, j.name, j.source, j.target, j.options AS choices, j.site, j.class, j.state, j.error,
	j.submitted_by AS submittedby, j.created_at AS createdat, j.started_at AS begun, j.finished_at AS ended,
	j.planned, j.copied, j.skipped, j.failed, j.open, j.retries,
	j.planned_bytes AS plannedbytes, j.done_bytes AS donebytes, j.moved_bytes AS movedbytes,
	j.report AS found, CASE WHEN j.state = 'running' THEN j.stalled END AS stands,
	EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'ready' AND i.kind = 'scan')
	OR EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'queued' AND i.kind = 'scan') AS scanning`

// A jobRow is a job as a query returns it.
type jobRow struct {
	work.Job
	Choices []byte // Options
	Found   []byte // Report
	Stands  []byte // Stalled
	Begun   sql.NullTime
	Ended   sql.NullTime
}

func (r jobRow) job() (work.Job, error) {
	j := r.Job
	if err := json.Unmarshal(r.Choices, &j.Options); err != nil {
		return work.Job{}, fmt.Errorf("read the options of job %d: %w", j.ID, err)
	}
	if r.Found != nil {
		if err := json.Unmarshal(r.Found, &j.Report); err != nil {
			return work.Job{}, fmt.Errorf("read the report of job %d: %w", j.ID, err)
		}
	}
	if r.Stands != nil {
		if err := json.Unmarshal(r.Stands, &j.Stalled); err != nil {
			return work.Job{}, fmt.Errorf("read why job %d is stalled: %w", j.ID, err)
		}
		j.Stalled.Job = j.ID
	}
	j.CreatedAt = j.CreatedAt.UTC()
	j.StartedAt, j.FinishedAt = timeOf(r.Begun), timeOf(r.Ended)
	return j, nil
}

// timeOf returns a time in UTC, zero for NULL.
func timeOf(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// CreateJob writes a job, its first scan item and the event of its creation.
// If the idempotency key was used before with the same request, it returns the
// job of then and created is false; with another request, work.ErrIdempotency.
func (l *Ledger) CreateJob(ctx context.Context, n work.NewJob, idem work.Idempotency) (job work.Job, created bool, err error) {
	if n.Site == "" {
		n.Site = work.DefaultSite
	}
	if n.Class == "" {
		n.Class = work.Norm
	}
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		id, err := insertJob(ctx, tx, n, idem)
		if errors.Is(err, sql.ErrNoRows) {
			job, err = jobOfKey(ctx, tx, idem)
			return err
		}
		if err != nil {
			return err
		}
		first := []newRow{{
			item: work.NewItem{Kind: work.Scan, Range: &work.Range{}},
			job:  id, site: n.Site,
		}}
		if err := insertItems(ctx, tx, first); err != nil {
			return err
		}
		if err := addEvent(ctx, tx, id, n.SubmittedBy, "created", n.Source+" to "+n.Target); err != nil {
			return err
		}
		job, err = getJob(ctx, tx, id)
		created = err == nil
		return err
	})
	if err != nil {
		return work.Job{}, false, fmt.Errorf("create a job: %w", err)
	}
	return job, created, nil
}

// insertJob returns sql.ErrNoRows if the idempotency key is taken.
func insertJob(ctx context.Context, tx *sqlx.Tx, n work.NewJob, idem work.Idempotency) (work.JobID, error) {
	const query = `
		INSERT INTO jobs (name, source, target, options, site, class, submitted_by, idempotency_key, idempotency_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9)
		ON CONFLICT (idempotency_key) DO NOTHING
		RETURNING id`

	options, err := json.Marshal(n.Options)
	if err != nil {
		return 0, fmt.Errorf("write the options: %w", err)
	}
	var id work.JobID
	err = tx.GetContext(ctx, &id, query, plain(n.Name), n.Source, n.Target, string(options), n.Site, string(n.Class),
		plain(n.SubmittedBy), idem.Key, idem.Hash)
	return id, err
}

// jobOfKey returns the job that was created under the idempotency key.
func jobOfKey(ctx context.Context, tx *sqlx.Tx, idem work.Idempotency) (work.Job, error) {
	const query = `SELECT id, idempotency_hash AS hash FROM jobs WHERE idempotency_key = $1`

	var was struct {
		ID   work.JobID
		Hash []byte
	}
	if err := tx.GetContext(ctx, &was, query, idem.Key); err != nil {
		return work.Job{}, err
	}
	if !bytes.Equal(was.Hash, idem.Hash) {
		return work.Job{}, fmt.Errorf("%w: %q created job %d", work.ErrIdempotency, idem.Key, was.ID)
	}
	return getJob(ctx, tx, was.ID)
}

// Job returns a job.
func (l *Ledger) Job(ctx context.Context, id work.JobID) (work.Job, error) {
	return getJob(ctx, l.db, id)
}

func getJob(ctx context.Context, q sqlx.QueryerContext, id work.JobID) (work.Job, error) {
	const query = `SELECT` + jobColumns + ` FROM jobs j WHERE j.id = $1`

	var row jobRow
	err := sqlx.GetContext(ctx, q, &row, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Job{}, fmt.Errorf("%w: %d", work.ErrNoJob, id)
	}
	if err != nil {
		return work.Job{}, fmt.Errorf("read job %d: %w", id, err)
	}
	return row.job()
}

// Jobs lists jobs, newest first. An empty next means that there are no more.
func (l *Ledger) Jobs(ctx context.Context, q work.JobQuery) (jobs []work.Job, next string, err error) {
	const query = `
		SELECT` + jobColumns + `
		FROM jobs j
		WHERE ($1 = '' OR j.state = $1) AND j.id < $2
		AND ($4 = '' OR j.id::text = $4
			OR strpos(lower(j.name), lower($4)) > 0 OR strpos(lower(j.source), lower($4)) > 0 OR strpos(lower(j.target), lower($4)) > 0)
		AND (NOT $5 OR j.failed > 0)
		ORDER BY j.id DESC
		LIMIT $3`

	at, err := parseCursor(q.Cursor, "jobs", cursor{ID: math.MaxInt64})
	if err != nil {
		return nil, "", err
	}
	size := pageSize(q.Limit)
	var rows []jobRow
	if err := l.db.SelectContext(ctx, &rows, query, string(q.State), at.ID, size+1, plain(q.Text), q.Failed); err != nil {
		return nil, "", fmt.Errorf("list jobs: %w", err)
	}
	if len(rows) > size {
		rows = rows[:size]
		next = cursor{Of: "jobs", ID: int64(rows[size-1].ID)}.String()
	}
	for _, r := range rows {
		j, err := r.job()
		if err != nil {
			return nil, "", err
		}
		jobs = append(jobs, j)
	}
	return jobs, next, nil
}

// OpenJob returns the newest open job with the same ends and options, and
// whether there is one.
func (l *Ledger) OpenJob(ctx context.Context, source, target string, o work.Options) (work.Job, bool, error) {
	const query = `
		SELECT` + jobColumns + `
		FROM jobs j
		WHERE j.state IN ('running', 'paused') AND j.source = $1 AND j.target = $2 AND j.options = $3::jsonb
		ORDER BY j.id DESC
		LIMIT 1`

	options, err := json.Marshal(o)
	if err != nil {
		return work.Job{}, false, fmt.Errorf("write the options: %w", err)
	}
	var row jobRow
	err = l.db.GetContext(ctx, &row, query, source, target, string(options))
	if errors.Is(err, sql.ErrNoRows) {
		return work.Job{}, false, nil
	}
	if err != nil {
		return work.Job{}, false, fmt.Errorf("look for an open job from %s to %s: %w", source, target, err)
	}
	job, err := row.job()
	return job, err == nil, err
}

// ActiveSites lists the sites that running jobs have open items for, and those
// that have uploads to abort.
func (l *Ledger) ActiveSites(ctx context.Context) ([]string, error) {
	const query = `
		SELECT j.site
		FROM jobs j
		WHERE j.state = 'running' AND (
			EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'ready')
			OR EXISTS (SELECT FROM items i WHERE i.job_id = j.id AND i.state = 'queued'))
		UNION
		SELECT site
		FROM items
		WHERE kind = 'abort' AND state IN ('ready', 'queued')
		ORDER BY site`

	var sites []string
	if err := l.db.SelectContext(ctx, &sites, query); err != nil {
		return nil, fmt.Errorf("list the active sites: %w", err)
	}
	return sites, nil
}

// OpenControls returns what agents must know of every job that is not ended.
func (l *Ledger) OpenControls(ctx context.Context) (map[work.JobID]work.JobControl, error) {
	const query = `SELECT id, state FROM jobs WHERE finished_at IS NULL AND state IN ('running', 'paused')`

	var rows []struct {
		ID    work.JobID
		State work.JobState
	}
	if err := l.db.SelectContext(ctx, &rows, query); err != nil {
		return nil, fmt.Errorf("list open jobs: %w", err)
	}
	controls := make(map[work.JobID]work.JobControl, len(rows))
	for _, r := range rows {
		controls[r.ID] = work.JobControl{State: r.State}
	}
	return controls, nil
}
