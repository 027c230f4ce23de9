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

// OpenSession lets a browser that shows the secret with the hash be taken for
// whom the token is, for as long as life and the token last. A token that does
// not count is work.ErrNoToken.
func (l *Ledger) OpenSession(ctx context.Context, token work.TokenID, hash []byte, life time.Duration) error {
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := openSession(ctx, tx, token, hash, life)
		return err
	})
	if err != nil {
		return fmt.Errorf("open a session of token %d: %w", token, err)
	}
	return nil
}

func openSession(ctx context.Context, tx *sqlx.Tx, token work.TokenID, hash []byte, life time.Duration) (work.Caller, error) {
	c, err := addSession(ctx, tx, token, hash, life, false)
	if err != nil {
		return work.Caller{}, err
	}
	return c, addEvent(ctx, tx, 0, c.Name, "signed in", "")
}

// addSession writes a session, or a code for one, of a token that counts, and
// removes what has expired: they cannot pile up.
func addSession(ctx context.Context, tx *sqlx.Tx, token work.TokenID, hash []byte, life time.Duration, code bool) (work.Caller, error) {
	const (
		lock   = `SELECT t.id AS token, t.name, t.scope FROM tokens t WHERE t.id = $1 AND ` + isLive + ` FOR SHARE`
		insert = `
			INSERT INTO sessions (hash, token_id, code, expires_at)
			VALUES ($1, $2, $3, now() + make_interval(secs => $4))`
		tidy = `DELETE FROM sessions WHERE expires_at < now()`
	)

	var c work.Caller
	err := tx.GetContext(ctx, &c, lock, token)
	if errors.Is(err, sql.ErrNoRows) {
		return c, work.ErrNoToken
	}
	if err != nil {
		return c, err
	}
	if _, err := tx.ExecContext(ctx, insert, hash, token, code, life.Seconds()); err != nil {
		return c, err
	}
	_, err = tx.ExecContext(ctx, tidy)
	return c, err
}

// CreateCode lets whoever shows the secret with the hash open one session of
// the token, while life lasts. It is work.ErrTooMany if work.MaxCodes of it do.
func (l *Ledger) CreateCode(ctx context.Context, token work.TokenID, hash []byte, life time.Duration) error {
	const live = `SELECT count(*) FROM sessions WHERE token_id = $1 AND code AND expires_at > now()`

	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := mayAdd(ctx, tx, fmt.Sprintf("codes of %d", token), work.MaxCodes, live, token); err != nil {
			return err
		}
		_, err := addSession(ctx, tx, token, hash, life, true)
		return err
	})
	if err != nil {
		return fmt.Errorf("make a sign-in code of token %d: %w", token, err)
	}
	return nil
}

// RedeemCode uses up a code and opens a session of its token, as OpenSession
// does. A code that does not count is work.ErrNoToken.
func (l *Ledger) RedeemCode(ctx context.Context, code, hash []byte, life time.Duration) (work.Caller, error) {
	const use = `DELETE FROM sessions WHERE hash = $1 AND code AND expires_at > now() RETURNING token_id`

	var c work.Caller
	err := l.inTx(ctx, func(tx *sqlx.Tx) error {
		var token work.TokenID
		err := tx.GetContext(ctx, &token, use, code)
		if errors.Is(err, sql.ErrNoRows) {
			return work.ErrNoToken
		}
		if err != nil {
			return err
		}
		c, err = openSession(ctx, tx, token, hash, life)
		return err
	})
	if err != nil {
		return work.Caller{}, fmt.Errorf("use a sign-in code: %w", err)
	}
	return c, nil
}

// Session returns who signed in with the browser that shows the secret with
// the hash, or work.ErrNoToken. It notes the use of the token.
func (l *Ledger) Session(ctx context.Context, hash []byte) (work.Caller, error) {
	const query = `
		SELECT t.id AS token, t.name, t.scope
		FROM sessions s
		JOIN tokens t ON t.id = s.token_id
		WHERE s.hash = $1 AND NOT s.code AND s.expires_at > now() AND ` + isLive

	return l.caller(ctx, query, hash)
}

// CloseSession ends a session. It is no error if there is none.
func (l *Ledger) CloseSession(ctx context.Context, hash []byte) error {
	const query = `DELETE FROM sessions WHERE hash = $1 AND NOT code`

	if _, err := l.db.ExecContext(ctx, query, hash); err != nil {
		return fmt.Errorf("close a session: %w", err)
	}
	return nil
}
