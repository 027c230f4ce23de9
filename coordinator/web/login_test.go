package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, secret := g.token(t, "ada", work.ScopeOperate, 0)
	if _, page := g.do(t, "GET", "/login?next=%2Fjobs%2F7", "", "Accept", "text/html"); !strings.Contains(page, `name="token" type="password"`) ||
		!strings.Contains(page, `value="/jobs/7"`) || strings.Contains(page, "Sign out") {
		t.Errorf("the sign-in page:\n%s", page)
	}
	resp, cookie := g.signIn(t, url.Values{"token": {" " + secret + "\n"}, "next": {"/jobs/7"}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/jobs/7" || cookie == nil {
		t.Fatalf("signing in: %s to %q, %v", resp.Status, resp.Header.Get("Location"), cookie)
	}
	if cookie.Name != g.cookie() || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" ||
		cookie.Domain != "" || cookie.MaxAge != 12*3600 || cookie.Secure {
		t.Errorf("the cookie is %s", cookie)
	}
	mine := []string{"Cookie", cookie.Name + "=" + cookie.Value, "Accept", "text/html"}
	if _, page := g.do(t, "GET", "/jobs/7", "", mine...); !strings.Contains(page, "<span>ada</span> <button id=\"do-signout\">") {
		t.Errorf("the page does not say who is signed in:\n%s", page)
	}
	if resp, _ := g.do(t, "POST", "/jobs/7/pause", "", mine...); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/jobs/7" {
		t.Errorf("a button: %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	if events, err := g.fake.Events(t.Context(), 7, 0, 100); err != nil || events[len(events)-1].Who != "ada" {
		t.Errorf("the audit log says %+v, %v", events, err)
	}
	resp, _ = g.do(t, "POST", "/logout", "", mine...)
	if cleared := resp.Cookies(); resp.Header.Get("Location") != "/login" || len(cleared) != 1 || cleared[0].MaxAge >= 0 || cleared[0].Value != "" {
		t.Errorf("signing out: %s, %v", resp.Status, resp.Cookies())
	}
	if resp, _ := g.do(t, "GET", "/jobs/7", "", mine...); resp.Header.Get("Location") == "" {
		t.Errorf("the cookie still lets in after signing out: %s", resp.Status)
	}
}

// What lets nobody in is said to, without a word about which it was, and never
// shown again; and a cookie that the browser had before is not taken over.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork(), func(b *bench) { b.site.guesses = newLimiters[string](1e6, 1e6) })
	_, secret := g.token(t, "ada", work.ScopeOperate, 0)
	_, expired := g.token(t, "old", work.ScopeOperate, time.Nanosecond)
	planted := work.NewSecret(work.SecretSession)
	for name, form := range map[string]url.Values{
		"nothing": {}, "a stranger's": {"token": {work.NewSecret(work.SecretToken)}}, "cut": {"token": {secret[1:]}},
		"expired": {"token": {expired}}, "a used code": {"code": {work.NewSecret(work.SecretCode)}}, "a token as a code": {"code": {secret}},
	} {
		resp, page := g.do(t, "POST", "/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
		if resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) != 0 || !strings.Contains(page, `role="alert"`) ||
			strings.Contains(page, "tsp_") || strings.Contains(page, "tsc_") {
			t.Errorf("%s: %s, %v\n%s", name, resp.Status, resp.Cookies(), page)
		}
	}
	_, cookie := g.signIn(t, url.Values{"token": {secret}}, "Cookie", g.cookie()+"="+planted)
	if cookie == nil || cookie.Value == planted {
		t.Fatalf("the planted session became %v", cookie)
	}
	if got := g.status(t, "GET", "/v1/jobs", "Cookie", g.cookie()+"="+planted); got != http.StatusUnauthorized {
		t.Errorf("a planted session is answered %d", got)
	}
}

// A link that signs in is used up by the button, not by a look at it.
func TestSignInLink(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork())
	_, secret := g.token(t, "ada", work.ScopeRead, 0)
	link, err := api.NewClient(g.base, g.http, secret).SignIn(t.Context())
	if err != nil || !strings.HasPrefix(link.URL, g.base+"/login?code=tsc_") || link.ExpiresAt != noon.Add(10*time.Minute) {
		t.Fatalf("the link is %+v, %v", link, err)
	}
	path := strings.TrimPrefix(link.URL, g.base)
	code := strings.TrimPrefix(path, "/login?code=")
	for range 3 {
		if _, page := g.do(t, "GET", path, "", "Accept", "text/html"); !strings.Contains(page, code) || strings.Contains(page, `name="token"`) {
			t.Errorf("the link shows:\n%s", page)
		}
	}
	resp, cookie := g.signIn(t, url.Values{"code": {code}})
	if resp.Header.Get("Location") != "/" || cookie == nil {
		t.Fatalf("the link's button: %s, %v", resp.Status, cookie)
	}
	if got := g.status(t, "GET", "/v1/jobs", "Cookie", cookie.Name+"="+cookie.Value); got != http.StatusOK {
		t.Errorf("the session of a link is answered %d", got)
	}
	if resp, again := g.signIn(t, url.Values{"code": {code}}); resp.StatusCode != http.StatusUnauthorized || again != nil {
		t.Errorf("the link again: %s, %v", resp.Status, again)
	}
}

