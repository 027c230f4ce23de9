package bus

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

func TestExamine(t *testing.T) {
	t.Parallel()
	b, _ := newFleet(t, Options{})
	for _, c := range b.Examine(testContext(t)) {
		if c.State != work.CheckOK {
			t.Errorf("of a queue that is well: %+v", c)
		}
	}

	publish(t, b, item(work.Hi, 1, 1))
	publishRaw(t, b, "tranship.dead.x", "{")
	ctx := testContext(t)
	if _, err := b.js.PauseConsumer(ctx, "TRANSHIP_WORK_s", "lo", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := b.js.DeleteStream(ctx, eventsStream); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is done with what was deleted", func() bool { return b.Healthy(ctx) == nil })
	got := map[string]work.CheckState{}
	for _, c := range b.Examine(ctx) {
		got[c.What] = c.State
		if c.State != work.CheckOK && c.Advice == "" {
			t.Errorf("without advice: %+v", c)
		}
	}
	want := map[string]work.CheckState{
		"answer": work.CheckOK, "TRANSHIP_WORK_s": work.CheckOK, "TRANSHIP_WORK_s hi": work.CheckWarning,
		"TRANSHIP_WORK_s norm": work.CheckOK, "TRANSHIP_WORK_s lo": work.CheckWarning,
		deadStream: work.CheckWarning, eventsStream: work.CheckFailing, resultsStream + " ledger": work.CheckOK,
	}
	for what, state := range want {
		if got[what] != state {
			t.Errorf("%s is %q, want %q", what, got[what], state)
		}
	}

	b.Close()
	if found := b.Examine(testContext(t)); len(found) != 1 || found[0].State != work.CheckFailing {
		t.Errorf("of a queue that does not answer: %+v", found)
	}
}

// TestExamineStore: an agent is asked, and cannot answer for another.
func TestExamineStore(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	served := make(chan error, 1)
	go func() {
		served <- agent.Serve(ctx, ServiceOptions{Agent: "agent-1", Site: "s", Version: "1.0.0", Stats: func() any { return nil }, Drain: func() {},
			Examine: func(_ context.Context, c work.StoreCheck) []work.Check {
				asked, _ := json.Marshal(c)
				return []work.Check{{Part: c.Store, By: "s/agent-2", What: "list", State: work.CheckOK, Found: string(asked)}}
			}})
	}()
	var found []work.Check
	eventually(t, "it answers", func() (ok bool) {
		var err error
		found, err = b.ExamineStore(ctx, "s", "agent-1", work.StoreCheck{Store: "mem://a", Write: true})
		return err == nil
	})
	if len(found) != 1 || found[0].By != "s/agent-1" || found[0].Found != `{"store":"mem://a","write":true}` {
		t.Errorf("ExamineStore = %+v", found)
	}
	if _, err := b.ExamineStore(ctx, "s", "agent-2", work.StoreCheck{Store: "mem://a"}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("ExamineStore by nobody = %v, want ErrNoAgent", err)
	}
	cancel()
	<-served
}
