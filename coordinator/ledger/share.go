package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// shareSpare is how much longer than it says an allotment is taken to count:
// clocks do not run quite alike.
const shareSpare = time.Second

// Allot divides the limits among the agents that were heard of within alive: it
// returns what divide grants them, numbered, once the ledger holds that they may
// be using it. Until an agent has answered, the ledger holds the most of what it
// may still believe to be its own.
//
// An allotment counts from an answer, and until its time is over after that; so
// what an agent may believe is bounded by the ledger's clock alone, however late
// it hears of anything. An answer older than fresh is taken for none.
//
// Of several coordinators one divides at a time; the others get nothing.
func (l *Ledger) Allot(ctx context.Context, alive, fresh time.Duration, divide func(work.Division) []work.Grant) ([]work.Grant, error) {
	const lock = `SELECT pg_try_advisory_xact_lock(hashtext('tranship allot'))`

	var grants []work.Grant
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		grants = nil
		var mine bool
		if err := tx.GetContext(ctx, &mine, lock); err != nil || !mine {
			return err
		}
		d, err := readDivision(ctx, tx, alive, fresh)
		if err != nil {
			return err
		}
		grants = divide(d)
		return keepGrants(ctx, tx, grants)
	})
	if err != nil {
		return nil, fmt.Errorf("divide the limits: %w", err)
	}
	return grants, nil
}

func readDivision(ctx context.Context, tx *sqlx.Tx, alive, fresh time.Duration) (d work.Division, err error) {
	const (
		now    = `SELECT now()`
		over   = `DELETE FROM shares WHERE until <= now()`
		limits = `
			SELECT` + limitColumns + `
			FROM limits
			WHERE scope <> 'job' OR name IN (SELECT id::text FROM jobs WHERE state IN ('running', 'paused'))
			ORDER BY id`
		jobs = `SELECT id, site, source, target FROM jobs WHERE state = 'running' ORDER BY id`
	)
	if err := tx.GetContext(ctx, &d.Now, now); err != nil {
		return d, err
	}
	if _, err := tx.ExecContext(ctx, over); err != nil {
		return d, err
	}
	if d.Limits, err = readLimits(ctx, tx, limits); err != nil {
		return d, err
	}
	if len(d.Limits) > 0 {
		if err := tx.SelectContext(ctx, &d.Jobs, jobs); err != nil {
			return d, err
		}
	}
	if d.Sharers, err = readSharers(ctx, tx, alive, fresh); err != nil {
		return d, err
	}
	d.InForce, err = readShares(ctx, tx)
	return d, err
}

func readSharers(ctx context.Context, tx *sqlx.Tx, alive, fresh time.Duration) ([]work.Sharer, error) {
	const query = `
		SELECT a.site, a.agent, coalesce(s.bound, false) AS bound, s.uses AS used,
			CASE WHEN s.answered_at > now() - $2::bigint * interval '1 microsecond' THEN s.stamp ELSE '' END AS stamp
		FROM agents a
		LEFT JOIN sharers s ON s.site = a.site AND s.agent = a.agent
		WHERE a.last_seen > now() - $1::bigint * interval '1 microsecond'
		ORDER BY a.site, a.agent`

	var rows []struct {
		work.Sharer
		Used []byte
	}
	if err := tx.SelectContext(ctx, &rows, query, alive.Microseconds(), fresh.Microseconds()); err != nil {
		return nil, err
	}
	sharers := make([]work.Sharer, len(rows))
	for i, r := range rows {
		sharers[i] = r.Sharer
		if r.Used == nil || r.Stamp == "" {
			continue
		}
		if err := json.Unmarshal(r.Used, &sharers[i].Uses); err != nil {
			return nil, fmt.Errorf("read what %s/%s uses: %w", r.Site, r.Agent, err)
		}
	}
	return sharers, nil
}

