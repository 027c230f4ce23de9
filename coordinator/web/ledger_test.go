package web

import (
	"errors"
	"strings"
	"testing"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// TestWithLedger uses the API and the pages over the real ledger: what the fake
// promises elsewhere is kept there.
func TestWithLedger(t *testing.T) {
	t.Parallel()
	l := ledgertest.New(t)
	b := &bench{}
	b.start(t, l, l)
	ctx, c := t.Context(), b.client
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	code := func(err error, want api.Code) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	nj := api.NewJob{Name: "n", Source: "mem://a", Target: "mem://b"}
	job, replayed, err := c.CreateJob(ctx, nj, "k")
	must(err)
	again, replayedAgain, err := c.CreateJob(ctx, nj, "k")
	must(err)
	if replayed || !replayedAgain || again.ID != job.ID || job.State != work.Running || job.SubmittedBy != "api" {
		t.Errorf("created %+v and %+v", job, again)
	}
	nj.Name = "other"
	_, _, err = c.CreateJob(ctx, nj, "k")
	code(err, api.KeyReused)
	for range 2 { // twice: the second changes nothing
		job, err = c.Pause(ctx, job.ID)
		must(err)
	}
	if job.State != work.Paused {
		t.Errorf("paused job is %s", job.State)
	}
	_, err = c.Resume(ctx, job.ID)
	must(err)
	useListings(t, b, job.ID)
	_, err = c.Cancel(ctx, job.ID)
	must(err)
	_, err = c.Pause(ctx, job.ID)
	code(err, api.JobState)
	for _, dry := range []bool{false, true} {
		_, err = c.Retry(ctx, job.ID, api.Retry{DryRun: dry})
		code(err, api.JobState)
		_, err = c.Retry(ctx, job.ID+1, api.Retry{DryRun: dry})
		code(err, api.NoJob)
	}
	_, err = c.Attempts(ctx, work.AttemptQuery{Job: job.ID, Key: "a\x00\xff"})
	code(err, api.NoObject)
	_, err = c.Attempts(ctx, work.AttemptQuery{Job: job.ID + 1, Listing: true})
	code(err, api.NoJob)
	_, err = c.Job(ctx, job.ID+1)
	code(err, api.NoJob)
	_, err = c.Cancel(ctx, job.ID+1)
	code(err, api.NoJob)
	_, err = c.Jobs(ctx, "", api.Page{Cursor: "mine"})
	code(err, api.BadCursor)
	for _, path := range []string{"/", "/jobs", "/jobs/" + job.ID.String(), "/jobs/" + job.ID.String() + "/objects?outcome=open",
		"/jobs/" + job.ID.String() + "/failures?fault=denied", "/agents", "/settings", "/settings/audit"} {
		resp, page := b.do(t, "GET", path, "", "Accept", "text/html")
		if resp.StatusCode != 200 {
			t.Errorf("%s answered %s:\n%s\n%s", path, resp.Status, page, b.log)
		}
	}
	events, err := c.JobEvents(ctx, job.ID, 0, 100)
	must(err)
	var what []string
	for _, e := range events {
		what = append(what, e.What)
	}
	if got := strings.Join(what, " "); got != "created paused resumed canceled" {
		t.Errorf("the audit log says %q", got)
	}
}

// useListings reads everything that the API tells of a job, which the transport
// checks against the OpenAPI file.
func useListings(t *testing.T, b *bench, id work.JobID) {
	t.Helper()
	ctx, c := t.Context(), b.client
	_, err := c.Failures(ctx, work.FailureQuery{Job: id, Fault: work.Denied, Prefix: "a\x00\xff"})
	if err == nil {
		_, err = c.Objects(ctx, work.ObjectQuery{Job: id, Outcome: work.Copied, Prefix: "a\x00\xff"})
	}
	if err == nil {
		_, err = c.Attempts(ctx, work.AttemptQuery{Job: id, Listing: true})
	}
	if err == nil {
		_, err = c.Retry(ctx, id, api.Retry{Fault: work.Denied, Prefix: "a\x00\xff", DryRun: true})
	}
	if err == nil {
		_, err = c.Tallies(ctx, id)
	}
	if err == nil {
		_, err = c.Samples(ctx, id, noon)
	}
	if err == nil {
		_, err = c.Agents(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	balance, err := c.Balance(ctx, id)
	if err != nil || !balance.OK || balance.OpenItems != 1 {
		t.Errorf("balance of a new job: %+v, %v", balance, err)
	}
	for m, err := range c.Events(ctx, api.StreamQuery{Job: id}) {
		if err != nil || m.Job == nil || m.Job.ID != id {
			t.Errorf("a stream of job %d begins with %+v, %v", id, m, err)
		}
		break
	}
}