// Behind TLS, or a proxy with TLS at the site's URL, the cookie and the headers
// are those for it, and only the site's own names are answered.
func TestSiteWithTLS(t *testing.T) {
	t.Parallel()
	g := guard(t, atWork(), func(b *bench) {
		b.site.URL, b.site.Hosts = "https://tranship.example.org", []string{"tranship.example.org"}
	})
	_, secret := g.token(t, "ada", work.ScopeRead, 0)
	resp, cookie := g.signIn(t, url.Values{"token": {secret}}, "Host", "tranship.example.org")
	if cookie == nil || cookie.Name != "__Host-tranship" || !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" ||
		cookie.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %v", cookie)
	}
	if hsts := resp.Header.Get("Strict-Transport-Security"); hsts != "max-age=31536000" {
		t.Errorf("Strict-Transport-Security: %q", hsts)
	}
	if resp, _ := g.do(t, "GET", "/healthz", ""); resp.Header.Get("Strict-Transport-Security") != "" {
		t.Error("every port of this machine is told to use TLS")
	}
	if resp, page := g.do(t, "GET", "/login", "", "Host", "tranship.example.org", "Accept", "text/html"); !strings.Contains(page, "TRANSHIP_SERVER=https://tranship.example.org") {
		t.Errorf("the page names another address: %s\n%s", resp.Status, page)
	}
	if p := g.problem(t, "GET", "/v1/jobs", "", "Host", "evil.example"); p.Code != api.WrongHost {
		t.Errorf("a rebound name: %+v", p)
	}
	open := serve(t, atWork(), func(b *bench) { b.site.Hosts = []string{"tranship.example.org"} })
	if p := open.problem(t, "GET", "/v1/jobs", "", "Host", "tranship.example.org"); p.Code != api.WrongHost {
		t.Errorf("a name of a site that is open to this machine: %+v", p)
	}
}

func TestOwnPath(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/jobs/7?x=%2F": "/jobs/7?x=%2F", "/": "/", "": "/", "jobs": "/", "//evil.example": "/", "/\\evil.example": "/", "/\t/evil.example": "/",
		"https://evil.example/": "/", "javascript:alert(1)": "/", "/jobs\r\nSet-Cookie: a=b": "/", "/login?next=/": "/", "/logout": "/", "///evil.example": "/",
		"/%zz": "/", "\\\\evil.example": "/",
	} {
		if got := ownPath(next); got != want {
			t.Errorf("ownPath(%q) = %q, want %q", next, got, want)
		}
	}
}

// The form of another site's page comes with no right to anything, in a real
// browser that is signed in.
func TestForgedForm(t *testing.T) {
	browser := chromium(t)
	g := guard(t, atWork())
	_, secret := g.token(t, "ada", work.ScopeOperate, 0)
	arrived := make(chan struct{}, 1)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!DOCTYPE html><form method="post" action="` + g.base + r.URL.Query().Get("to") + `"><button id="go">Win</button></form>`))
		select {
		case arrived <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(evil.Close)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, browserTimeout)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx, base: g.base}
	tb.visit("/login?next=%2Fjobs%2F7")
	tb.do(chromedp.SendKeys(chromedp.CSS("#token"), secret), chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS("#do-pause")))
	tb.shows(".who", "ada", "Sign out")
	for _, to := range []string{"/jobs/7/cancel", "/logout", "/login"} {
		for _, from := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} { // of the same site, and of another
			tb.do(chromedp.Navigate(from+"/?to="+to), chromedp.WaitReady(chromedp.CSS("#go")))
			<-arrived
			tb.do(chromedp.Click(chromedp.CSS("#go")), chromedp.WaitReady(chromedp.CSS(".problem")))
			tb.shows(".problem", "403", "another origin")
		}
	}
	if j, err := g.fake.Job(t.Context(), 7); err != nil || j.State != work.Running {
		t.Errorf("a forged form changed the job: %+v, %v", j, err)
	}
	tb.visit("/jobs/7")
	tb.do(chromedp.Click(chromedp.CSS("#do-signout")), chromedp.WaitVisible(chromedp.CSS("#token")))
	tb.fits()
	if nameless := get(tb, chromedp.Evaluate[[]string](unnamed)); len(nameless) > 0 {
		t.Errorf("without a name: %q", nameless)
	}
	if poor := get(tb, chromedp.Evaluate[[]string](contrast)); len(poor) > 0 {
		t.Errorf("hard to read: %q", poor)
	}
	tb.shoot("login")
}