// keepGrants numbers grants and notes what they let agents use, beside what they
// may be using already.
func keepGrants(ctx context.Context, tx *sqlx.Tx, grants []work.Grant) error {
	const (
		number = `SELECT nextval('allotments')`
		told   = `
			UPDATE sharers s
			SET told = $3, bound = s.bound OR g.bound
			FROM unnest($1::text[], $2::text[], $4::boolean[]) AS g (site, agent, bound)
			WHERE s.site = g.site AND s.agent = g.agent`
		share = `
			INSERT INTO shares AS s (site, agent, limit_id, bytes, requests, told_bytes, told_requests, until)
			SELECT g.site, g.agent, g.id, g.bytes, g.requests, g.bytes, g.requests,
				a.answered_at + g.lasts * interval '1 microsecond'
			FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::double precision[], $6::bigint[])
				AS g (site, agent, id, bytes, requests, lasts)
			JOIN sharers a ON a.site = g.site AND a.agent = g.agent
			WHERE g.bytes > 0 OR g.requests > 0 OR EXISTS ( -- or there is nothing to remember
				SELECT FROM shares o WHERE o.limit_id = g.id AND o.site = g.site AND o.agent = g.agent)
			ON CONFLICT (limit_id, site, agent) DO UPDATE SET
				bytes = greatest(s.bytes, excluded.bytes), requests = greatest(s.requests, excluded.requests),
				told_bytes = excluded.told_bytes, told_requests = excluded.told_requests,
				until = greatest(s.until, excluded.until)`
	)
	if len(grants) == 0 {
		return nil
	}
	var seq int64
	if err := tx.GetContext(ctx, &seq, number); err != nil {
		return err
	}
	var sites, agents []string
	var bound []bool
	var rows shareRows
	for i := range grants {
		g := &grants[i]
		g.Seq = seq
		if g.Since == "" {
			continue
		}
		sites, agents, bound = append(sites, g.Site), append(agents, g.Agent), append(bound, len(g.Shares) > 0)
		for _, s := range g.Shares {
			rows.add(*g, s)
		}
	}
	if _, err := tx.ExecContext(ctx, told, pq.Array(sites), pq.Array(agents), seq, pq.Array(bound)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, share, rows.columns()...)
	return err
}

// shareRows are shares on their way to a statement.
type shareRows struct {
	sites, agents []string
	ids, bytes    []int64
	requests      []float64
	lasts         []int64 // microseconds
}

func (r *shareRows) add(g work.Grant, s work.Share) {
	r.sites, r.agents, r.ids = append(r.sites, g.Site), append(r.agents, g.Agent), append(r.ids, int64(s.Limit))
	r.bytes, r.requests = append(r.bytes, s.Bytes), append(r.requests, s.Requests)
	r.lasts = append(r.lasts, (g.For + shareSpare).Microseconds())
}

func (r *shareRows) columns() []any {
	return []any{pq.Array(r.sites), pq.Array(r.agents), pq.Array(r.ids), pq.Array(r.bytes), pq.Array(r.requests), pq.Array(r.lasts)}
}

// Answered notes what agents said to what Allot returned. What counts for an
// agent then is all that it may be using, unless it was granted more meanwhile.
func (l *Ledger) Answered(ctx context.Context, answers []work.Answer) error {
	if len(answers) == 0 {
		return nil
	}
	answers = slices.Clone(answers) // in one order everywhere
	slices.SortFunc(answers, func(a, b work.Answer) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Agent, b.Agent))
	})
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := keepFormer(ctx, tx, answers); err != nil {
			return err
		}
		told, err := noteAnswers(ctx, tx, answers)
		if err != nil {
			return err
		}
		var taken []work.Answer
		for _, a := range answers {
			if a.Since != "" && a.Taken.Seq == a.Grant.Seq && told[[2]string{a.Site, a.Agent}] == a.Grant.Seq {
				taken = append(taken, a)
			}
		}
		return keepTaken(ctx, tx, taken)
	})
	if err != nil {
		return fmt.Errorf("note %d answers about limits: %w", len(answers), err)
	}
	return nil
}

