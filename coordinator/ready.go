package coordinator

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/web"
)

// Handler returns the API, the status page and the metrics.
func (c *Coordinator) Handler() http.Handler {
	return web.New(web.Deps{
		Ledger:    c.ledger,
		Commander: jobs{c},
		Roster:    roster{c},
		Metrics:   promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{}),
		Version:   c.version,
		Log:       c.log,
		Access:    c.ledger,
		Open:      c.http.Open,
		URL:       strings.TrimRight(c.http.URL, "/"),
		Hosts:     c.http.Hosts(),
		Ready:     c.ready,
		Examine:   c.examine,
		Away:      ledger.Away,
		Well:      c.pulse.whileWell,
	})
}

// ready checks what the coordinator depends on.
func (c *Coordinator) ready(ctx context.Context) map[string]error {
	checks := map[string]error{"postgres": c.ledgerTrouble(ctx), "nats": c.queueTrouble(ctx)}
	if checks["postgres"] == nil {
		checks["agents"] = c.manned(ctx)
	}
	return checks
}

// manned returns an error if a site has work to do and no agent. A site
// without work needs none.
func (c *Coordinator) manned(ctx context.Context) error {
	sites, err := c.ledger.ActiveSites(ctx)
	if err != nil {
		return err
	}
	agents, err := c.ledger.Agents(ctx)
	if err != nil {
		return err
	}
	alive := make(map[string]bool)
	for _, a := range agents {
		if time.Since(a.LastSeen) < agentGone {
			alive[a.Site] = true
		}
	}
	var empty []string
	for _, s := range sites {
		if !alive[s] {
			empty = append(empty, s)
		}
	}
	if len(empty) > 0 {
		err := fmt.Errorf("no agent at %s, where there is work", strings.Join(empty, ", "))
		return &web.Trouble{Of: "Agents", Why: "are missing at a site that has work: the page says which", Err: err}
	}
	return nil
}
