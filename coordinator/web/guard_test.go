package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// TestProblems provokes each code that no other test does.
func TestProblems(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	tests := []struct {
		name, method, path string
		headers            []string
		code               api.Code
		detail             string // part of the answer's text
	}{
		{"no job", "GET", "/v1/jobs/99", nil, api.NoJob, ""},
		{"no number", "GET", "/v1/jobs/seven", nil, api.NoJob, ""},
		{"no job to list", "GET", "/v1/jobs/99/failures", nil, api.NoJob, ""},
		{"no job to pause", "POST", "/v1/jobs/99/pause", nil, api.NoJob, ""},
		{"no job to retry", "POST", "/v1/jobs/99/retry", nil, api.NoJob, ""},
		{"no job to follow", "GET", "/v1/events?job=99", nil, api.NoJob, ""},
		{"ended job", "POST", "/v1/jobs/1/pause", nil, api.JobState, "job 1 is succeeded and cannot be paused"},
		{"canceled job", "POST", "/v1/jobs/3/retry", nil, api.JobState, "job 3 is canceled and cannot be retried"},
		{"cursor", "GET", "/v1/jobs?cursor=mine", nil, api.BadCursor, ""},
		{"state", "GET", "/v1/jobs?state=busy", nil, api.Invalid, "state: must be one of running"},
		{"unknown parameter", "GET", "/v1/jobs?stat=running", nil, api.Invalid, "stat: unknown parameter"},
		{"parameter twice", "GET", "/v1/jobs?state=running&state=paused", nil, api.Invalid, "given 2 times"},
		{"limit", "GET", "/v1/jobs?limit=1001", nil, api.Invalid, "limit: must be a number from 1 to 1000"},
		{"fault", "GET", "/v1/jobs/7/failures?fault=sad", nil, api.Invalid, "fault: must be one of"},
		{"outcome", "GET", "/v1/jobs/7/objects?outcome=retry", nil, api.Invalid, "outcome: must be one of"},
		{"since", "GET", "/v1/jobs/7/samples?since=monday", nil, api.Invalid, "since: must be a time"},
		{"after", "GET", "/v1/jobs/7/events?after=-1", nil, api.Invalid, "after: must be a number"},
		{"query", "GET", "/v1/jobs?state=%zz", nil, api.Invalid, "cannot be read"},
		{"last event", "GET", "/v1/events", []string{"Last-Event-ID", "x"}, api.Invalid, "Last-Event-ID"},
		{"who", "POST", "/v1/jobs/7/pause", []string{"Tranship-User", strings.Repeat("x", 101)}, api.Invalid, "Tranship-User"},
		{"nothing", "GET", "/v1/nothing", nil, api.NotFound, ""},
		{"nothing for a machine", "GET", "/nothing", nil, api.NotFound, ""},
		{"method", "DELETE", "/v1/jobs/7", nil, api.NotAllowed, ""},
		{"cross-site fetch", "POST", "/v1/jobs/7/cancel", []string{"Sec-Fetch-Site", "cross-site"}, api.CrossOrigin, ""},
		{"other origin", "POST", "/jobs/7/cancel", []string{"Origin", "http://evil.example"}, api.CrossOrigin, ""},
		{"null origin", "POST", "/jobs/7/cancel", []string{"Origin", "null"}, api.CrossOrigin, ""},
		{"rebound name", "GET", "/v1/jobs", []string{"Host", "evil.example:8480"}, api.WrongHost, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := b.problem(t, tt.method, tt.path, "", tt.headers...)
			if p.Code != tt.code || !strings.Contains(p.Error(), tt.detail) {
				t.Errorf("%s %s: %s: %v, want %s with %q", tt.method, tt.path, p.Code, p, tt.code, tt.detail)
			}
		})
	}
	if resp, _ := b.do(t, "DELETE", "/v1/jobs", ""); resp.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow = %q", resp.Header.Get("Allow"))
	}
	if j, err := b.fake.Job(t.Context(), 7); err != nil || j.State != work.Running {
		t.Errorf("a refused request changed the job: %+v, %v", j, err)
	}
}

func TestRetryRefuses(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	for body, pointer := range map[string]string{`{"fault":"sad"}`: "/fault", `{"faults":"denied"}`: "/faults"} {
		p := b.problem(t, "POST", "/v1/jobs/7/retry", body, "Content-Type", jsonType)
		if p.Code != api.Invalid || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if j, err := b.fake.Job(t.Context(), 7); err != nil || j.Failed != 37 {
		t.Errorf("a refused retry retried: %+v, %v", j, err)
	}
}

// TestAllowed makes requests that a check must not refuse.
func TestAllowed(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	_, port, err := net.SplitHostPort(strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost:" + port, "LOCALHOST", "127.0.0.1", "[::1]:" + port, "10.0.0.7:8480", "tranship.localhost"} {
		if resp, text := b.do(t, "GET", "/v1/jobs", "", "Host", host); resp.StatusCode != http.StatusOK {
			t.Errorf("host %q: %s %s", host, resp.Status, text)
		}
	}
	resp, text := b.do(t, "POST", "/jobs/7/pause", "", "Origin", b.base, "Sec-Fetch-Site", "same-origin")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/jobs/7" {
		t.Errorf("the page's own form: %s %s", resp.Status, text)
	}
	if resp, _ := b.do(t, "HEAD", "/v1/events", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("HEAD of the stream: %s", resp.Status)
	}
	if resp, _ := b.do(t, "GET", "/v1/jobs", "", api.HeaderRequestID, "from-the-proxy"); resp.Header.Get(api.HeaderRequestID) != "from-the-proxy" {
		t.Error("a proxy's request id was not taken over")
	}
	if resp, _ := b.do(t, "GET", "/v1/jobs", "", api.HeaderRequestID, "line\tbreak"); resp.Header.Get(api.HeaderRequestID) == "line\tbreak" {
		t.Error("a request id that is none was taken over")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	for _, path := range []string{"/", "/jobs/7", "/v1/jobs", "/v1/nothing", "/assets/style.css"} {
		resp, text := b.do(t, "GET", path, "", "Accept", "text/html")
		h := resp.Header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "same-origin" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" {
			t.Errorf("%s: headers %v", path, h)
		}
		if strings.Contains(text, "style=") || strings.Contains(text, "<style") || strings.Contains(text, "onclick") || strings.Contains(text, "<script>") {
			t.Errorf("%s has what its policy forbids", path)
		}
	}
	url, err := assetURL("live.js")
	if err != nil {
		t.Fatal(err)
	}
	resp, _ := b.do(t, "GET", url, "")
	if !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("an asset's headers: %v", resp.Header)
	}
	if resp, _ := b.do(t, "GET", "/assets/live.js?v=old", ""); strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
		t.Error("an old address would keep the new file for ever")
	}
}

