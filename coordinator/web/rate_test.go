package web

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// Whoever guesses is refused the quicker, by every way in. All come from one
// address, as behind a proxy: who is right is let in nevertheless, by every way.
func TestGuessing(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork(), func(b *bench) { b.site.guesses = newLimiters[string](1e-3, 4) })
	id, right := g.token(t, "ci", work.ScopeRead, 0)
	stranger := func() []string { return bearer(work.NewSecret(work.SecretToken)) }
	for range 2 {
		if got := g.status(t, "GET", "/v1/jobs", stranger()...); got != http.StatusUnauthorized {
			t.Errorf("a stranger is answered %d", got)
		}
		if resp, _ := g.signIn(t, url.Values{"token": {work.NewSecret(work.SecretToken)}}); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a stranger who signs in is answered %s", resp.Status)
		}
	}
	resp, _ := g.do(t, "GET", "/v1/jobs", "", stranger()...)
	for what, headers := range map[string][]string{"another's": stranger(), "misspelt": bearer("tsp_x")} {
		if p := g.problem(t, "GET", "/v1/jobs", "", headers...); p.Code != api.TooManyRequests || resp.Header.Get("Retry-After") != "1000" {
			t.Errorf("the next guess, %s: %+v, Retry-After %q", what, p, resp.Header.Get("Retry-After"))
		}
	}
	if resp, _ := g.signIn(t, url.Values{"code": {work.NewSecret(work.SecretCode)}}); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a guess at a code is answered %s", resp.Status)
	}
	if got := g.status(t, "GET", "/v1/jobs"); got != http.StatusUnauthorized {
		t.Errorf("whoever shows nothing guesses nothing, and is answered %d", got)
	}
	old := g.cookie() + "=" + work.NewSecret(work.SecretSession)
	if got := g.status(t, "GET", "/jobs/7", "Accept", "text/html", "Cookie", old); got != http.StatusSeeOther {
		t.Errorf("a person whose session is over is answered %d, not led to the sign-in", got)
	}

	if got := g.status(t, "GET", "/v1/jobs", bearer(right)...); got != http.StatusOK {
		t.Errorf("others' guesses keep out who is right: %d", got)
	}
	code := work.NewSecret(work.SecretCode)
	if err := g.access.CreateCode(t.Context(), id, work.HashSecret(code), codeLife); err != nil {
		t.Fatal(err)
	}
	for what, form := range map[string]url.Values{"a token": {"token": {right}}, "a code": {"code": {code}}} {
		resp, cookie := g.signIn(t, form)
		if cookie == nil {
			t.Errorf("others' guesses keep out who signs in with %s: %s", what, resp.Status)
		} else if got := g.status(t, "GET", "/v1/jobs", "Cookie", cookie.Name+"="+cookie.Value); got != http.StatusOK {
			t.Errorf("others' guesses keep out who signed in with %s: %d", what, got)
		}
	}
}

// However many guess, few of them ask the ledger at once, by every way in; the
// others wait for their turn, and those who are known for none.
func TestGuessesLoadTheLedger(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, known := g.token(t, "ci", work.ScopeRead, 0)
	_, late := g.token(t, "late", work.ScopeRead, 0)
	if got := g.status(t, "GET", "/v1/jobs", bearer(known)...); got != http.StatusOK {
		t.Fatalf("GET /v1/jobs: %d", got)
	}
	g.site.known.recent.forget()
	g.site.Access = busyAccess{g.access, errAsked}
	for range maxStrangers {
		g.site.turns <- struct{}{}
	}
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	request := func(path, mediaType, body string, headers ...string) error {
		r := httptest.NewRequestWithContext(given, "POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		var err error
		switch path {
		case "/login":
			err = g.site.login(httptest.NewRecorder(), r)
		case "/v1/join":
			err = g.site.join(httptest.NewRecorder(), r)
		case "/v1/renew":
			err = g.site.renew(httptest.NewRecorder(), r)
		default:
			_, err = g.site.identify(r, false)
		}
		return err
	}
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	for what, err := range map[string]error{
		"a token":            request("/v1/jobs", asJSON, "", bearer(late)...),
		"a session":          request("/v1/jobs", asJSON, "", "Cookie", "tranship="+work.NewSecret(work.SecretSession)),
		"signing in":         request("/login", form, url.Values{"token": {late}}.Encode()),
		"signing in by code": request("/login", form, url.Values{"code": {work.NewSecret(work.SecretCode)}}.Encode()),
		"joining":            request("/v1/join", asJSON, `{"token":"in","agent":"a","host":"h","key":"U"}`),
		"renewing":           request("/v1/renew", asJSON, `{"key":"U","at":"2026-01-05T12:00:00Z","signature":"eA=="}`),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s does not wait for its turn: %v", what, err)
		}
	}
	// A token that is misspelt has no reason to wait, and who is known neither.
	if err := request("/v1/jobs", asJSON, "", bearer(late[:50])...); !errors.Is(err, work.ErrNoToken) {
		t.Errorf("a misspelt token: %v", err)
	}
	g.site.Access = g.access
	if got := g.status(t, "GET", "/v1/jobs", bearer(known)...); got != http.StatusOK {
		t.Errorf("a known caller waits for strangers: %d", got)
	}
	<-g.site.turns
	if got := g.status(t, "GET", "/v1/jobs", bearer(late)...); got != http.StatusOK {
		t.Errorf("when it is its turn a token is answered %d", got)
	}
}

