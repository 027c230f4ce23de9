package coordinator

import (
	"context"
	"strings"

	"github.com/tranship/tranship/coordinator/allot"
	"github.com/tranship/tranship/internal/work"
)

// limits is what the API does to limits; it implements web.Limits.
type limits struct{ c *Coordinator }

// Limits returns all limits, what agents may be using of them, and the agents,
// as site/agent, that they do not bound.
func (l limits) Limits(ctx context.Context) ([]work.Limit, []work.ShareRow, []string, error) {
	all, err := l.c.ledger.Limits(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	shares, err := l.c.ledger.Shares(ctx)
	if err != nil || len(all) == 0 {
		return all, shares, nil, err
	}
	unbounded, err := l.c.ledger.Unbounded(ctx, allot.Alive)
	return all, shares, unbounded, err
}

// SetLimit makes or replaces a limit; see ledger.SetLimit.
func (l limits) SetLimit(ctx context.Context, limit work.Limit, who string, dry bool) (work.Limit, *work.Limit, error) {
	now, before, err := l.c.ledger.SetLimit(ctx, limit, who, dry)
	if err == nil && !dry {
		l.c.log.InfoContext(ctx, "limit set", "scope", now.Scope, "name", now.Name, "bytes", now.Bytes, "requests", now.Requests,
			"windows", len(now.Windows), "by", who)
		l.changed(ctx)
	}
	return now, before, err
}

// RemoveLimit removes a limit; see ledger.RemoveLimit.
func (l limits) RemoveLimit(ctx context.Context, scope work.LimitScope, name, who string, dry bool) (work.Limit, error) {
	gone, err := l.c.ledger.RemoveLimit(ctx, scope, name, who, dry)
	if err == nil && !dry {
		l.c.log.InfoContext(ctx, "limit removed", "scope", gone.Scope, "name", gone.Name, "by", who)
		l.changed(ctx)
	}
	return gone, err
}

// changed lets a change show at once. Other coordinators find it by themselves.
func (l limits) changed(ctx context.Context) {
	if err := l.c.allotter.Read(ctx); err != nil {
		l.c.log.DebugContext(ctx, "limits not read", "err", err) // the next round reads them
	}
	wake(l.c.allotting)
}

// examineLimits looks whether all agents keep to the limits, if there are any.
func (c *Coordinator) examineLimits(ctx context.Context) []work.Check {
	check := work.Check{Part: "agents", What: "limits", State: work.CheckOK}
	all, _, unbounded, err := limits{c}.Limits(ctx)
	switch {
	case err != nil:
		check.State, check.Found, check.Advice = work.CheckUnknown, err.Error(), "Postgres knows them: see there"
	case len(all) == 0:
		return nil
	case len(unbounded) > 0:
		check.State, check.Found = work.CheckWarning, "not kept to by "+strings.Join(unbounded, ", ")
		check.Advice = "agents of the version before know of no limits: upgrade them; else see their logs"
	default:
		check.Found = "all agents keep to them"
	}
	return []work.Check{check}
}
