package api

import (
	"context"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/internal/work"
)

// Audit returns the newest events of all jobs and of none, newest first: those
// before the one with the id given, or the newest of all if that is 0.
func (c *Client) Audit(ctx context.Context, before int64, limit int) ([]work.Event, error) {
	q := Page{Limit: limit}.into(url.Values{})
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	var l EventList
	err := c.get(ctx, "read the audit log", "/v1/audit", q, &l)
	return l.Events, err
}
