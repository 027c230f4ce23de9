package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// TestRoutesAreDescribed keeps the table of routes and the OpenAPI file equal.
func TestRoutesAreDescribed(t *testing.T) {
	t.Parallel()
	var served, described []string
	for _, rt := range newSite(Deps{Ledger: newFake(), Commander: newFake(), Roster: &fakeRoster{}}).apiRoutes() {
		served = append(served, rt.method+" "+rt.pattern)
	}
	for path, item := range spec(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served and described differ:\n%s\n\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

// TestCodesAreDescribed keeps the table of error codes and the OpenAPI file
// equal.
func TestCodesAreDescribed(t *testing.T) {
	t.Parallel()
	var described []string
	for _, v := range spec(t).Components.Schemas["Problem"].Value.Properties["code"].Value.Enum {
		described = append(described, v.(string))
	}
	var known []string
	for _, c := range api.Codes() {
		known = append(known, string(c.Code))
		if c.Title == "" || c.Hint == "" || c.Status < 400 {
			t.Errorf("code %s says nothing: %+v", c.Code, c)
		}
	}
	if !slices.Equal(known, described) {
		t.Errorf("codes are %v, described are %v", known, described)
	}
}

// TestStallCausesAreDescribed keeps the causes of stalls and the OpenAPI file
// equal.
func TestStallCausesAreDescribed(t *testing.T) {
	t.Parallel()
	var described []work.StallCause
	for _, v := range spec(t).Components.Schemas["Stall"].Value.Properties["cause"].Value.Enum {
		described = append(described, work.StallCause(v.(string)))
	}
	if !slices.Equal(described, work.StallCauses()) {
		t.Errorf("causes are %v, described are %v", work.StallCauses(), described)
	}
}

// TestFaultsHaveAdvice keeps the page from being silent about a fault.
func TestFaultsHaveAdvice(t *testing.T) {
	t.Parallel()
	for _, f := range work.Faults() {
		if adviceOn[f] == "" {
			t.Errorf("fault %s has no advice", f)
		}
	}
}

// TestContract uses every operation through the client; the transport checks
// each answer against the OpenAPI file.
func TestContract(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) { b.site.Access = ledgertest.New(t) })
	ctx, c := t.Context(), b.client
	c.Who = "ada@workstation"
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	nj := api.NewJob{Name: "n", Source: "s3://a/b", Target: "file:///c", Site: "here", Class: work.Hi,
		Options: api.Options{Verify: work.VerifySize, Compare: work.CompareNone, MaxAttempts: 2,
			Split: 1 << 30, Class: "keep", Carry: "tags=fail"}}
	checkRequest(t, "NewJob", nj)
	job, replayed, err := c.CreateJob(ctx, nj, "")
	must("create", err)
	want := work.Options{Verify: work.VerifySize, Compare: work.CompareNone, MaxAttempts: 2, Split: 1 << 30, Class: "keep", Carry: "tags=fail"}
	if replayed || job.ID != 8 || job.Options != want || job.Class != work.Hi || job.Site != "here" || job.SubmittedBy != "ada@workstation" {
		t.Errorf("created %+v, replayed %v", job, replayed)
	}
	busy, err := c.Job(ctx, 7)
	must("job", err)
	if busy.Report == nil || busy.Report.Agent != "hub-1" || busy.Report.Losses[0].Policy != work.PolicyDrop {
		t.Errorf("job 7 reports %+v", busy.Report)
	}
	list, err := c.Jobs(ctx, work.Running, api.Page{Limit: 2})
	must("jobs", err)
	if len(list.Jobs) != 2 || list.Jobs[0].ID != 8 || list.Next == "" {
		t.Errorf("first page of running jobs: %+v", list)
	}
	rest, err := c.Jobs(ctx, work.Running, api.Page{Limit: 2, Cursor: list.Next})
	must("jobs, second page", err)
	if len(rest.Jobs) != 1 || rest.Jobs[0].ID != 6 || rest.Next != "" || rest.Jobs[0].Stalled == nil || rest.Jobs[0].Stalled.Ready != 10 {
		t.Errorf("second page of running jobs: %+v", rest)
	}
	j, err := c.Pause(ctx, 7)
	must("pause", err)
	if j.State != work.Paused {
		t.Errorf("paused job is %s", j.State)
	}
	j, err = c.Resume(ctx, 7)
	must("resume", err)
	if j.State != work.Running {
		t.Errorf("resumed job is %s", j.State)
	}
	j, err = c.Cancel(ctx, 8)
	must("cancel", err)
	if j.State != work.Canceled {
		t.Errorf("canceled job is %s", j.State)
	}
	useEvidence(t, b)
	useRoster(t, b)
	useTokens(t, b)
	useNotices(t, b)
	useLimits(t, b)
	_, err = c.Version(ctx)
	must("version", err)
	asked := api.Examination{Stores: []work.StoreCheck{{Store: "s3://a/b", Write: true}}}
	checkRequest(t, "Examination", asked)
	checks, err := c.Examine(ctx, asked)
	must("examine", err)
	if len(checks) != 2 || checks[0].Advice != "set it on" || checks[1].Part != "s3://a/b" || checks[1].Found != "true" {
		t.Errorf("examined: %+v", checks)
	}
	r, err := c.Ready(ctx)
	must("ready", err)
	if !r.Ready || r.Checks["postgres"] != "ok" {
		t.Errorf("ready: %+v", r)
	}
	for m, err := range c.Events(ctx, api.StreamQuery{Job: 7}) {
		must("stream", err)
		if m.Job == nil || m.Job.ID != 7 {
			t.Errorf("a stream of job 7 begins with %+v", m)
		}
		break
	}
	for _, path := range []string{"/healthz", "/metrics", "/openapi.yaml", "/openapi.json"} {
		if resp, text := b.do(t, "GET", path, ""); resp.StatusCode != http.StatusOK || text == "" {
			t.Errorf("GET %s answered %s, %d bytes", path, resp.Status, len(text))
		}
	}
	seen := b.http.Transport.(*checked).seen
	for path, item := range spec(t).Paths.Map() {
		for method, op := range item.Operations() {
			if !seen[op.OperationID] {
				t.Errorf("%s %s was not used", method, path)
			}
		}
	}
}

