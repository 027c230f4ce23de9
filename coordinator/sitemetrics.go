package coordinator

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tranship/tranship/internal/work"
)

// siteMetrics show how much there is to do at each site and who does it. The site
// any, where jobs name it, has the agents of all others. Sites are few: operators
// name them.
type siteMetrics struct {
	items   *prometheus.GaugeVec // by site and state
	bytes   *prometheus.GaugeVec // by site, as the rest
	oldest  *prometheus.GaugeVec
	agents  *prometheus.GaugeVec
	streams *prometheus.GaugeVec
	rate    *prometheus.GaugeVec
}

func newSiteMetrics(r prometheus.Registerer) siteMetrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tranship", Subsystem: "site", Name: name, Help: help},
			append([]string{"site"}, labels...))
		r.MustRegister(g)
		return g
	}
	return siteMetrics{
		items:   gauge("items", "Open items of running jobs at a site, by state.", "state"),
		bytes:   gauge("bytes_left", "Bytes of the objects found by running jobs at a site that did not arrive yet."),
		oldest:  gauge("oldest_ready_seconds", "How long the ready item of a site has waited that was due first."),
		agents:  gauge("agents", "Agents that take work at a site."),
		streams: gauge("streams_limit", "Objects that the agents at a site may move at once."),
		rate:    gauge("bytes_per_second", "Bytes a second that the agents at a site move together."),
	}
}

// show replaces what was shown of all sites.
func (m siteMetrics) show(loads []work.SiteLoad) {
	for _, g := range []*prometheus.GaugeVec{m.items, m.bytes, m.oldest, m.agents, m.streams, m.rate} {
		g.Reset() // a site may be gone
	}
	for _, l := range loads {
		if l.Site == work.AnySite {
			l = work.LoadAt(loads, l.Site) // all agents take its work
		}
		m.items.WithLabelValues(l.Site, string(work.Ready)).Set(float64(l.Ready))
		m.items.WithLabelValues(l.Site, string(work.Queued)).Set(float64(l.Queued))
		m.bytes.WithLabelValues(l.Site).Set(float64(l.Bytes))
		m.oldest.WithLabelValues(l.Site).Set(l.Oldest.Seconds())
		m.agents.WithLabelValues(l.Site).Set(float64(l.Agents))
		m.streams.WithLabelValues(l.Site).Set(float64(l.Streams))
		m.rate.WithLabelValues(l.Site).Set(l.Rate)
	}
}
