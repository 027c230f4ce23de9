package coordinator

import (
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestDoctor: stores are looked at by the agents, and what they find comes back
// under their names.
func TestDoctor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("one")
	stores := []work.StoreCheck{{Store: "mem://doctor-src"}, {Store: "faulty://doctor-dst", Write: true}}
	find := func(part, what string) (found work.Check) {
		for _, k := range c.examine(t.Context(), stores) {
			if k.Part == part && k.What == what {
				found = k
			}
		}
		return found
	}
	if k := find("agents", "sites"); k.State != work.CheckWarning {
		t.Errorf("without an agent: %+v", k)
	}
	if k := find("mem://doctor-src", "ask an agent"); k.State != work.CheckUnknown || !strings.Contains(k.Advice, "--here") {
		t.Errorf("without an agent to ask: %+v", k)
	}

	b.fail(func(call storagetest.Call) storagetest.Kind {
		if call.Op == "put" {
			return storagetest.Denied
		}
		return ""
	})
	b.agent("looks")
	b.until("the agent to look", func() bool { return find("faulty://doctor-dst", "write").By == "default/looks" })
	if k := find("faulty://doctor-dst", "write"); k.State != work.CheckFailing || k.Advice == "" {
		t.Errorf("of a target that may not be written: %+v", k)
	}
	if k := find("mem://doctor-src", "list"); k.State != work.CheckOK {
		t.Errorf("of a source that may be listed: %+v", k)
	}
	if k := find("agents", "default/looks"); k.State != work.CheckOK {
		t.Errorf("of the agent: %+v", k)
	}
	if k := find("nats", "answer"); k.State != work.CheckOK {
		t.Errorf("of the queue: %+v", k)
	}

	b.job(c, "mem://doctor-src", "mem://doctor-other", work.DefaultOptions())
	j, _, err := jobs{c}.CreateJob(t.Context(), work.NewJob{Source: "mem://a", Target: "mem://b", Options: work.DefaultOptions(), Site: "mars", Class: work.Norm}, work.Idempotency{})
	if err != nil {
		t.Fatal(err)
	}
	if k := find("agents", "sites"); k.State != work.CheckFailing || !strings.Contains(k.Found, "mars") {
		t.Errorf("with job %d at a site without agents: %+v", j.ID, k)
	}
}
