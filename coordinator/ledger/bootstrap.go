package ledger

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/tranship/tranship/internal/work"
)

// FirstToken is the name of the token that a ledger without any begins with.
const FirstToken = "bootstrap"

// NeedsToken reports whether nobody could let others in: no token with all
// rights counts. If lost is set, whoever held the first token has lost it, and
// that does not count either.
func (l *Ledger) NeedsToken(ctx context.Context, lost bool) (bool, error) {
	needed, err := needsToken(ctx, l.db, lost)
	if err != nil {
		return false, fmt.Errorf("look for a token: %w", err)
	}
	return needed, nil
}

func needsToken(ctx context.Context, q sqlx.QueryerContext, lost bool) (needed bool, err error) {
	const query = `
		SELECT NOT EXISTS (SELECT FROM tokens t WHERE t.scope = 'admin' AND ` + isLive + `)
		OR $1 AND EXISTS (SELECT FROM tokens t WHERE t.name = '` + FirstToken + `' AND ` + isLive + `)`

	err = sqlx.GetContext(ctx, q, &needed, query, lost)
	return needed, err
}

// CreateFirstToken keeps the first token with the hash of its secret, if that
// NeedsToken, and reports whether it did. The one before, if there is one, is
// revoked. Of several that try at once one does it.
func (l *Ledger) CreateFirstToken(ctx context.Context, hash []byte, lost bool) (created bool, err error) {
	const (
		lock   = `LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE`
		former = `SELECT id FROM tokens WHERE name = $1 AND revoked_at IS NULL`
	)

	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, lock); err != nil {
			return err
		}
		if created, err = needsToken(ctx, tx, lost); err != nil || !created {
			return err
		}
		var ids []work.TokenID
		if err := tx.SelectContext(ctx, &ids, former, FirstToken); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := revokeToken(ctx, tx, id, ""); err != nil {
				return err
			}
		}
		_, err := insertToken(ctx, tx, work.Token{Name: FirstToken, Scope: work.ScopeAdmin}, hash, 0)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("create the first token: %w", err)
	}
	return created, nil
}
