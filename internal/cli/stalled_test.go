package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A job that stands still is shown as such by every command, with the reason
// and what to do; who follows it is told once.
func TestStalledJob(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	stall := work.Stall{Since: since, Ready: 1200, Queued: 3, Cause: work.StallNoAgent, Why: "no agent is at site mars\x1b", Next: "Start one."}
	job := api.Job{Job: work.Job{ID: 7, Source: "s3://a", Target: "s3://b", State: work.Running, CreatedAt: since, StartedAt: since, Stalled: &stall}}
	over := job
	over.Stalled, over.State, over.FinishedAt = nil, work.Succeeded, since.Add(time.Hour)
	var ended atomic.Bool
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /v1/jobs", func(w http.ResponseWriter, _ *http.Request) { answer(w, api.JobList{Jobs: []api.Job{over, job}}) })
	mux.HandleFunc("GET /v1/jobs/7", func(w http.ResponseWriter, _ *http.Request) {
		if ended.Load() {
			answer(w, over)
			return
		}
		answer(w, job)
	})
	mux.HandleFunc("GET /v1/jobs/7/tallies", func(w http.ResponseWriter, _ *http.Request) { answer(w, api.Tallies{}) })
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fewer := job
		same := stall
		same.Ready = 7
		fewer.Stalled = &same
		for _, j := range []api.Job{job, fewer, over} {
			b, err := json.Marshal(j)
			if err != nil {
				t.Error(err)
			}
			ended.Store(j.State == work.Succeeded)
			fmt.Fprintf(w, "event: job\ndata: %s\n\n", b)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	run := func(args ...string) (stdout, stderr string) {
		w := newWorld(t)
		w.wantStatus(t, ExitOK, append(args, "--server", server.URL)...)
		return w.stdout.String(), w.stderr.String()
	}
	got, _ := run("job", "show", "7", "-o", "table")
	for _, want := range []string{`stalled  since 2026-01-05T10:00:00Z: "no agent is at site mars\x1b"`, "Start one.", "1,200 items are due, 3 are handed out"} {
		if !strings.Contains(got, want) {
			t.Errorf("job show does not say %q:\n%s", want, got)
		}
	}
	if got, _ = run("job", "show", "7", "-o", "json"); !strings.Contains(got, `"cause": "no_agent"`) {
		t.Errorf("job show -o json does not say why:\n%s", got)
	}
	lines := strings.Split(strings.TrimSpace(func() string { out, _ := run("job", "ls"); return out }()), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "\tSTALLED") || !strings.HasSuffix(lines[1], "\t-") || !strings.HasSuffix(lines[2], "\tno_agent") {
		t.Errorf("job ls wrote\n%s", strings.Join(lines, "\n"))
	}
	_, said := run("job", "watch", "7")
	if strings.Count(said, "is stalled") != 1 || !strings.Contains(said, `no agent is at site mars\x1b"`+"\n  Start one.\n") {
		t.Errorf("job watch said\n%s", said)
	}
}
