package coordinator

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tranship/tranship/internal/work"
)

// TestAnySiteHasAllAgents: by these metrics the alert tells that nobody is there
// for jobs that run anywhere.
func TestAnySiteHasAllAgents(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	m := newSiteMetrics(r)
	for _, tt := range []struct {
		loads []work.SiteLoad
		want  map[string]float64 // agents by site
	}{
		{[]work.SiteLoad{{Site: "a", Agents: 2}, {Site: work.AnySite, Ready: 1}, {Site: "b", Agents: 1}}, map[string]float64{"a": 2, "any": 3, "b": 1}},
		{[]work.SiteLoad{{Site: "a", Ready: 1}, {Site: work.AnySite, Ready: 1}}, map[string]float64{"a": 0, "any": 0}},
	} {
		m.show(tt.loads)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, f := range families {
			for _, metric := range f.GetMetric() {
				site, got := metric.GetLabel()[0].GetValue(), metric.GetGauge().GetValue()
				if f.GetName() != "tranship_site_agents" {
					continue
				}
				if seen++; got != tt.want[site] {
					t.Errorf("%v agents at %s, want %v", got, site, tt.want[site])
				}
			}
		}
		if seen != len(tt.want) {
			t.Errorf("agents of %d sites are shown, want %d", seen, len(tt.want))
		}
	}
}