// useTokens makes a token, lists it and revokes it.
func useTokens(t *testing.T, b *bench) {
	t.Helper()
	ctx, c := t.Context(), b.client
	n := api.NewToken{Name: "grafana", Scope: work.ScopeRead, ExpiresIn: new(int64(0))}
	checkRequest(t, "NewToken", n)
	made, err := c.CreateToken(ctx, n)
	if err != nil || made.Token.Name != "grafana" || made.Token.CreatedBy != "ada@workstation" || !made.Token.ExpiresAt.IsZero() ||
		!work.IsSecret(work.SecretToken, made.Secret) {
		t.Errorf("created the token %+v, %v", made.Token, err)
	}
	n.Name, n.ExpiresIn = "for-a-while", nil
	brief, err := c.CreateToken(ctx, n)
	if life := brief.Token.ExpiresAt.Sub(brief.Token.CreatedAt); err != nil || life != tokenLife {
		t.Errorf("a token of which nothing is said counts for %s, %v", life, err)
	}
	gone, err := c.RevokeToken(ctx, made.Token.ID)
	if err != nil || gone.ID != made.Token.ID || gone.RevokedAt.IsZero() {
		t.Errorf("revoked %+v, %v", gone, err)
	}
	all, err := c.Tokens(ctx)
	if err != nil || len(all) != 2 || all[0].ID != brief.Token.ID || all[1].RevokedAt.IsZero() {
		t.Errorf("tokens: %+v, %v", all, err)
	}
	if link, err := c.SignIn(ctx); err != nil || link.URL != b.base+"/" || !link.ExpiresAt.IsZero() {
		t.Errorf("the link into a site that is open: %+v, %v", link, err)
	}
}

