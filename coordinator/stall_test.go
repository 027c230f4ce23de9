package coordinator

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A job that waits for an agent raises its hand, and takes it down when one
// comes: in the metrics of both coordinators, and in the audit log once.
func TestStalledJobRaisesItsHand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stalled = 200 * time.Millisecond
	c1, _ := b.coordinator("c1")
	c2, _ := b.coordinator("c2")
	name := b.fill(10)
	j := b.job(c1, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	metric := func(c *Coordinator, name string) string {
		server := httptest.NewServer(c.Handler())
		defer server.Close()
		resp, err := http.Get(server.URL + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut("\n"+string(text), "\n"+name+" ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	const stalled = `tranship_coordinator_stalled_jobs{cause="no_agent"}`
	for _, c := range []*Coordinator{c1, c2} {
		b.until("both coordinators count the job", func() bool { return metric(c, stalled) == "1" })
	}
	b.until("it is known for how long", func() bool {
		v := metric(c1, `tranship_coordinator_stalled_seconds{cause="no_agent"}`)
		return v != "" && v != "0"
	})
	got := b.await(j.ID, "the job to say so", func(j work.Job) bool { return j.Stalled != nil })
	if s := got.Stalled; s.Cause != work.StallNoAgent || s.Ready+s.Queued != 1 || !strings.Contains(s.Next, "fleet invite --site default") {
		t.Errorf("the job says %+v", s)
	}
	b.agent("a1")
	b.counts(b.ended(j.ID, work.Succeeded), 10, 0, 0)
	for _, c := range []*Coordinator{c1, c2} {
		b.until("no coordinator counts the job", func() bool { return metric(c, stalled) == "0" })
	}
	// It may have stood still more than once: the threshold is short.
	var told []string
	b.until("the audit log says that it moves", func() bool {
		events, err := b.ledger.Events(t.Context(), j.ID, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		told = nil
		for _, e := range events {
			if e.What == "stalled" || e.What == "moving" {
				told = append(told, e.What)
			}
		}
		return len(told) > 0 && told[len(told)-1] == "moving"
	})
	for i, what := range told {
		if what != []string{"stalled", "moving"}[i%2] {
			t.Errorf("the audit log says %v, want it by turns", told)
		}
	}
}

// The operator's guide must explain every cause, and the alerts must ask for
// those that there are.
func TestCausesAreExplained(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	causes := map[string]bool{}
	for _, c := range work.StallCauses() {
		causes[string(c)] = true
		if !strings.Contains(string(guide), "| `"+string(c)+"` |") {
			t.Errorf("the guide does not explain the cause %s", c)
		}
	}
	asked := regexp.MustCompile(`cause!?="(\w+)"`).FindAllStringSubmatch(string(alerts), -1)
	if len(asked) == 0 {
		t.Error("the alerts ask for no cause")
	}
	for _, m := range asked {
		if !causes[m[1]] {
			t.Errorf("the alerts ask for the cause %s, which is none", m[1])
		}
	}
}
