package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/tranship/tranship/internal/work"
)

// isLive is the part of a statement that is true of a token t which counts.
const isLive = `t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())`

// A tokenRow is a token as columns hold it.
type tokenRow struct {
	work.Token
	Expires, Used, Revoked sql.NullTime
}

func (r tokenRow) token() work.Token {
	t := r.Token
	t.CreatedAt = t.CreatedAt.UTC()
	t.ExpiresAt, t.UsedAt, t.RevokedAt = timeOf(r.Expires), timeOf(r.Used), timeOf(r.Revoked)
	return t
}

// tokenColumns are those of a tokenRow.
const tokenColumns = `t.id, t.name, t.scope, t.created_at AS createdat, t.created_by AS createdby,
	t.expires_at AS expires, t.used_at AS used, t.revoked_at AS revoked`

// CreateToken keeps a token with the hash of its secret. What n needs is its
// name, its scope and who creates it; life is how long it counts, 0 for ever.
// A name that another token bears is work.ErrNameTaken; one that was revoked or
// has expired bears none. It is work.ErrTooMany if work.MaxTokens count.
func (l *Ledger) CreateToken(ctx context.Context, n work.Token, hash []byte, life time.Duration) (work.Token, error) {
	const live = `SELECT count(*) FROM tokens t WHERE ` + isLive

	var made work.Token
	err := l.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		if err := mayAdd(ctx, tx, "tokens", work.MaxTokens, live); err != nil {
			return err
		}
		made, err = insertToken(ctx, tx, n, hash, life)
		return err
	})
	if err != nil {
		return work.Token{}, fmt.Errorf("create the token %q: %w", n.Name, err)
	}
	return made, nil
}

func insertToken(ctx context.Context, tx *sqlx.Tx, n work.Token, hash []byte, life time.Duration) (work.Token, error) {
	const (
		expired = `UPDATE tokens SET revoked_at = now() WHERE name = $1 AND revoked_at IS NULL AND expires_at <= now()`
		query   = `
		INSERT INTO tokens AS t (name, scope, hash, created_by, expires_at)
		VALUES ($1, $2, $3, $4, CASE WHEN $5::float8 > 0 THEN now() + make_interval(secs => $5) END)
		RETURNING ` + tokenColumns
	)

	if n.CreatedBy == "" {
		n.CreatedBy = nobody
	}
	if _, err := tx.ExecContext(ctx, expired, plain(n.Name)); err != nil {
		return work.Token{}, err
	}
	var row tokenRow
	err := tx.GetContext(ctx, &row, query, plain(n.Name), string(n.Scope), hash, plain(n.CreatedBy), life.Seconds())
	if e := pq.As(err, pqerror.UniqueViolation); e != nil && e.Constraint == "tokens_name" {
		return work.Token{}, work.ErrNameTaken
	}
	if err != nil {
		return work.Token{}, err
	}
	made := row.token()
	note := fmt.Sprintf("%s, may %s", made.Name, made.Scope)
	if !made.ExpiresAt.IsZero() {
		note += ", until " + made.ExpiresAt.Format(time.RFC3339)
	}
	return made, addEvent(ctx, tx, 0, n.CreatedBy, "token created", note)
}

// mostTokens bounds what Tokens returns.
const mostTokens = 1000

// Tokens lists the tokens, the newest first; those that are revoked too, for
// the audit log names them.
func (l *Ledger) Tokens(ctx context.Context) ([]work.Token, error) {
	const query = `
		SELECT ` + tokenColumns + `
		FROM tokens t
		ORDER BY (t.revoked_at IS NULL) DESC, t.id DESC
		LIMIT $1`

	var rows []tokenRow
	if err := l.db.SelectContext(ctx, &rows, query, mostTokens); err != nil {
		return nil, fmt.Errorf("list the tokens: %w", err)
	}
	tokens := make([]work.Token, len(rows))
	for i, r := range rows {
		tokens[i] = r.token()
	}
	return tokens, nil
}