// useEvidence reads what became of job 7's objects.
func useEvidence(t *testing.T, b *bench) {
	t.Helper()
	ctx, c := t.Context(), b.client
	fails, err := c.Failures(ctx, work.FailureQuery{Job: 7, Fault: work.Unsupported, Prefix: "bad\x00key\xff"})
	if err != nil || len(fails.Failures) != 1 || fails.Failures[0].Key != "bad\x00key\xff#2" || fails.Failures[0].Fault != work.Unsupported {
		t.Errorf("failures below a prefix of any bytes: %+v, %v", fails, err)
	}
	objects, err := c.Objects(ctx, work.ObjectQuery{Job: 7, Outcome: work.Failed, Limit: 1})
	if err != nil || len(objects.Objects) != 1 || objects.Objects[0].Key != "bad\x00\xff" || objects.Next == "" {
		t.Errorf("failed objects: %+v, %v", objects, err)
	}
	if open, err := c.Objects(ctx, work.ObjectQuery{Job: 7, Open: true}); err != nil || len(open.Objects) != 20 || open.Objects[0].Outcome != "" {
		t.Errorf("open objects: %d, %v", len(open.Objects), err)
	}
	attempts, err := c.Attempts(ctx, work.AttemptQuery{Job: 7, Key: "bad\x00key\xff#2", Limit: 3})
	if err != nil || len(attempts.Attempts) != 3 || !attempts.Older || attempts.Attempts[2].Fault != work.Denied {
		t.Errorf("the last attempts at a key of any bytes: %+v, %v", attempts, err)
	}
	attempts, err = c.Attempts(ctx, work.AttemptQuery{Job: 2, Listing: true})
	if err != nil || len(attempts.Attempts) != 2 || attempts.Older || attempts.Attempts[1].Range.After != "m\xff" {
		t.Errorf("attempts to list the source: %+v, %v", attempts, err)
	}
	tallies, err := c.Tallies(ctx, 7)
	if err != nil || len(tallies.Failures) != 3 || tallies.Failures[0].Count != 30 || tallies.Skips[0].Key != "eu/0100.jpg" ||
		tallies.Dropped[0].Name != "tags" || tallies.Dropped[0].Count != 41007 || len(tallies.Proofs) != 4 || tallies.Proofs[3].Name != "size" {
		t.Errorf("tallies: %+v, %v", tallies, err)
	}
	balance, err := c.Balance(ctx, 7)
	if err != nil || !balance.OK || !balance.Holds() || balance.Kept.Planned != 250000 {
		t.Errorf("balance: %+v, %v", balance, err)
	}
	samples, err := c.Samples(ctx, 7, noon.Add(-10e9))
	if err != nil || len(samples) != 3 {
		t.Errorf("samples of the last 10 s: %d, %v", len(samples), err)
	}
	if samples, err = c.Series(ctx, 7, noon.Add(-time.Hour), 9); err != nil || len(samples) != 9 {
		t.Errorf("nine samples: %d, %v", len(samples), err)
	}
	parts, err := c.Breakdown(ctx, work.BreakdownQuery{Job: 7})
	if err != nil || !reflect.DeepEqual(parts, b.fake.parts[work.BreakdownQuery{Job: 7}]) {
		t.Errorf("parts: %+v, %v", parts, err)
	}
	found, err := c.Search(ctx, api.SearchQuery{Key: "bad\x00\xff"})
	if err != nil || len(found.Objects) != 20 || found.Objects[0].Key != "bad\x00\xff" || found.Objects[0].Job != 7 || found.Jobs != 8 || found.Next != "" {
		t.Errorf("found by its key: %+v, %v", found, err)
	}
	if found, err = c.Search(ctx, api.SearchQuery{Prefix: "eu/", Job: 7}); err != nil || len(found.Objects) != 100 || found.Jobs != 1 {
		t.Errorf("found by their beginning: %d in %d jobs, %v", len(found.Objects), found.Jobs, err)
	}
	events, err := c.JobEvents(ctx, 7, 7, 2)
	if err != nil || len(events) != 2 || events[0].What != "listed" {
		t.Errorf("events after the seventh: %+v, %v", events, err)
	}
	log, err := c.Audit(ctx, 9, 2)
	if err != nil || len(log) != 2 || log[0].ID != 8 || log[0].What != "listed" {
		t.Errorf("events before the ninth, of all jobs: %+v, %v", log, err)
	}
	agents, err := c.Agents(ctx)
	if err != nil || len(agents) != 5 || agents[0].Agent != "hub-2" {
		t.Errorf("agents: %+v, %v", agents, err)
	}
	for _, one := range []struct {
		site     string
		perAgent int64
		want     api.Autoscale
	}{
		{"hub", 0, api.Autoscale{Site: "hub", Desired: 3, PerAgent: 32, Ready: 60, Queued: 5, Bytes: 7 << 30, Oldest: 90, Agents: 2, Streams: 128, Rate: 5e6}},
		{"hub", 13, api.Autoscale{Site: "hub", Desired: 5, PerAgent: 13, Ready: 60, Queued: 5, Bytes: 7 << 30, Oldest: 90, Agents: 2, Streams: 128, Rate: 5e6}},
		{"idle", 0, api.Autoscale{Site: "idle", PerAgent: 32, Agents: 1, Streams: 64}},
		{"", 0, api.Autoscale{Site: work.DefaultSite, PerAgent: 32}},
		{"any", 0, api.Autoscale{Site: "any", PerAgent: 32, Agents: 3, Streams: 192, Rate: 5e6}},
	} {
		if got, err := c.Autoscale(ctx, one.site, one.perAgent); err != nil || got != one.want {
			t.Errorf("autoscale %q: %+v, %v; want %+v", one.site, got, err, one.want)
		}
	}
	if _, err := c.Autoscale(ctx, "no.site", 0); err == nil {
		t.Error("a site of that name can be asked for")
	}
	which := api.Retry{Fault: work.Unsupported, Prefix: "bad\x00key\xff", DryRun: true}
	checkRequest(t, "Retry", which)
	again, err := c.Retry(ctx, 7, which)
	if err != nil || again.Objects != 1 || again.Job.Failed != 37 {
		t.Errorf("would retry: %+v, %v", again, err)
	}
	if again, err = c.Retry(ctx, 2, api.Retry{DryRun: true}); err != nil || again.Objects != 0 || again.Ranges != 1 || again.Job.State != work.JobFailed {
		t.Errorf("would list again: %+v, %v", again, err)
	}
	which.DryRun = false
	again, err = c.Retry(ctx, 7, which)
	if err != nil || again.Objects != 1 || again.Job.Failed != 36 {
		t.Errorf("retried: %+v, %v", again, err)
	}
	if again, err = c.Retry(ctx, 7, api.Retry{}); err != nil || again.Objects != 36 || again.Job.Failed != 0 {
		t.Errorf("retried all: %+v, %v", again, err)
	}
}

// checkRequest reports a body that the OpenAPI file does not describe.
func checkRequest(t *testing.T, schema string, body any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if err := spec(t).Components.Schemas[schema].Value.VisitJSON(v); err != nil {
		t.Errorf("the client sends a %s that the OpenAPI file does not describe: %v\n%s", schema, err, b)
	}
}

// TestSpecJSON checks that both forms of the description say the same.
func TestSpecJSON(t *testing.T) {
	t.Parallel()
	b, err := api.SpecJSON()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.NewDecoder(io.LimitReader(bytes.NewReader(b), 1<<20)).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.0.3" || len(doc.Paths) != spec(t).Paths.Len() {
		t.Errorf("the JSON has version %q and %d paths", doc.OpenAPI, len(doc.Paths))
	}
}
