package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// Attempts tells of a failure as of a big object one of whose parts was given
// up, and of the listing of a failed job.
func (f *fake) Attempts(_ context.Context, q work.AttemptQuery) ([]work.Attempt, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := func(ago time.Duration, a work.Attempt) work.Attempt {
		a.Item, a.Epoch, a.At, a.Queued = work.ItemID(9000-ago/time.Minute), max(a.Epoch, 1), noon.Add(-ago), noon.Add(-ago-time.Minute)
		return a
	}
	var all []work.Attempt
	if q.Listing && f.jobs[q.Job].State == work.JobFailed {
		left := &work.Range{After: "m\xff"}
		all = append(all, at(30*time.Hour, work.Attempt{Kind: work.Scan, Range: left, Attempt: 1, State: work.Done, Outcome: work.Retry,
			Fault: work.Transient, Error: "list: timeout", Agent: "hub-1"}),
			at(29*time.Hour, work.Attempt{Kind: work.Scan, Range: left, Attempt: 2, State: work.Dead, Outcome: work.Failed,
				Fault: work.NotFound, Error: f.jobs[q.Job].Error, Agent: "hub-2"}))
	}
	if q.Listing {
		return all, false, nil
	}
	for _, v := range f.failures {
		if v.Job != q.Job || v.Key != q.Key {
			continue
		}
		all = append(all,
			at(4*time.Hour, work.Attempt{Kind: work.Begin, Attempt: 1, State: work.Done, Outcome: work.Begun, Agent: "hub-1"}),
			at(3*time.Hour, work.Attempt{Kind: work.Part, N: 3, Attempt: 1, Epoch: 2, State: work.Done, Outcome: work.Retry,
				Fault: work.Transient, Error: v.Message, Agent: v.Agent}),
			at(2*time.Hour, work.Attempt{Kind: work.Part, N: 3, Attempt: 2, Epoch: 4, State: work.Dead, Suspect: true, Outcome: work.Failed,
				Fault: v.Fault, Error: "part 3: " + v.Message, Agent: "hub-2"}),
			at(2*time.Hour, work.Attempt{Kind: work.Finish, Attempt: 1, State: work.Done, Outcome: work.Failed,
				Fault: v.Fault, Error: v.Message, Agent: v.Agent}))
		older := len(all) > q.Limit
		return all[max(0, len(all)-q.Limit):], older, nil
	}
	for _, o := range f.objects {
		if o.Job == q.Job && o.Key == q.Key {
			return append(all, work.Attempt{Item: o.Item, Kind: work.Copy, Attempt: 1, State: work.Ready, Due: noon.Add(time.Minute)}), false, nil
		}
	}
	return nil, false, work.ErrNoObject
}

func (f *fake) Retryable(_ context.Context, q work.RetryQuery) (objects, ranges int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, ok := f.jobs[q.Job]
	switch {
	case !ok:
		return 0, 0, work.ErrNoJob
	case j.State == work.Canceled:
		return 0, 0, work.ErrState
	case j.State == work.JobFailed && q.Fault == "" && q.Prefix == "":
		ranges = 1
	}
	for _, v := range f.failures {
		if v.Job == q.Job && (q.Fault == "" || v.Fault == q.Fault) && strings.HasPrefix(v.Key, q.Prefix) {
			objects++
		}
	}
	return objects, ranges, nil
}

func TestAttemptsPageOfNothing(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	if resp, page := b.do(t, "GET", "/jobs/7/attempts", "", "Accept", "text/html"); resp.StatusCode != http.StatusOK || !strings.Contains(page, "No range failed.") {
		t.Errorf("attempts of a listing that works: %s\n%s", resp.Status, page)
	}
	if resp, page := b.do(t, "GET", "/jobs/7/attempts?key=nothing", "", "Accept", "text/html"); resp.StatusCode != http.StatusNotFound ||
		!strings.Contains(page, "no such object") || !strings.Contains(page, "tranship job objects") {
		t.Errorf("attempts at what is no object: %s\n%s", resp.Status, page)
	}
	if _, page := b.do(t, "GET", "/jobs/7/attempts?key=eu/0004.jpg", "", "Accept", "text/html"); !strings.Contains(page, "due <time") {
		t.Errorf("the page of an open object does not say when it is due:\n%s", page)
	}
}

// The page retries what it lists: of one fault, below a prefix of any bytes.
func TestRetryWhatIsListed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault, prefix string
		left          int64
	}{{"", "", 0}, {"denied", "", 7}, {"", "bad\x00key\xff", 30}, {"unsupported", "bad\x00key\xff", 36}} {
		b := serve(t, atWork())
		query := url.Values{"fault": {tt.fault}, "prefix": {tt.prefix}}.Encode()
		_, page := b.do(t, "GET", "/jobs/7/failures?"+query, "", "Accept", "text/html")
		action := `action="/jobs/7/retry?` + strings.ReplaceAll(query, "&", "&amp;") + `"`
		if !strings.Contains(page, action) {
			t.Fatalf("the page of failures has no %s:\n%s", action, page)
		}
		resp, text := b.do(t, "POST", "/jobs/7/retry?"+query, "", "Content-Type", "application/x-www-form-urlencoded")
		if resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("retrying answered %s\n%s", resp.Status, text)
		}
		if j, err := b.fake.Job(t.Context(), 7); err != nil || j.Failed != tt.left {
			t.Errorf("after retrying %q below %q %d failed are left, want %d", tt.fault, tt.prefix, j.Failed, tt.left)
		}
	}
	b := serve(t, atWork())
	b.fake.change(7, func(j *work.Job) { j.State = work.Canceled })
	if _, page := b.do(t, "GET", "/jobs/7/failures", "", "Accept", "text/html"); strings.Contains(page, "do-retry") {
		t.Error("the page offers to retry a canceled job")
	}
}

func TestAttemptsCLI(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"a/b": "a/b", "": "''", "-x": "-- -x", "a b": "'a b'", "a\x00\xff": "--key64 YQD/", "\xff": `$'\xff'`,
	} {
		if got := attemptsCLI(work.AttemptQuery{Job: 7, Key: key}); got != "tranship job attempts 7 "+want {
			t.Errorf("the command for %q is %s", key, got)
		}
	}
	if got := attemptsCLI(work.AttemptQuery{Job: 7, Listing: true}); got != "tranship job attempts 7" {
		t.Errorf("the command for the listing is %s", got)
	}
}
