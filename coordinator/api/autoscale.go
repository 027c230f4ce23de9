package api

import (
	"context"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/internal/work"
)

// ItemsPerAgent is how many open items an agent is to have where nobody says
// otherwise: up to 8,192 small objects, or 8 GiB of larger ones.
const ItemsPerAgent = 32

// An Autoscale says how many agents a site could use, and why.
type Autoscale struct {
	Site     string  `json:"site"`
	Desired  int64   `json:"desired_agents"` // items for each rounded up; 0: there is nothing to do
	PerAgent int64   `json:"items_per_agent"`
	Ready    int64   `json:"ready_items"`
	Queued   int64   `json:"queued_items"`
	Bytes    int64   `json:"bytes_left"`
	Oldest   float64 `json:"oldest_ready_seconds"`
	Agents   int     `json:"agents"` // that take work now
	Streams  int     `json:"streams"`
	Rate     float64 `json:"bytes_per_second"`
}

// Autoscale returns how many agents a site could use if each is to have so many
// items; 0 means ItemsPerAgent.
func (c *Client) Autoscale(ctx context.Context, site string, perAgent int64) (Autoscale, error) {
	q := url.Values{}
	setText(q, "site", site)
	if perAgent > 0 {
		q.Set("items_per_agent", strconv.FormatInt(perAgent, 10))
	}
	var a Autoscale
	err := c.get(ctx, "ask how many agents site "+work.Quote(site)+" could use", "/v1/autoscale", q, &a)
	return a, err
}