// RevokeToken ends a token and the sessions that it opened, and returns it. It
// is no error if it is revoked already, and work.ErrNotThere if there is none.
func (l *Ledger) RevokeToken(ctx context.Context, id work.TokenID, who string) (work.Token, error) {
	var t work.Token
	err := l.inTx(ctx, func(tx *sqlx.Tx) (err error) {
		t, err = revokeToken(ctx, tx, id, who)
		return err
	})
	if err != nil {
		return work.Token{}, fmt.Errorf("revoke token %d: %w", id, err)
	}
	return t, nil
}

func revokeToken(ctx context.Context, tx *sqlx.Tx, id work.TokenID, who string) (work.Token, error) {
	const (
		lock     = `SELECT ` + tokenColumns + ` FROM tokens t WHERE t.id = $1 FOR UPDATE`
		revoke   = `UPDATE tokens t SET revoked_at = now() WHERE t.id = $1 RETURNING ` + tokenColumns
		sessions = `DELETE FROM sessions WHERE token_id = $1`
	)

	var row tokenRow
	err := tx.GetContext(ctx, &row, lock, id)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Token{}, work.ErrNotThere
	}
	if err != nil || row.Revoked.Valid {
		return row.token(), err
	}
	row = tokenRow{}
	if err := tx.GetContext(ctx, &row, revoke, id); err != nil {
		return work.Token{}, err
	}
	if _, err := tx.ExecContext(ctx, sessions, id); err != nil {
		return work.Token{}, err
	}
	return row.token(), addEvent(ctx, tx, 0, who, "token revoked", row.Name)
}

// Authenticate returns who shows the secret with the hash, or
// work.ErrNoToken. It notes the use of the token, for NoteUse to write.
func (l *Ledger) Authenticate(ctx context.Context, hash []byte) (work.Caller, error) {
	const query = `SELECT t.id AS token, t.name, t.scope FROM tokens t WHERE t.hash = $1 AND ` + isLive

	return l.caller(ctx, query, hash)
}

// caller returns the one caller that the query finds.
func (l *Ledger) caller(ctx context.Context, query string, hash []byte) (work.Caller, error) {
	var c work.Caller
	err := l.db.GetContext(ctx, &c, query, hash)
	if errors.Is(err, sql.ErrNoRows) {
		return work.Caller{}, work.ErrNoToken
	}
	if err != nil {
		return work.Caller{}, fmt.Errorf("look up who asks: %w", err)
	}
	l.used.add(c.Token)
	return c, nil
}

// A usage is which tokens were used since that was written down.
type usage struct {
	mu  sync.Mutex
	ids map[work.TokenID]bool
}

func (u *usage) add(ids ...work.TokenID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = make(map[work.TokenID]bool)
	}
	for _, id := range ids {
		u.ids[id] = true
	}
}

// take returns the tokens by id and forgets them.
func (u *usage) take() []work.TokenID {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := make([]work.TokenID, 0, len(u.ids))
	for id := range u.ids {
		ids = append(ids, id)
	}
	clear(u.ids)
	slices.Sort(ids)
	return ids
}

// NoteUse writes down which tokens Authenticate and Session found since it did
// so last. A row changes at most once a minute, however many coordinators look.
func (l *Ledger) NoteUse(ctx context.Context) error {
	const query = `
		UPDATE tokens
		SET used_at = date_trunc('minute', now())
		WHERE id = ANY (ARRAY (SELECT id FROM tokens WHERE id = ANY ($1) ORDER BY id FOR UPDATE))
		AND used_at IS DISTINCT FROM date_trunc('minute', now())`

	ids := l.used.take()
	if len(ids) == 0 {
		return nil
	}
	if _, err := l.db.ExecContext(ctx, query, pq.Array(ids)); err != nil {
		l.used.add(ids...)
		return fmt.Errorf("note the use of tokens: %w", err)
	}
	return nil
}
