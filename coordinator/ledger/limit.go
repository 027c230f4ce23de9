package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// A limitRow is a limit as a query returns it.
type limitRow struct {
	work.Limit
	Weekly []byte // Windows
}

const limitColumns = `
	id, scope, name, bytes, requests, windows AS weekly, changed_at AS changedat, changed_by AS changedby`

func (r limitRow) limit() (work.Limit, error) {
	l := r.Limit
	l.ChangedAt = l.ChangedAt.UTC()
	if r.Weekly != nil {
		if err := json.Unmarshal(r.Weekly, &l.Windows); err != nil {
			return work.Limit{}, fmt.Errorf("read the windows of limit %d: %w", l.ID, err)
		}
	}
	return l, nil
}

// Limits lists all limits, in the order of their scopes and names.
func (l *Ledger) Limits(ctx context.Context) ([]work.Limit, error) {
	const query = `SELECT` + limitColumns + ` FROM limits ORDER BY scope, name`

	limits, err := readLimits(ctx, l.db, query)
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return limits, nil
}

func readLimits(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]work.Limit, error) {
	var rows []limitRow
	if err := sqlx.SelectContext(ctx, q, &rows, query, args...); err != nil {
		return nil, err
	}
	limits := make([]work.Limit, 0, len(rows))
	for _, r := range rows {
		limit, err := r.limit()
		if err != nil {
			return nil, err
		}
		limits = append(limits, limit)
	}
	return limits, nil
}

// SetLimit makes a limit, or replaces that of the same scope and name, and
// returns it and what stood there before, nil if nothing did. With dry it only
// says so. It is work.ErrTooMany if there are as many as there may be,
// work.ErrNoJob if it is about a job that is not there, and an error of
// work.Limit.Check if it cannot be one.
func (l *Ledger) SetLimit(ctx context.Context, limit work.Limit, who string, dry bool) (now work.Limit, before *work.Limit, err error) {
	if err := limit.Check(); err != nil {
		return work.Limit{}, nil, err
	}
	err = l.changeLimits(ctx, func(tx *sqlx.Tx) (err error) {
		if before, err = getLimit(ctx, tx, limit.Scope, limit.Name); err != nil {
			return err
		}
		if err := mayLimit(ctx, tx, limit, before == nil); err != nil {
			return err
		}
		if dry {
			now = limit
			return nil
		}
		if err := putLimit(ctx, tx, limit, who); err != nil {
			return err
		}
		set, err := getLimit(ctx, tx, limit.Scope, limit.Name)
		if err != nil {
			return err
		}
		now = *set
		note := aboutLimit(&now) + ": " + limitText(before) + ", now " + limitText(&now)
		return addEvent(ctx, tx, jobOfLimit(&now), who, "limit set", note)
	})
	if err != nil {
		return work.Limit{}, nil, fmt.Errorf("limit %s %s: %w", limit.Scope, work.Quote(limit.Name), err)
	}
	return now, before, nil
}

// RemoveLimit removes a limit and returns it. With dry it only says which. It is
// work.ErrNotThere if there is none.
func (l *Ledger) RemoveLimit(ctx context.Context, scope work.LimitScope, name string, who string, dry bool) (work.Limit, error) {
	const query = `DELETE FROM limits WHERE id = $1`

	var gone work.Limit
	err := l.changeLimits(ctx, func(tx *sqlx.Tx) error {
		found, err := getLimit(ctx, tx, scope, name)
		switch {
		case err != nil:
			return err
		case found == nil:
			return work.ErrNotThere
		}
		if gone = *found; dry {
			return nil
		}
		if _, err := tx.ExecContext(ctx, query, gone.ID); err != nil {
			return err
		}
		return addEvent(ctx, tx, jobOfLimit(&gone), who, "limit removed", aboutLimit(&gone)+": "+limitText(&gone)+", now none")
	})
	if err != nil {
		return work.Limit{}, fmt.Errorf("remove the limit of %s %s: %w", scope, work.Quote(name), err)
	}
	return gone, nil
}

// changeLimits runs f alone among all that change limits: there may be only so
// many.
func (l *Ledger) changeLimits(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	const query = `SELECT pg_advisory_xact_lock(hashtext('tranship limits'))`

	return l.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return err
		}
		return f(tx)
	})
}

