package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// proven is a job with everything that can be said of one that has ended.
func proven() (api.Job, api.Tallies) {
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	job := api.Job{Job: work.Job{ID: 7, Name: "images", Source: "s3://shop/?region=eu-west-1", Target: "gs://shop-eu/", Site: "default", Class: work.Norm,
		Options:     work.Options{Verify: work.VerifyReadback, Compare: work.CompareContent, MaxAttempts: 5, Split: 1 << 30, Class: "keep", Carry: "archived=skip"},
		SubmittedBy: "ada", State: work.Incomplete, CreatedAt: at, StartedAt: at, FinishedAt: at.Add(time.Hour),
		Counts: work.Counts{Planned: 5020, Copied: 5000, Skipped: 19, Failed: 1, Retries: 3, PlannedBytes: 5 << 30, DoneBytes: 5 << 30, MovedBytes: 6 << 30},
		Report: &work.Report{Agent: "hub-1",
			Source: work.StoreReport{Driver: "s3", Facts: []work.Fact{{Name: "checksums", Text: "CRC64NVME of whole objects"}}},
			Target: work.StoreReport{Driver: "gs"},
			Losses: []work.Loss{{Field: work.FieldTags, Policy: work.PolicyDrop, Why: "a store of kind gs has no place for it"}}}}}
	tally := func(name string, n int64, key, text string) api.Tally {
		return api.Tally{Tally: work.Tally{Name: name, Count: n, Key: key, Text: text}}
	}
	return job, api.Tallies{
		Failures: []api.Tally{tally("denied", 1, "no", "403")},
		Skips:    []api.Tally{tally("etag", 12, "there", ""), tally("archived", 7, "cold\x1b", "")},
		Dropped:  []api.Tally{tally("tags", 41, "tagged", ""), tally("metadata:owner", 3, "owned", "")},
		Proofs:   []api.Tally{tally("crc32c", 4990, "a", ""), tally("size", 10, "b", "")}}
}

// TestJobShow shows a job as people read it.
func TestJobShow(t *testing.T) {
	t.Parallel()
	job, tallies := proven()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = job
		if strings.HasSuffix(r.URL.Path, "/tallies") {
			answer = tallies
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "job", "show", "-o", "table", "--server", server.URL, "7")
	golden(t, "jobshow.txt", w.stdout.String())

	// The end of a job is told in the same words, and its status is its own.
	w = newWorld(t)
	w.wantStatus(t, ExitIncomplete, "job", "watch", "--server", server.URL, "7")
	golden(t, "jobwatch.txt", w.stderr.String()[strings.Index(w.stderr.String(), "job 7 incomplete"):])
}
