package coordinator

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/coordinator/plan"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestJobSucceedsAndRunsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	b.agent("a2")
	const n = 3000
	name := b.fill(n)
	source, target := "mem://"+name+"/from", "mem://"+name+"/to"

	j := b.job(c, source, target, work.DefaultOptions())
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
	b.same(source, target)

	j = b.job(c, source, target, work.DefaultOptions())
	b.counts(b.ended(j.ID, work.Succeeded), 0, n, 0)
}

func TestEmptySource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	name := b.fill(0)
	j := b.job(c, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.counts(b.ended(j.ID, work.Succeeded), 0, 0, 0)
}

// Losing the whole queue in the middle of a job loses no work.
func TestQueueIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 5000
	name := b.fill(n)
	reached, release := b.hold(n / 10)
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)

	js := b.jetstream()
	for stream := range b.streams(js, "TRANSHIP_") {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	release()
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
	b.same("mem://"+name+"/from", "mem://"+name+"/to")
}

// receive waits for a signal of hold.
func (b *bundle) receive(reached <-chan struct{}) {
	b.t.Helper()
	select {
	case <-reached:
	case <-time.After(patience):
		b.t.Fatal("the job never came so far")
	}
}

// streams returns the messages of each stream whose name has the prefix.
func (b *bundle) streams(js jetstream.JetStream, prefix string) map[string]uint64 {
	b.t.Helper()
	messages := make(map[string]uint64)
	l := js.ListStreams(b.t.Context())
	for s := range l.Info() {
		if strings.HasPrefix(s.Config.Name, prefix) {
			messages[s.Config.Name] = s.State.Msgs
		}
	}
	if l.Err() != nil {
		b.t.Fatal(l.Err())
	}
	return messages
}

// Results that were taken, by a coordinator that died before or after it
// recorded them, come again and count once.
func TestResultsComeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 5000
	name := b.fill(n)
	reached, release := b.hold(n / 10)
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)

	dying := b.connect("dying")
	decide := plan.Planner{Jitter: rand.Float64}.Decide
	release()
	taken, recorded := 0, 0
	for end := time.Now().Add(patience); taken < 3 || recorded == 0; {
		if time.Now().After(end) {
			t.Fatalf("took %d results and recorded %d", taken, recorded)
		}
		results, _, err := dying.Results(t.Context(), 2, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		taken += len(results)
		if taken%2 == 0 && len(results) > 0 {
			n, err := b.ledger.Record(t.Context(), results, decide)
			if err != nil {
				t.Fatal(err)
			}
			recorded += n
		}
		if j, err := b.ledger.Job(t.Context(), j.ID); err != nil || !j.State.Open() {
			break // the coordinator was faster; the balance still has to hold
		}
	}
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
}

// Two coordinators share the pages of one listing, and everything else. It
// goes without reconciling: that would make up for pages that they lose
// between them.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile = time.Hour
	c1, _ := b.coordinator("c1")
	c2, _ := b.coordinator("c2")
	b.agent("a1")
	b.agent("a2")
	const n = 20_000
	name := b.fill(n)
	j1 := b.job(c1, "mem://"+name+"/from", "mem://"+name+"/one", work.DefaultOptions())
	j2 := b.job(c2, "mem://"+name+"/from", "mem://"+name+"/two", work.DefaultOptions())
	b.counts(b.ended(j1.ID, work.Succeeded), n, 0, 0)
	b.counts(b.ended(j2.ID, work.Succeeded), n, 0, 0)
}

// A coordinator that starts finds the work of one that ended in the middle.
func TestCoordinatorIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c1, stop := b.coordinator("c1")
	b.agent("a1")
	const n = 3000
	name := b.fill(n)
	reached, release := b.hold(n / 3)
	j := b.job(c1, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)
	stop()
	release()
	b.coordinator("c2")
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 3000
	name := b.fill(n)
	reached, release := b.hold(n / 3)
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)
	if got, err := (jobs{c}).Pause(t.Context(), j.ID, "tester"); err != nil || got.State != work.Paused {
		t.Fatalf("Pause = %+v, %v", got, err)
	}
	time.Sleep(time.Second) // for the agent to hear of it
	release()
	time.Sleep(2 * time.Second) // in which the rest would be copied many times over
	if got, err := b.ledger.Job(t.Context(), j.ID); err != nil || got.State != work.Paused || got.Open == 0 {
		t.Errorf("paused job went on: %+v, %v", got, err)
	}
	if got, err := (jobs{c}).Resume(t.Context(), j.ID, "tester"); err != nil || got.State != work.Running {
		t.Fatalf("Resume = %+v, %v", got, err)
	}
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 3000
	name := b.fill(n)
	reached, release := b.hold(n / 3)
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)
	if got, err := (jobs{c}).Cancel(t.Context(), j.ID, "tester"); err != nil || got.State != work.Canceled {
		t.Fatalf("Cancel = %+v, %v", got, err)
	}
	js := b.jetstream()
	left := func() uint64 { return b.streams(js, "TRANSHIP_WORK_")["TRANSHIP_WORK_default"] }
	for end := time.Now().Add(patience); left() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d items are still on the queue", left())
		}
	}
	release()

	// What follows is not disturbed, and shows that late results are in.
	name = b.fill(10)
	next := b.job(c, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.counts(b.ended(next.ID, work.Succeeded), 10, 0, 0)
	got, err := b.ledger.Job(t.Context(), j.ID)
	if err != nil || got.State != work.Canceled || !got.Balanced() {
		t.Errorf("canceled job is %+v, %v", got, err)
	}
}

func TestFailedObjectsAndRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 1000
	name := b.fill(n)
	b.fail(func(c storagetest.Call) storagetest.Kind {
		if (c.Op == "put" || c.Op == "copy") && strings.HasSuffix(c.Key, "7") {
			return storagetest.Denied
		}
		return ""
	})
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.counts(b.ended(j.ID, work.Incomplete), n-n/10, 0, n/10)
	tally, err := b.ledger.FailureTally(t.Context(), j.ID)
	if err != nil || len(tally) != 1 || tally[0].Name != string(work.Denied) || tally[0].Count != n/10 {
		t.Errorf("failures by fault: %+v, %v", tally, err)
	}

	b.fail(func(storagetest.Call) storagetest.Kind { return "" })
	if got, err := (jobs{c}).Retry(t.Context(), work.RetryQuery{Job: j.ID}, "tester"); err != nil || got != n/10 {
		t.Fatalf("Retry = %d, %v, want %d", got, err, n/10)
	}
	b.counts(b.ended(j.ID, work.Succeeded), n, 0, 0)
	b.same("mem://"+name+"/from", "mem://"+name+"/to")
}

// Passing errors of all sorts cost attempts and nothing else.
func TestPassingErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	const n = 2000
	name := b.fill(n)
	b.fail(func(c storagetest.Call) storagetest.Kind {
		switch {
		case c.N > 1 || c.Op == "list":
			return ""
		case strings.HasSuffix(c.Key, "13"):
			return storagetest.Lost
		case strings.HasSuffix(c.Key, "31"):
			return storagetest.Applied
		case strings.HasSuffix(c.Key, "57"):
			return storagetest.Garbled
		}
		return ""
	})
	j := b.job(c, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	j = b.ended(j.ID, work.Succeeded)
	b.counts(j, n, 0, 0)
	if j.Retries == 0 {
		t.Error("no object was tried again; the faults never struck")
	}
	b.same("mem://"+name+"/from", "mem://"+name+"/to")
}

func TestSourceCannotBeListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	b.agent("a1")
	name := b.fill(10)
	b.fail(func(c storagetest.Call) storagetest.Kind {
		if c.Op == "list" {
			return storagetest.Denied
		}
		return ""
	})
	j := b.job(c, "faulty://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	if j = b.ended(j.ID, work.JobFailed); j.Error == "" {
		t.Error("a failed job does not say why")
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _ := b.coordinator("c1")
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	get := func(path string) (int, string) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	b.until("ready without work and agents", func() bool { status, _ := get("/readyz"); return status == http.StatusOK })

	name := b.fill(100)
	j := b.job(c, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	b.until("not ready with work and no agent", func() bool {
		status, body := get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "agents")
	})
	b.agent("a1")
	b.ended(j.ID, work.Succeeded)
	b.until("agent in the ledger", func() bool {
		agents, err := b.ledger.Agents(t.Context())
		return err == nil && len(agents) == 1 && agents[0].Agent == "a1"
	})
	for _, want := range []string{`tranship_coordinator_jobs_finished_total{state="succeeded"} 1`, "tranship_coordinator_items_published_total 2",
		"tranship_coordinator_results_recorded_total 2", "tranship_coordinator_items_reconciled_total 0", `tranship_coordinator_items{state="ready"} 0`,
		`tranship_coordinator_items{state="queued"} 0`, "tranship_coordinator_oldest_ready_seconds 0",
		"tranship_coordinator_ledger_up 1", `tranship_site_agents{site="` + work.DefaultSite + `"} 1`} {
		b.until("/metrics has "+want, func() bool {
			_, metrics := get("/metrics")
			return strings.Contains(metrics, want+"\n")
		})
	}
}

// until waits until something holds.
func (b *bundle) until(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Run waits for a queue that comes late, and ends when it is told to.
func TestRunEndsWhileTheQueueIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.connect("c1")
	b.server.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, stop := b.coordinatorOn("c1", conn)
	<-ctx.Done()
	stop()
}
