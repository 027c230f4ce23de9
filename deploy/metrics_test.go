package deploy

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator"
	"github.com/tranship/tranship/internal/bus"
)

// known returns whether a coordinator or an agent has a metric of that name.
func known(t *testing.T) func(name string) bool {
	t.Helper()
	all := []*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}
	coordinator.New(config.Default().Coordinator, coordinator.Deps{Metrics: all[0]})
	if _, err := agent.New(config.Default().Agent, agent.Deps{Bus: (*bus.Bus)(nil), Metrics: all[1]}); err != nil {
		t.Fatal(err)
	}
	all[0].MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return func(name string) bool {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		// A registry refuses a name that it has with other words of help.
		return slices.ContainsFunc(all, func(r *prometheus.Registry) bool {
			return r.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "another"})) != nil
		})
	}
}

var metricName = regexp.MustCompile(`\b(?:tranship|process|go)_[a-z_]+`)

// wantMetrics checks that every metric of an expression is one of ours.
func wantMetrics(t *testing.T, known func(string) bool, where, expr string) {
	t.Helper()
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s asks for no metric of ours: %s", where, expr)
	}
	for _, n := range names {
		if !known(n) {
			t.Errorf("%s asks for %s, which nobody has", where, n)
		}
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	known := known(t)
	if known("tranship_coordinator_nothing") {
		t.Fatal("a metric that is not there is known")
	}
	sections := headings(read(t, "RUNBOOK.md"))
	rules := file.Groups[0].Rules
	if len(rules) < 8 {
		t.Errorf("%d rules: is this the file?", len(rules))
	}
	for _, r := range rules {
		wantMetrics(t, known, r.Alert, r.Expr)
		_, section, ok := strings.Cut(r.Annotations["runbook_url"], "deploy/RUNBOOK.md#")
		if !ok || !slices.Contains(sections, section) {
			t.Errorf("%s: the runbook has no section %q, only %q", r.Alert, section, sections)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if strings.Contains(r.Expr, `site!=`) {
			t.Errorf("%s leaves out a site: %s", r.Alert, r.Expr) // jobs wait at any, too
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
	}
}

// headings returns the anchors of a page's headings.
func headings(page string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^##+ (.+)$`).FindAllStringSubmatch(page, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

func TestPromtoolTakesTheAlerts(t *testing.T) {
	t.Parallel()
	need(t, "promtool")
	run(t, exec.Command("promtool", "check", "rules", "prometheus/alerts.yml"))
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/tranship.json")), &board); err != nil {
		t.Fatal(err)
	}
	known := known(t)
	seen := map[int]bool{}
	for _, p := range board.Panels {
		if seen[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %s has id %d, which another has, or shows nothing", p.Title, p.ID)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			wantMetrics(t, known, p.Title, target.Expr)
		}
	}
	if len(board.Panels) < 10 {
		t.Errorf("%d panels: is this the dashboard?", len(board.Panels))
	}
}

// The scaler must ask for what the API has.
func TestScaledObject(t *testing.T) {
	t.Parallel()
	docs := strings.Split(read(t, "keda/scaledobject.yaml"), "\n---\n")
	var object struct {
		Kind string
		Spec struct {
			Triggers []struct {
				Type       string
				MetricType string `yaml:"metricType"`
				Metadata   map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(docs[len(docs)-1]), &object); err != nil || object.Kind != "ScaledObject" || len(object.Spec.Triggers) != 1 {
		t.Fatalf("%+v, %v", object, err)
	}
	var api struct {
		Paths map[string]struct {
			Get struct {
				Parameters []struct{ Name string }
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join("..", "coordinator", "api", "openapi.yaml"))), &api); err != nil {
		t.Fatal(err)
	}
	trigger := object.Spec.Triggers[0]
	u, err := url.Parse(trigger.Metadata["url"])
	if err != nil {
		t.Fatal(err)
	}
	for name := range u.Query() {
		if !slices.ContainsFunc(api.Paths[u.Path].Get.Parameters, func(p struct{ Name string }) bool { return p.Name == name }) {
			t.Errorf("%s takes no parameter %s", u.Path, name)
		}
	}
	if field := trigger.Metadata["valueLocation"]; api.Components.Schemas["Autoscale"].Properties[field] == nil {
		t.Errorf("the answer has no field %q", field)
	}
	if trigger.Type != "metrics-api" || trigger.MetricType != "AverageValue" || trigger.Metadata["targetValue"] != "1" {
		t.Errorf("%+v would not make desired_agents agents", trigger)
	}
}
