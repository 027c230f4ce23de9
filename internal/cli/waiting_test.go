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

// A job of which no agent takes work says so in every command, from its first
// moment on; who follows it is told once.
func TestWaitingJob(t *testing.T) {
	t.Parallel()
	now := time.Now()
	job := api.Job{Job: work.Job{ID: 7, Source: "s3://a", Target: "s3://b", State: work.Running, CreatedAt: now, StartedAt: now,
		Waiting: &work.Wait{Why: "no agent is at site mars", Next: "Start one."}}}
	over := job
	over.Waiting, over.State, over.FinishedAt = nil, work.Succeeded, now
	var ended atomic.Bool
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("POST /v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		var asked api.NewJob
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Site != work.AtTarget {
			t.Errorf("asked for %+v, %v", asked, err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		answer(w, job)
	})
	mux.HandleFunc("GET /v1/jobs", func(w http.ResponseWriter, _ *http.Request) { answer(w, api.JobList{Jobs: []api.Job{job}}) })
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
		for _, j := range []api.Job{job, job, over} {
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
	if got, _ := run("job", "show", "7", "-o", "table"); !strings.Contains(got, "waiting  for an agent: no agent is at site mars") || !strings.Contains(got, "Start one.") {
		t.Errorf("job show wrote\n%s", got)
	}
	if got, _ := run("job", "ls"); !strings.HasSuffix(strings.TrimSpace(got), "\twaiting") {
		t.Errorf("job ls wrote\n%s", got)
	}
	_, said := run("copy", "--wait", "--at", "target", "s3://a", "s3://b")
	if strings.Count(said, "job 7 is waiting for an agent: no agent is at site mars\n  Start one.\n") != 1 || !strings.Contains(said, `"waiting":"no agent is at site mars"`) {
		t.Errorf("copy --wait said\n%s", said)
	}
	line := newProgress(nil).measure(now, job.Job).text()
	if !strings.Contains(line, "waiting: no agent is at site mars") {
		t.Errorf("the line of progress is %q", line)
	}
}
