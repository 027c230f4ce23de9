package web

import (
	"cmp"
	"net/http"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// autoscale answers how many agents a site could use. A site that nobody knows
// needs none for itself, which is no error: whoever scales asks before there are
// any.
func (s *site) autoscale(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "site", "items_per_agent")
	name := cmp.Or(p.text("site"), work.DefaultSite)
	if err := work.CheckName("site", name); err != nil {
		p.parameter("site", "%v", err)
	}
	perAgent := p.number("items_per_agent", api.ItemsPerAgent, 1, 1_000_000)
	if err := p.err(); err != nil {
		return err
	}
	loads, err := s.Ledger.Loads(r.Context(), agentSilent)
	if err != nil {
		return err
	}
	load := work.LoadAt(loads, name)
	return answerJSON(w, api.Autoscale{
		Site: name, Desired: load.Desired(perAgent), PerAgent: perAgent,
		Ready: load.Ready, Queued: load.Queued, Bytes: load.Bytes, Oldest: load.Oldest.Seconds(),
		Agents: load.Agents, Streams: load.Streams, Rate: load.Rate,
	})
}
