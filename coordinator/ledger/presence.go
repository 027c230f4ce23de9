package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// maxTelling bounds what is kept of each list that an agent tells of itself.
const maxTelling = 64 << 10

// A telling is what an agent says of itself in lists, as JSON; nil: nothing.
type telling struct{ Labels, Stores, Tuning *string }

func tell(p work.Presence) (telling, error) {
	labels, err := listJSON(p.Labels, len(p.Labels))
	stores, serr := listJSON(p.Stores, len(p.Stores))
	tuning, terr := listJSON(p.Tuning, len(p.Tuning))
	return telling{labels, stores, tuning}, errors.Join(err, serr, terr)
}

// listJSON returns a list of n as a jsonb column takes it. One that is too long, or
// holds a NUL, comes from no agent of ours; it must not keep the signs of life
// that are written with it from being noted, and is left out.
func listJSON(v any, n int) (*string, error) {
	if n == 0 {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil || len(b) > maxTelling || bytes.Contains(b, []byte(`\u0000`)) {
		return nil, err
	}
	text := string(b)
	return &text, nil
}

// into adds what was kept to a presence.
func (t telling) into(p *work.Presence) error {
	var errs []error
	for _, list := range []struct {
		from *string
		to   any
	}{{t.Labels, &p.Labels}, {t.Stores, &p.Stores}, {t.Tuning, &p.Tuning}} {
		if list.from != nil {
			errs = append(errs, json.Unmarshal([]byte(*list.from), list.to))
		}
	}
	return errors.Join(errs...)
}

// Agents lists all agents that were ever seen, those seen last first, and then
// those that have joined and were never seen. Each comes with the identity that
// its name has, or had last.
func (l *Ledger) Agents(ctx context.Context) ([]work.AgentRow, error) {
	const query = `
		WITH bearers AS (
			SELECT DISTINCT ON (site, agent) *
			FROM identities
			ORDER BY site, agent, revoked_at DESC NULLS FIRST, id DESC
		)
		SELECT coalesce(a.agent, i.agent) AS agent, coalesce(a.site, i.site) AS site,
			coalesce(a.version, '') AS version, coalesce(a.host, i.host) AS host, coalesce(a.pid, 0) AS pid,
			coalesce(a.started, i.joined_at) AS started, coalesce(a.state, '') AS state, coalesce(a.trouble, '') AS trouble,
			coalesce(a.items, 0) AS items, coalesce(a.streams, 0) AS streams, coalesce(a.stream_limit, 0) AS "limit",
			coalesce(a.objects, 0) AS objects, coalesce(a.bytes, 0) AS bytes, coalesce(a.rate, 0) AS rate,
			a.labels AS labelsjson, a.stores AS storesjson, a.tuning AS tuningjson, a.last_seen AS seen,
			i.key, i.host AS joinedfrom, i.joined_at AS joined, i.renewed_at AS renewed,
			i.revoked_at AS revoked, i.revoked_by AS revokedby
		FROM agents a
		FULL JOIN bearers i ON i.site = a.site AND i.agent = a.agent
		WHERE a.agent IS NOT NULL OR i.revoked_at IS NULL -- one that was revoked before it was seen is no agent
		ORDER BY a.last_seen DESC NULLS LAST, 2, 1`

	var found []agentRow
	if err := l.db.SelectContext(ctx, &found, query); err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	rows := make([]work.AgentRow, len(found))
	for i, f := range found {
		row, err := f.row()
		if err != nil {
			return nil, fmt.Errorf("read what agent %s of %s says of itself: %w", f.Agent, f.Site, err)
		}
		rows[i] = row
	}
	return rows, nil
}

// An agentRow is an agent as the query of Agents finds it.
type agentRow struct {
	Agent, Site, Version, Host, State, Trouble string
	PID, Items, Streams, Limit                 int
	Objects, Bytes                             int64
	Rate                                       float64
	Started                                    time.Time
	LabelsJSON, StoresJSON, TuningJSON         *string
	Seen                                       sql.NullTime
	Key, JoinedFrom, RevokedBy                 *string // nil: it has no identity
	Joined, Renewed, Revoked                   sql.NullTime
}

func (r agentRow) row() (work.AgentRow, error) {
	row := work.AgentRow{LastSeen: timeOf(r.Seen), Presence: work.Presence{
		Agent: r.Agent, Site: r.Site, Version: r.Version, Host: r.Host, PID: r.PID,
		State: r.State, Trouble: r.Trouble, Items: r.Items, Streams: r.Streams, Limit: r.Limit,
		Objects: r.Objects, Bytes: r.Bytes, Rate: r.Rate, Started: r.Started.UTC(),
	}}
	if r.Key != nil {
		row.Identity = &work.Identity{
			Agent: r.Agent, Site: r.Site, Key: *r.Key, Host: *r.JoinedFrom, JoinedAt: timeOf(r.Joined),
			RenewedAt: timeOf(r.Renewed), RevokedAt: timeOf(r.Revoked), RevokedBy: *r.RevokedBy,
		}
	}
	return row, telling{r.LabelsJSON, r.StoresJSON, r.TuningJSON}.into(&row.Presence)
}