// TestErrorsSayNothing checks that what went wrong inside reaches the log, with
// the request's id, and no client.
func TestErrorsSayNothing(t *testing.T) {
	t.Parallel()
	f := atWork()
	f.broken = errDown
	b := serve(t, f)
	p := b.problem(t, "GET", "/v1/jobs", "")
	_, page := b.do(t, "GET", "/", "", "Accept", "text/html")
	if p.Code != api.Internal || p.Status != http.StatusInternalServerError || strings.Contains(fmt.Sprintf("%+v", p)+page, "SELECT") {
		t.Errorf("an internal error is told as %+v and\n%s", p, page)
	}
	if log := b.log.String(); !strings.Contains(log, "SELECT") || !strings.Contains(log, p.RequestID) {
		t.Errorf("the log does not say what happened:\n%s", log)
	}
	if !strings.Contains(page, "Something went wrong inside the server") {
		t.Errorf("the page says:\n%s", page)
	}
}

// A request that finds the ledger away is told so, and why, without what only
// the log may know.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.broken = context.DeadlineExceeded
	b := serve(t, f)
	for _, request := range [][3]string{
		{"GET", "/v1/jobs", ""}, {"GET", "/v1/jobs/1", ""}, {"POST", "/v1/jobs", `{"source":"mem://a","target":"mem://b"}`},
		{"POST", "/v1/jobs/1/pause", ""}, {"POST", "/v1/jobs/1/retry", "{}"}, {"GET", "/v1/agents", ""}, {"GET", "/v1/events?job=1", ""},
	} {
		resp, text := b.do(t, request[0], request[1], request[2], "Content-Type", "application/json")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" ||
			!strings.Contains(text, `"code":"unavailable"`) || !strings.Contains(text, "Postgres is away") || !strings.Contains(text, `"hint":`) {
			t.Errorf("%s %s: %s, Retry-After %q: %s", request[0], request[1], resp.Status, resp.Header.Get("Retry-After"), text)
		}
	}
	if _, page := b.do(t, "GET", "/", "", "Accept", "text/html"); !strings.Contains(page, "Postgres is away") {
		t.Errorf("the page does not say why:\n%s", page)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) {
		b.site.mux.HandleFunc("GET /v1/panic", func(http.ResponseWriter, *http.Request) { panic("secret") })
		b.site.mux.HandleFunc("GET /v1/late", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			panic("secret")
		})
	})
	if p := b.problem(t, "GET", "/v1/panic", ""); p.Code != api.Internal || strings.Contains(fmt.Sprintf("%+v", p), "secret") {
		t.Errorf("a panic is told as %+v", p)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", b.base+"/v1/late", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := b.http.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("half an answer looks whole: %s", resp.Status)
	}
	if resp, _ := b.do(t, "GET", "/v1/jobs", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("after a panic: %s", resp.Status)
	}
	if log := b.log.String(); strings.Count(log, "request panicked") < 2 || !strings.Contains(log, "guard_test.go") {
		t.Errorf("the log does not say where it panicked:\n%s", log)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) {
		b.site.Ready = func(context.Context) map[string]error {
			disk := &Trouble{Of: "The queue", Why: "has no space left", Err: errors.New("10.0.0.9: ENOSPC")}
			return map[string]error{"postgres": fmt.Errorf("dial 10.0.0.9: refused"), "nats": disk, "agents": nil}
		}
	})
	resp, text := b.do(t, "GET", "/readyz", "")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, `"postgres":"failing"`) || strings.Contains(text, "10.0.0.9") {
		t.Errorf("%s %s", resp.Status, text)
	}
	r, err := b.client.Ready(t.Context())
	if err != nil || r.Ready || r.Checks["agents"] != "ok" || r.Reasons["nats"] != "has no space left" || r.Reasons["agents"] != "" {
		t.Errorf("the client reads %+v, %v", r, err)
	}
	if _, page := b.do(t, "GET", "/", "", "Accept", "text/html"); !strings.Contains(page, "postgres does not answer") || !strings.Contains(page, "nats has no space left") {
		t.Error("the overview does not say what is wrong")
	}
}

// TestLargeHeader checks the limits of a connection that Server sets.
func TestLargeHeader(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 60<<10))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 60 KiB: %s", resp.Status)
	}
	s := b.server
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 {
		t.Error("a connection has no limit in time")
	}
}