// keepFormer sets apart what former processes of agents that were restarted may
// be using: nobody can tell them anything any more, and they may still be there.
// A stamp begins with the name of the process, up to a dot.
func keepFormer(ctx context.Context, tx *sqlx.Tx, answers []work.Answer) error {
	const query = `
		WITH former AS (
			SELECT s.site, s.agent, split_part(s.stamp, '.', 1) AS life
			FROM sharers s
			JOIN unnest($1::text[], $2::text[], $3::text[]) AS a (site, agent, stamp) ON a.site = s.site AND a.agent = s.agent
			WHERE split_part(s.stamp, '.', 1) <> split_part(a.stamp, '.', 1)
			ORDER BY s.site, s.agent
			FOR UPDATE OF s
		), gone AS (
			DELETE FROM shares s
			USING former f
			WHERE s.site = f.site AND s.agent = f.agent
			RETURNING s.*, f.life
		)
		INSERT INTO shares AS s (site, agent, limit_id, bytes, requests, told_bytes, told_requests, until)
		SELECT site, agent || '#' || life, limit_id, bytes, requests, told_bytes, told_requests, until FROM gone
		ON CONFLICT (limit_id, site, agent) DO UPDATE SET
			bytes = greatest(s.bytes, excluded.bytes), requests = greatest(s.requests, excluded.requests),
			until = greatest(s.until, excluded.until)`

	var sites, agents, stamps []string
	for _, a := range answers {
		sites, agents, stamps = append(sites, a.Site), append(agents, a.Agent), append(stamps, plain(work.Clip(a.Stamp)))
	}
	_, err := tx.ExecContext(ctx, query, pq.Array(sites), pq.Array(agents), pq.Array(stamps))
	return err
}

// noteAnswers returns the number of what each agent was told last, by site and
// agent.
func noteAnswers(ctx context.Context, tx *sqlx.Tx, answers []work.Answer) (map[[2]string]int64, error) {
	const query = `
		INSERT INTO sharers (site, agent, stamp, uses)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
		ON CONFLICT (site, agent) DO UPDATE SET stamp = excluded.stamp, uses = excluded.uses, answered_at = now()
		RETURNING site, agent, told`

	var sites, agents, stamps, uses []string
	for _, a := range answers {
		used, err := json.Marshal(a.Uses)
		if err != nil {
			return nil, err
		}
		sites, agents = append(sites, a.Site), append(agents, a.Agent)
		stamps, uses = append(stamps, plain(work.Clip(a.Stamp))), append(uses, string(used))
	}
	var rows []struct {
		Site, Agent string
		Told        int64
	}
	err := tx.SelectContext(ctx, &rows, query, pq.Array(sites), pq.Array(agents), pq.Array(stamps), pq.Array(uses))
	told := make(map[[2]string]int64, len(rows))
	for _, r := range rows {
		told[[2]string{r.Site, r.Agent}] = r.Told
	}
	return told, err
}

// keepTaken notes that what these agents may be using is what they have taken.
func keepTaken(ctx context.Context, tx *sqlx.Tx, taken []work.Answer) error {
	const (
		free = `
			UPDATE sharers s
			SET bound = false
			FROM unnest($1::text[], $2::text[]) AS t (site, agent)
			WHERE s.site = t.site AND s.agent = t.agent`
		holds = `
			UPDATE shares s
			SET bytes = t.bytes, requests = t.requests, told_bytes = t.bytes, told_requests = t.requests
			FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::double precision[], $6::bigint[])
				AS t (site, agent, id, bytes, requests, lasts)
			WHERE s.site = t.site AND s.agent = t.agent AND s.limit_id = t.id`
		gone = `
			DELETE FROM shares s
			USING unnest($1::text[], $2::text[]) AS t (site, agent)
			WHERE s.site = t.site AND s.agent = t.agent AND NOT EXISTS (
				SELECT FROM unnest($3::text[], $4::text[], $5::bigint[]) AS k (site, agent, id)
				WHERE k.site = s.site AND k.agent = s.agent AND k.id = s.limit_id)`
	)
	var rows shareRows
	var sites, agents, freeSites, freeAgents []string
	for _, a := range taken {
		sites, agents = append(sites, a.Site), append(agents, a.Agent)
		if len(a.Shares) == 0 {
			freeSites, freeAgents = append(freeSites, a.Site), append(freeAgents, a.Agent)
		}
		for _, s := range a.Shares {
			rows.add(a.Grant, s)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, free, pq.Array(freeSites), pq.Array(freeAgents)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, holds, rows.columns()...); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, gone, pq.Array(sites), pq.Array(agents), pq.Array(rows.sites), pq.Array(rows.agents), pq.Array(rows.ids))
	return err
}
