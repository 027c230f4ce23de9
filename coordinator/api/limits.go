package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/internal/work"
)

// A Limit is a limit and how it stands now.
type Limit struct {
	work.Limit
	Now    Allowed         `json:"now"`
	Shares []work.ShareRow `json:"shares"` // what agents may be using of it; who has none is left out
}

// Allowed is what a limit allows at a moment.
type Allowed struct {
	work.Rate
	Stop bool `json:"stop,omitempty"` // nothing moves
}

// LimitList is all limits.
type LimitList struct {
	Limits []Limit `json:"limits"`
	// UnboundedAgents are those, as site/agent, that do not keep to limits: they
	// are of a version that knows of none, or do not answer.
	UnboundedAgents []string `json:"unbounded_agents"`
}

// A NewLimit is a limit to make, or to put in the place of that of its scope and
// name.
type NewLimit struct {
	Scope work.LimitScope `json:"scope"`
	Name  string          `json:"name"`
	work.Rate
	Windows []work.Window `json:"windows,omitempty"`
	DryRun  bool          `json:"dry_run,omitempty"` // only say what would change
}

// A ChangedLimit is what became of a limit, or would. No Limit: it is gone; no
// Before: there was none.
type ChangedLimit struct {
	Limit  *work.Limit `json:"limit,omitempty"`
	Before *work.Limit `json:"before,omitempty"`
}

// A Priority asks for the class of a job.
type Priority struct {
	Class work.Class `json:"class"`
}

// Limits returns all limits.
func (c *Client) Limits(ctx context.Context) (LimitList, error) {
	var l LimitList
	err := c.get(ctx, "list the limits", "/v1/limits", nil, &l)
	return l, err
}

// SetLimit makes or replaces a limit.
func (c *Client) SetLimit(ctx context.Context, l NewLimit) (ChangedLimit, error) {
	var out ChangedLimit
	_, err := c.do(ctx, call{doing: "set the limit of " + string(l.Scope) + " " + l.Name, method: http.MethodPut, path: "/v1/limits",
		body: l, repeat: true}, &out)
	return out, err
}

// RemoveLimit removes a limit.
func (c *Client) RemoveLimit(ctx context.Context, scope work.LimitScope, name string, dry bool) (ChangedLimit, error) {
	q := url.Values{"scope": {string(scope)}, "name": {name}}
	if dry {
		q.Set("dry_run", strconv.FormatBool(dry))
	}
	var out ChangedLimit
	_, err := c.do(ctx, call{doing: "remove the limit of " + string(scope) + " " + name, method: http.MethodDelete, path: "/v1/limits",
		query: q}, &out)
	return out, err
}

// SetPriority makes a job more urgent, or less.
func (c *Client) SetPriority(ctx context.Context, id work.JobID, class work.Class) (Job, error) {
	var j Job
	_, err := c.do(ctx, call{doing: "set the priority of job " + id.String(), method: http.MethodPost, path: jobPath(id, "priority"),
		body: Priority{class}, repeat: true}, &j)
	return j, err
}
