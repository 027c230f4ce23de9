package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// An identityRow is an identity as columns hold it.
type identityRow struct {
	work.Identity
	Renewed, Revoked sql.NullTime
}

func (r identityRow) identity() work.Identity {
	i := r.Identity
	i.JoinedAt, i.RenewedAt, i.RevokedAt = i.JoinedAt.UTC(), timeOf(r.Renewed), timeOf(r.Revoked)
	return i
}

const identityColumns = `agent, site, key, host, joined_at AS joinedat, renewed_at AS renewed,
	revoked_at AS revoked, revoked_by AS revokedby`

// getIdentity returns the identity that a query finds, or an error that is
// sql.ErrNoRows.
func getIdentity(ctx context.Context, tx *sqlx.Tx, query string, args ...any) (work.Identity, error) {
	var row identityRow
	if err := tx.GetContext(ctx, &row, query, args...); err != nil {
		return work.Identity{}, err
	}
	return row.identity(), nil
}

// bearer returns the identity of a key, revoked or not; the zero Identity if
// there is none.
func bearer(ctx context.Context, tx *sqlx.Tx, key string) (work.Identity, error) {
	const query = `SELECT ` + identityColumns + ` FROM identities WHERE key = $1`

	i, err := getIdentity(ctx, tx, query, key)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Identity{}, nil
	}
	return i, err
}

// lingers is how long after its last sign of life an agent without an identity
// keeps its name.
const lingers = time.Minute

// addIdentity writes a new identity of a key that has none. A name that another
// bears, or goes by, is work.ErrNameTaken.
func addIdentity(ctx context.Context, tx *sqlx.Tx, by work.Invite, j work.Joining) (work.Identity, error) {
	const query = `
		INSERT INTO identities (agent, site, key, host, invite_id)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING -- of the name; or of the key, to the same agent at this very moment
		RETURNING ` + identityColumns

	if taken, err := goesBy(ctx, tx, by.Site, j.Agent); err != nil || taken {
		return work.Identity{}, cmp.Or(err, work.ErrNameTaken)
	}
	i, err := getIdentity(ctx, tx, query, j.Agent, by.Site, j.Key, plain(work.Clip(j.Host)), by.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Identity{}, work.ErrNameTaken
	}
	if err != nil {
		return work.Identity{}, err
	}
	note := fmt.Sprintf("%s/%s, of host %s, by invitation %d of %s", i.Site, i.Agent, i.Host, by.ID, by.CreatedBy)
	return i, addEvent(ctx, tx, 0, i.Agent, "agent joined", note)
}

// goesBy reports whether an agent without an identity goes by a name now, such as
// that of tranship up. What was heard of one that has just been revoked does not
// count: it is shut out.
func goesBy(ctx context.Context, tx *sqlx.Tx, site, agent string) (taken bool, err error) {
	const query = `
		SELECT EXISTS (
			SELECT FROM agents
			WHERE site = $1 AND agent = $2 AND last_seen > now() - $3::bigint * interval '1 microsecond'
		) AND NOT EXISTS (
			SELECT FROM identities
			WHERE site = $1 AND agent = $2 AND revoked_at > now() - $3::bigint * interval '1 microsecond'
		)`

	err = tx.GetContext(ctx, &taken, query, site, agent, lingers.Microseconds())
	return taken, err
}

// Renew notes that the agent with the key gets a new credential and returns who
// it is. A key of no agent, or of one that was revoked, is work.ErrNoIdentity.
func (l *Ledger) Renew(ctx context.Context, key string) (work.Identity, error) {
	const query = `
		UPDATE identities
		SET renewed_at = now()
		WHERE key = $1 AND revoked_at IS NULL
		RETURNING ` + identityColumns

	var renewed work.Identity
	err := l.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		renewed, err = getIdentity(ctx, tx, query, key)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = work.ErrNoIdentity
	}
	if err != nil {
		return work.Identity{}, fmt.Errorf("renew the credential of key %s: %w", key, err)
	}
	return renewed, nil
}

// RevokeAgent ends an identity and returns it. It is no error if that was done
// already, and work.ErrNotThere if the agent has none.
func (l *Ledger) RevokeAgent(ctx context.Context, site, agent, who string) (work.Identity, error) {
	const (
		last = `
			SELECT ` + identityColumns + `
			FROM identities
			WHERE site = $1 AND agent = $2
			ORDER BY revoked_at DESC NULLS FIRST
			LIMIT 1
			FOR UPDATE`
		end = `
			UPDATE identities
			SET revoked_at = now(), revoked_by = $2
			WHERE key = $1
			RETURNING ` + identityColumns
	)

	var revoked work.Identity
	err := l.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		revoked, err = getIdentity(ctx, tx, last, site, agent)
		if errors.Is(err, sql.ErrNoRows) {
			return work.ErrNotThere
		}
		if err != nil || !revoked.RevokedAt.IsZero() {
			return err
		}
		if revoked, err = getIdentity(ctx, tx, end, revoked.Key, plain(who)); err != nil {
			return err
		}
		return addEvent(ctx, tx, 0, who, "agent revoked", site+"/"+agent)
	})
	if err != nil {
		return work.Identity{}, fmt.Errorf("revoke agent %s of %s: %w", agent, site, err)
	}
	return revoked, nil
}

// RevokedKeys lists the keys of all agents that were revoked, in one order.
func (l *Ledger) RevokedKeys(ctx context.Context) ([]string, error) {
	const query = `SELECT key FROM identities WHERE revoked_at IS NOT NULL ORDER BY key`

	keys := []string{}
	if err := l.db.SelectContext(ctx, &keys, query); err != nil {
		return nil, fmt.Errorf("list revoked keys: %w", err)
	}
	return keys, nil
}

// NoteDrain writes down that somebody asked an agent to finish and go.
func (l *Ledger) NoteDrain(ctx context.Context, site, agent, who string) error {
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		return addEvent(ctx, tx, 0, who, "agent drained", site+"/"+agent)
	})
	if err != nil {
		return fmt.Errorf("note that agent %s of %s drains: %w", agent, site, err)
	}
	return nil
}