// errAsked is what a ledger answers that should not be asked.
var errAsked = errors.New("the ledger was asked")

// A busyAccess is a ledger that answers with an error who asks of a secret.
type busyAccess struct {
	Access
	err error
}

func (b busyAccess) Authenticate(context.Context, []byte) (work.Caller, error) {
	return work.Caller{}, b.err
}

func (b busyAccess) Session(context.Context, []byte) (work.Caller, error) {
	return work.Caller{}, b.err
}

func (b busyAccess) RedeemCode(context.Context, []byte, []byte, time.Duration) (work.Caller, error) {
	return work.Caller{}, b.err
}

// One sign-in link too many is refused with what to do, and is no failure of the
// server.
func TestTooManyCodes(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, secret := g.token(t, "ci", work.ScopeRead, 0)
	c := api.NewClient(g.base, g.http, secret)
	for range work.MaxCodes {
		if _, err := c.SignIn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.SignIn(t.Context())
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.TooMany || p.Status != http.StatusConflict || !strings.Contains(p.Hint, "expire") {
		t.Errorf("one link too many: %+v", err)
	}
}

func TestRequestRate(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork(), func(b *bench) {
		b.site.rates = newLimiters[work.TokenID](1e-3, 3)
		b.site.places.most = 1
	})
	_, one := g.token(t, "one", work.ScopeRead, 0)
	_, other := g.token(t, "other", work.ScopeRead, 0)
	for i, want := range []int{200, 200, 200, 429} {
		if got := g.status(t, "GET", "/v1/jobs", bearer(one)...); got != want {
			t.Errorf("request %d is answered %d, want %d", i+1, got, want)
		}
	}
	if got := g.status(t, "GET", "/v1/jobs", bearer(other)...); got != http.StatusOK {
		t.Errorf("another's requests are counted: %d", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.base+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+other)
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if p := g.problem(t, "GET", "/v1/events", "", bearer(other)...); p.Code != api.TooManyStreams {
		t.Errorf("one stream too many of a token: %+v", p)
	}
}

// However many ask, what is remembered of them stays small.
func TestLimitersAreBounded(t *testing.T) {
	t.Parallel()
	l := newLimiters[int](1, 1)
	for i := range 5 * maxLimiters {
		if err := l.take(i); err != nil {
			t.Fatal(err)
		}
		if len(l.of) > maxLimiters {
			t.Fatalf("%d limiters are held", len(l.of))
		}
	}
	k := newKnown()
	for i := range 3 * maxRemembered {
		k.admit(credential{hash: fmt.Append(nil, i)}, work.Caller{})
		if len(k.was) > maxRemembered {
			t.Fatalf("%d callers are remembered", len(k.was))
		}
	}
	for a, want := range map[string]string{"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3::4": "2001:db8:1:2::", "::ffff:192.0.2.7": "::ffff:192.0.2.7", "@": "@"} {
		if got := block(a); got != want {
			t.Errorf("block(%q) = %q, want %q", a, got, want)
		}
	}
}

// A secret is where it was shown and nowhere else: not in the log, on a page, in
// the audit log or in the database.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	address := ledgertest.URL(t)
	l, err := ledger.Open(t.Context(), address, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &guarded{&bench{}, l}
	g.start(t, l, l, func(b *bench) { b.site.Access, b.site.Open = l, false })
	_, admin := g.token(t, "ada", work.ScopeAdmin, 0)
	c := api.NewClient(g.base, g.http, admin)
	made, err := c.CreateToken(t.Context(), api.NewToken{Name: "ci", Scope: work.ScopeOperate})
	if err != nil {
		t.Fatal(err)
	}
	link, err := c.SignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(link.URL, "code=")
	g.do(t, "GET", strings.TrimPrefix(link.URL, g.base), "", "Accept", "text/html")
	_, cookie := g.signIn(t, url.Values{"code": {code}})
	if cookie == nil {
		t.Fatal("not signed in")
	}
	g.signIn(t, url.Values{"token": {made.Secret + "x"}})
	seen := g.log.String()
	for _, path := range []string{"/", "/jobs", "/agents", "/v1/tokens", "/v1/agents", "/metrics", "/nothing", "/problems"} {
		resp, text := g.do(t, "GET", path, "", "Cookie", cookie.Name+"="+cookie.Value, "Accept", "text/html")
		seen += text + fmt.Sprint(resp.Header)
	}
	seen += g.log.String() + dump(t, address)
	for what, secret := range map[string]string{"an admin's token": admin, "a new token": made.Secret, "a code": code, "a cookie": cookie.Value} {
		for _, part := range []string{secret, secret[4:40], fmt.Sprintf("%x", secret)} {
			if strings.Contains(seen, part) {
				t.Errorf("%s shows", what)
			}
		}
	}
	if !strings.Contains(seen, "token created") || !strings.Contains(seen, "signed in") {
		t.Error("nothing was looked at")
	}
}

// dump returns all that the tables about access hold.
func dump(t *testing.T, address string) string {
	t.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all strings.Builder
	for _, table := range []string{"tokens", "sessions", "events"} {
		var text string
		query := fmt.Sprintf("SELECT coalesce(string_agg(x::text, E'\\n'), '') FROM tranship.%s x", table)
		if err := db.QueryRowContext(t.Context(), query).Scan(&text); err != nil {
			t.Fatal(err)
		}
		all.WriteString(text)
	}
	return all.String()
}
