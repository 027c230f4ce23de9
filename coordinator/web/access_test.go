package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// A guarded bench asks for tokens, which a real ledger keeps.
type guarded struct {
	*bench
	access *ledger.Ledger
}

func guard(t *testing.T, f *fake, tune ...func(*bench)) *guarded {
	t.Helper()
	return guardWith(t, f, ledgertest.New(t), tune...)
}

// guardWith starts one more coordinator's site on the ledger's tokens.
func guardWith(t *testing.T, f *fake, l *ledger.Ledger, tune ...func(*bench)) *guarded {
	t.Helper()
	ask := func(b *bench) { b.site.Access, b.site.Open = l, false }
	return &guarded{serve(t, f, append([]func(*bench){ask}, tune...)...), l}
}

// token makes a token and returns its id and secret.
func (g *guarded) token(t *testing.T, name string, scope work.Scope, life time.Duration) (work.TokenID, string) {
	t.Helper()
	secret := work.NewSecret(work.SecretToken)
	made, err := g.access.CreateToken(t.Context(), work.Token{Name: name, Scope: scope}, work.HashSecret(secret), life)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, secret
}

func bearer(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// status makes a request without a body and returns how it was answered; of the
// answer, which may be a live stream, nothing is read.
func (g *guarded) status(t *testing.T, method, path string, headers ...string) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// signIn signs in by the page's form and returns the cookie.
func (g *guarded) signIn(t *testing.T, form url.Values, headers ...string) (*http.Response, *http.Cookie) {
	t.Helper()
	headers = append(headers, "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
	resp, _ := g.do(t, "POST", "/login", form.Encode(), headers...)
	if cookies := resp.Cookies(); len(cookies) == 1 {
		return resp, cookies[0]
	}
	return resp, nil
}

// TestEveryRouteAsks walks all routes with everything that somebody might show.
func TestEveryRouteAsks(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork(), func(b *bench) {
		b.site.guesses = newLimiters[string](1e6, 1e6)
		b.site.rates = newLimiters[work.TokenID](1e6, 1e6)
	})
	_, expired := g.token(t, "expired", work.ScopeAdmin, time.Nanosecond)
	gone, revoked := g.token(t, "revoked", work.ScopeAdmin, 0)
	if _, err := g.access.RevokeToken(t.Context(), gone, ""); err != nil {
		t.Fatal(err)
	}
	session := work.NewSecret(work.SecretSession)
	shown := map[string][]string{
		"nothing": nil, "another's": bearer(work.NewSecret(work.SecretToken)), "misspelt": bearer("tsp_x"),
		"a session as a token": bearer(session), "a proxy's": {"Authorization", "Basic YTpi"},
		"a cookie of nobody": {"Cookie", g.cookie() + "=" + work.NewSecret(work.SecretSession)},
		"expired":            bearer(expired), "revoked": bearer(revoked),
	}
	may := map[string]work.Scope{"a cookie": work.ScopeRead}
	for _, scope := range work.Scopes() {
		id, secret := g.token(t, string(scope)+"er", scope, time.Hour)
		shown[string(scope)], may[string(scope)] = bearer(secret), scope
		if scope == work.ScopeRead {
			shown["a cookie"] = []string{"Cookie", g.cookie() + "=" + session}
			if err := g.access.OpenSession(t.Context(), id, work.HashSecret(session), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, rt := range g.site.routes() {
		path := strings.NewReplacer("{id}", "7", "{$}", "", "{name}", "live.js").Replace(rt.pattern)
		free := g.status(t, rt.method, path)
		for name, headers := range shown {
			got := g.status(t, rt.method, path, headers...)
			switch scope, let := may[name]; {
			case rt.need == everybody:
				if got != free {
					t.Errorf("%s %s with %s: %d, want %d as for everybody", rt.method, path, name, got, free)
				}
			case !let:
				if got != http.StatusUnauthorized {
					t.Errorf("%s %s with %s: %d, want 401", rt.method, path, name, got)
				}
			case !scope.Allows(rt.need):
				if got != http.StatusForbidden {
					t.Errorf("%s %s with %s: %d, want 403", rt.method, path, name, got)
				}
			case got == http.StatusUnauthorized || got == http.StatusForbidden:
				t.Errorf("%s %s with %s: %d, want it to be let in", rt.method, path, name, got)
			}
		}
	}
}

// cookie returns what the bench's sessions are called.
func (g *guarded) cookie() string { return "tranship-" + g.base[strings.LastIndex(g.base, ":")+1:] }

// Without anybody to ask for, a route is open only if the table says so: these
// are all.
func TestWhatIsOpen(t *testing.T) {
	t.Parallel()
	want := []string{"GET /assets/{name}", "GET /healthz", "GET /login", "GET /openapi.json", "GET /openapi.yaml", "GET /problems",
		"GET /readyz", "GET /version", "POST /login", "POST /logout", "POST /v1/join", "POST /v1/renew"}
	var got []string
	for _, rt := range newSite(Deps{Ledger: newFake(), Commander: newFake()}).routes() {
		if rt.need == everybody {
			got = append(got, rt.method+" "+rt.pattern)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("open to everybody: %q, want %q", got, want)
	}
}

// What turns a caller away says what to do, in the form that the caller reads.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, reader := g.token(t, "grafana", work.ScopeRead, 0)
	p := g.problem(t, "GET", "/v1/jobs", "")
	resp, _ := g.do(t, "GET", "/v1/jobs", "")
	if p.Code != api.Unauthenticated || resp.Header.Get("WWW-Authenticate") != `Bearer realm="tranship"` || !strings.Contains(p.Hint, "TRANSHIP_TOKEN") {
		t.Errorf("without a token: %+v, %v", p, resp.Header)
	}
	p = g.problem(t, "POST", "/v1/jobs/7/cancel", "", bearer(reader)...)
	if p.Code != api.Forbidden || !strings.Contains(p.Detail, "operate; grafana may read") {
		t.Errorf("with too small a scope: %+v", p)
	}
	for _, tt := range []struct{ method, path, to string }{
		{"GET", "/jobs/7/failures?fault=denied", "/login?next=%2Fjobs%2F7%2Ffailures%3Ffault%3Ddenied"},
		{"GET", "/", "/login"}, {"POST", "/jobs/7/cancel", "/login"},
	} {
		resp, _ := g.do(t, tt.method, tt.path, "", "Accept", "text/html")
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != tt.to {
			t.Errorf("%s %s: %s to %q, want %q", tt.method, tt.path, resp.Status, resp.Header.Get("Location"), tt.to)
		}
	}
	if j, err := g.fake.Job(t.Context(), 7); err != nil || j.State != work.Running {
		t.Errorf("whoever was turned away changed the job: %+v, %v", j, err)
	}
}

// The audit log names the token, whatever the request says of itself.
func TestTokenNamesTheCaller(t *testing.T) {
	t.Parallel()
	l := ledgertest.New(t)
	g := &guarded{&bench{}, l}
	g.start(t, l, l, func(b *bench) { b.site.Access, b.site.Open = l, false })
	_, secret := g.token(t, "ci", work.ScopeOperate, 0)
	c := api.NewClient(g.base, g.http, secret)
	c.Who = "root"
	job, _, err := c.CreateJob(t.Context(), api.NewJob{Source: "mem://a", Target: "mem://b"}, "")
	if err != nil || job.SubmittedBy != "ci" {
		t.Fatalf("submitted by %q, %v", job.SubmittedBy, err)
	}
	events, err := c.JobEvents(t.Context(), job.ID, 0, 10)
	if err != nil || len(events) != 1 || events[0].Who != "ci" || events[0].From != "127.0.0.1" {
		t.Errorf("the audit log says %+v, %v", events, err)
	}
}

// Two coordinators let a token in, by many requests at once; one revokes it.
// Soon neither does, also where a live stream was open, and never again.
func TestRevokeRace(t *testing.T) {
	t.Parallel()
	one := guard(t, atWork())
	two := guardWith(t, atWork(), one.access)
	id, secret := one.token(t, "ci", work.ScopeRead, 0)
	_, admin := one.token(t, "ada", work.ScopeAdmin, 0)
	ended := make(chan error, 1)
	req, err := http.NewRequestWithContext(t.Context(), "GET", two.base+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	resp, err := two.http.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("follow the events: %v, %v", resp, err)
	}
	defer resp.Body.Close()
	go func() {
		b := make([]byte, 1024)
		var err error
		for err == nil {
			_, err = resp.Body.Read(b)
		}
		ended <- err
	}()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var wg sync.WaitGroup
	for _, g := range []*guarded{one, two, one, two} {
		wg.Go(func() {
			for got := http.StatusOK; got == http.StatusOK; got = g.status(t, "GET", "/v1/jobs", bearer(secret)...) {
				if ctx.Err() != nil {
					t.Error("the token still lets in")
					return
				}
				time.Sleep(50 * time.Millisecond) // slower than callers may be
			}
			if got := g.status(t, "GET", "/v1/jobs", bearer(secret)...); got == http.StatusOK {
				t.Error("the token lets in again")
			}
		})
	}
	revoked := make(chan struct{})
	go func() {
		defer close(revoked)
		if got := one.status(t, "GET", "/v1/jobs", bearer(secret)...); got != http.StatusOK {
			t.Errorf("before it is revoked the token is answered %d", got)
		}
		path := fmt.Sprintf("/v1/tokens/%d/revoke", id)
		if got := one.status(t, "POST", path, bearer(admin)...); got != http.StatusOK {
			t.Errorf("revoke: %d", got)
		}
		// Here it is over at once.
		if got := one.status(t, "GET", "/v1/jobs", bearer(secret)...); got != http.StatusUnauthorized {
			t.Errorf("where it was revoked the token is answered %d", got)
		}
	}()
	<-revoked
	wg.Wait()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("a live stream outlives its token")
	}
}

// While the ledger is away nobody can tell whether a token still counts: one that
// was let in lately changes nothing then and has no agent touch a store, and one
// that was revoked here, or whose session ended, does not even look.
func TestRevokedWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, secret := g.token(t, "ada", work.ScopeAdmin, 0)
	gone, revoked := g.token(t, "ci", work.ScopeAdmin, 0)
	session := work.NewSecret(work.SecretSession)
	if err := g.access.OpenSession(t.Context(), gone, work.HashSecret(session), time.Hour); err != nil {
		t.Fatal(err)
	}
	cookie := []string{"Cookie", g.cookie() + "=" + session}
	for _, shown := range [][]string{bearer(secret), bearer(revoked), cookie} {
		if got := g.status(t, "GET", "/metrics", shown...); got != http.StatusOK {
			t.Fatalf("GET /metrics: %d", got)
		}
	}
	if got := g.status(t, "POST", fmt.Sprintf("/v1/tokens/%d/revoke", gone), bearer(secret)...); got != http.StatusOK {
		t.Fatalf("revoke: %d", got)
	}
	g.site.Access = busyAccess{g.access, context.DeadlineExceeded}
	g.site.known.recent.forget()
	for _, shown := range [][]string{bearer(revoked), cookie} {
		if got := g.status(t, "GET", "/metrics", shown...); got != http.StatusServiceUnavailable {
			t.Errorf("what was revoked here is answered %d", got)
		}
	}
	if got := g.status(t, "GET", "/metrics", bearer(secret)...); got != http.StatusOK {
		t.Errorf("another token may look no more: %d", got)
	}
	for _, rt := range g.site.routes() {
		if rt.need == everybody || rt.need == work.ScopeRead {
			continue
		}
		path := strings.NewReplacer("{id}", "7").Replace(rt.pattern)
		if got := g.status(t, rt.method, path, bearer(secret)...); got != http.StatusServiceUnavailable {
			t.Errorf("%s %s while the ledger is away: %d", rt.method, path, got)
		}
	}
}

// While the ledger is away, whoever was let in lately may look at the metrics,
// which is when they are needed; nobody else, and nothing else.
func TestMetricsWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, known := g.token(t, "prometheus", work.ScopeRead, 0)
	_, unknown := g.token(t, "grafana", work.ScopeRead, 0)
	if got := g.status(t, "GET", "/metrics", bearer(known)...); got != http.StatusOK {
		t.Fatalf("GET /metrics: %d", got)
	}
	g.site.Access = busyAccess{g.access, context.DeadlineExceeded}
	g.site.known.recent.forget()
	for _, tt := range []struct {
		path, secret string
		want         int
	}{
		{"/metrics", known, http.StatusOK}, {"/metrics", unknown, http.StatusServiceUnavailable},
		{"/v1/jobs", known, http.StatusServiceUnavailable}, {"/metrics", work.NewSecret(work.SecretToken), http.StatusServiceUnavailable},
	} {
		if got := g.status(t, "GET", tt.path, bearer(tt.secret)...); got != tt.want {
			t.Errorf("GET %s: %d, want %d", tt.path, got, tt.want)
		}
	}
}
