package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// An inviteRow is an invitation as columns hold it.
type inviteRow struct {
	work.Invite
	Used sql.NullTime
	Open bool // it has not expired
}

func (r inviteRow) invite() work.Invite {
	i := r.Invite
	i.CreatedAt, i.ExpiresAt, i.UsedAt = i.CreatedAt.UTC(), i.ExpiresAt.UTC(), timeOf(r.Used)
	return i
}

const inviteColumns = `id, site, created_at AS createdat, created_by AS createdby, expires_at AS expiresat,
	used_at AS used, used_by AS usedby, expires_at > now() AS open`

// isOpen is the part of a statement that is true of an invitation which may
// still be used.
const isOpen = `used_at IS NULL AND expires_at > now()`

// CreateInvite keeps an invitation with the hash of its secret. It is
// work.ErrTooMany if work.MaxInvites may still be used.
func (l *Ledger) CreateInvite(ctx context.Context, n work.NewInvite, hash []byte) (work.Invite, error) {
	const (
		open   = `SELECT count(*) FROM invites WHERE ` + isOpen
		insert = `
			INSERT INTO invites (hash, site, created_by, expires_at)
			VALUES ($1, $2, $3, now() + $4::bigint * interval '1 microsecond')
			RETURNING ` + inviteColumns
	)

	var row inviteRow
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := mayAdd(ctx, tx, "invites", work.MaxInvites, open); err != nil {
			return err
		}
		row = inviteRow{}
		if err := tx.GetContext(ctx, &row, insert, hash, n.Site, plain(n.Who), n.Life.Microseconds()); err != nil {
			return err
		}
		note := fmt.Sprintf("to %s, until %s, invitation %d", n.Site, row.ExpiresAt.UTC().Format(time.RFC3339), row.ID)
		return addEvent(ctx, tx, 0, n.Who, "agent invited", note)
	})
	if err != nil {
		return work.Invite{}, fmt.Errorf("invite an agent to %s: %w", n.Site, err)
	}
	return row.invite(), nil
}

// Invites lists the invitations that may still be used, the newest first.
func (l *Ledger) Invites(ctx context.Context) ([]work.Invite, error) {
	const query = `
		SELECT ` + inviteColumns + `
		FROM invites
		WHERE ` + isOpen + `
		ORDER BY id DESC`

	var rows []inviteRow
	if err := l.db.SelectContext(ctx, &rows, query); err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	invites := make([]work.Invite, len(rows))
	for i, r := range rows {
		invites[i] = r.invite()
	}
	return invites, nil
}

// Uninvite takes an invitation back. One that was used, has expired or never
// was is work.ErrNotThere.
func (l *Ledger) Uninvite(ctx context.Context, id int64, who string) error {
	const query = `DELETE FROM invites WHERE id = $1 AND ` + isOpen + ` RETURNING site`

	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		var site string
		err := tx.GetContext(ctx, &site, query, id)
		if errors.Is(err, sql.ErrNoRows) {
			return work.ErrNotThere
		}
		if err != nil {
			return err
		}
		return addEvent(ctx, tx, 0, who, "agent uninvited", fmt.Sprintf("to %s, invitation %d", site, id))
	})
	if err != nil {
		return fmt.Errorf("take back invitation %d: %w", id, err)
	}
	return nil
}

// Join makes an agent one of the fleet by the invitation whose secret has the
// hash, and uses that up. The same agent may ask again with the same key and be
// answered the same: by the invitation that it used, as long as that counts, or
// by another to its site.
//
// What is not, or no longer, an invitation is work.ErrNoToken. A name that
// another agent bears, or that one goes by at the site which has never joined, is
// work.ErrNameTaken and a key of another work.ErrKeyTaken; these leave the
// invitation as it was.
func (l *Ledger) Join(ctx context.Context, hash []byte, j work.Joining) (work.Identity, error) {
	var joined work.Identity
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		invite, err := lockInvite(ctx, tx, hash)
		if err != nil {
			return err
		}
		if joined, err = bearer(ctx, tx, j.Key); err != nil {
			return err
		}
		same := joined.Agent == j.Agent && joined.Site == invite.Site && joined.RevokedAt.IsZero()
		switch {
		case invite.Used.Valid && !(same && invite.UsedBy == j.Agent):
			return work.ErrNoToken
		case invite.Used.Valid:
			return nil
		case joined.Key == "":
			joined, err = addIdentity(ctx, tx, invite.Invite, j)
		case !same:
			err = work.ErrKeyTaken
		}
		if err != nil {
			return err
		}
		return useInvite(ctx, tx, invite.ID, j.Agent)
	})
	if err != nil {
		return work.Identity{}, fmt.Errorf("let agent %s join: %w", j.Agent, err)
	}
	return joined, nil
}

// lockInvite returns the invitation with the hash, used or not, as long as it
// has not expired.
func lockInvite(ctx context.Context, tx *sqlx.Tx, hash []byte) (inviteRow, error) {
	const query = `SELECT ` + inviteColumns + ` FROM invites WHERE hash = $1 FOR UPDATE`

	var row inviteRow
	err := tx.GetContext(ctx, &row, query, hash)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !row.Open {
		return inviteRow{}, work.ErrNoToken
	}
	return row, err
}

func useInvite(ctx context.Context, tx *sqlx.Tx, id int64, agent string) error {
	const query = `UPDATE invites SET used_at = now(), used_by = $2 WHERE id = $1 AND used_at IS NULL`

	_, err := tx.ExecContext(ctx, query, id, agent)
	return err
}