// getLimit returns nil if there is none.
func getLimit(ctx context.Context, tx *sqlx.Tx, scope work.LimitScope, name string) (*work.Limit, error) {
	const query = `SELECT` + limitColumns + ` FROM limits WHERE scope = $1 AND name = $2`

	var row limitRow
	err := tx.GetContext(ctx, &row, query, string(scope), name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	limit, err := row.limit()
	return &limit, err
}

// mayLimit reports why a limit may not be set.
func mayLimit(ctx context.Context, tx *sqlx.Tx, limit work.Limit, another bool) error {
	const count = `SELECT count(*) FROM limits`

	if id := jobOfLimit(&limit); id != 0 {
		if _, err := lockJob(ctx, tx, id); err != nil {
			return err
		}
	}
	if !another {
		return nil
	}
	var n int
	if err := tx.GetContext(ctx, &n, count); err != nil {
		return err
	}
	if n >= work.MaxLimits {
		return work.ErrTooMany
	}
	return nil
}

func putLimit(ctx context.Context, tx *sqlx.Tx, limit work.Limit, who string) error {
	const query = `
		INSERT INTO limits (scope, name, bytes, requests, windows, changed_by)
		VALUES ($1, $2, $3, $4, nullif($5, '')::jsonb, $6)
		ON CONFLICT (scope, name) DO UPDATE SET
			bytes = excluded.bytes, requests = excluded.requests, windows = excluded.windows,
			changed_at = now(), changed_by = excluded.changed_by`

	windows, err := jsonOf(limit.Windows, len(limit.Windows) > 0)
	if err != nil {
		return err
	}
	if who == "" {
		who = nobody
	}
	_, err = tx.ExecContext(ctx, query, string(limit.Scope), limit.Name, limit.Bytes, limit.Requests, windows, plain(who))
	return err
}

// jobOfLimit returns the job that a limit is about, 0 if it is about none.
func jobOfLimit(l *work.Limit) work.JobID {
	if l.Scope != work.LimitJob {
		return 0
	}
	id, err := strconv.ParseInt(l.Name, 10, 64)
	if err != nil {
		return 0
	}
	return work.JobID(id)
}

func aboutLimit(l *work.Limit) string { return string(l.Scope) + " " + work.Quote(l.Name) }

// limitText says how much a limit allows, for the audit log.
func limitText(l *work.Limit) string {
	if l == nil {
		return "none"
	}
	all := []string{rateText(l.Rate)}
	for _, w := range l.Windows {
		what := rateText(w.Rate)
		if w.Stop {
			what = "stop"
		}
		var days []string
		for _, d := range w.Days {
			days = append(days, strings.ToLower(d.String()[:3]))
		}
		when := strings.TrimSpace(strings.Join(days, ",") + " " + w.From + "-" + w.Until + " " + w.Zone)
		all = append(all, "["+when+"] "+what)
	}
	return strings.Join(all, ", ")
}

func rateText(r work.Rate) string {
	var all []string
	if r.Bytes > 0 {
		all = append(all, strconv.FormatInt(r.Bytes, 10)+" bytes/s")
	}
	if r.Requests > 0 {
		all = append(all, strconv.FormatFloat(r.Requests, 'f', -1, 64)+" requests/s")
	}
	if len(all) == 0 {
		return "unbounded"
	}
	return strings.Join(all, " and ")
}

// Shares lists what agents may be using of limits.
func (l *Ledger) Shares(ctx context.Context) ([]work.ShareRow, error) {
	shares, err := readShares(ctx, l.db)
	if err != nil {
		return nil, fmt.Errorf("list shares: %w", err)
	}
	return shares, nil
}

func readShares(ctx context.Context, q sqlx.QueryerContext) ([]work.ShareRow, error) {
	const query = `
		SELECT limit_id AS "limit", site, agent, bytes, requests,
			told_bytes AS "told.bytes", told_requests AS "told.requests", until
		FROM shares
		WHERE until > now()
		ORDER BY limit_id, site, agent`

	var rows []work.ShareRow
	if err := sqlx.SelectContext(ctx, q, &rows, query); err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Until = rows[i].Until.UTC()
	}
	return rows, nil
}

// Unbounded lists the agents, as site/agent, that limits do not bound: they
// were heard of within alive and do not answer what they are told of limits.
func (l *Ledger) Unbounded(ctx context.Context, alive time.Duration) ([]string, error) {
	const query = `
		SELECT a.site || '/' || a.agent
		FROM agents a
		LEFT JOIN sharers s ON s.site = a.site AND s.agent = a.agent
		WHERE a.last_seen > now() - $1::bigint * interval '1 microsecond'
		AND (s.answered_at IS NULL OR s.answered_at <= now() - $1::bigint * interval '1 microsecond')
		ORDER BY 1`

	var agents []string
	if err := l.db.SelectContext(ctx, &agents, query, alive.Microseconds()); err != nil {
		return nil, fmt.Errorf("list agents without shares: %w", err)
	}
	return agents, nil
}
