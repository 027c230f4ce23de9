package web

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// press submits a form as a browser does that looks at the page.
func (b *bench) press(t *testing.T, path string, form url.Values, headers ...string) (*http.Response, string) {
	t.Helper()
	headers = append(headers, "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
	return b.do(t, "POST", path, form.Encode(), headers...)
}

// buttons are all forms that change something besides jobs, each with what it
// does and what it needs.
var buttons = []struct {
	path string
	form url.Values
	need work.Scope
	on   string // the page that has it
	to   string // where it leads; empty: it has something to say
}{
	{"/settings/tokens", url.Values{"name": {"grace"}, "scope": {"operate"}, "days": {"30"}}, work.ScopeAdmin, "/settings", ""},
	{"/settings/tokens/3/revoke", nil, work.ScopeAdmin, "/settings", "/settings#tokens"},
	{"/settings/invites", url.Values{"site": {"west"}, "hours": {"24"}}, work.ScopeAdmin, "/settings", ""},
	{"/settings/invites/3/revoke", nil, work.ScopeAdmin, "/settings", "/settings#invites"},
	{"/settings/limits", url.Values{"scope": {"site"}, "name": {" west "}, "bytes": {"1 GiB"}, "requests": {"2.5"},
		"windows": {"mon-fri 08:00-18:00 20MiB\r\n\r\n22:00-06:00 stop\r\n"}}, work.ScopeAdmin, "/settings", "/settings#limits"},
	{"/settings/limits/remove", url.Values{"scope": {"job"}, "name": {"7"}}, work.ScopeAdmin, "/settings", "/settings#limits"},
	{"/settings/receivers/ops/test", nil, work.ScopeAdmin, "/settings", ""},
	{"/settings/deliveries/3/resend", nil, work.ScopeAdmin, "/settings", "/settings#deliveries"},
	{"/agents/aws-eu-west-1/hub-1/drain", nil, work.ScopeOperate, "/agents/aws-eu-west-1/hub-1", "/agents/aws-eu-west-1/hub-1"},
	{"/agents/aws-eu-west-1/hub-1/revoke", nil, work.ScopeAdmin, "/agents/aws-eu-west-1/hub-1", "/agents/aws-eu-west-1/hub-1"},
	{"/jobs/7/priority", url.Values{"class": {"hi"}}, work.ScopeOperate, "/jobs/7", "/jobs/7"},
	{"/jobs/7/retry", url.Values{"fault": {"denied"}}, work.ScopeOperate, "/jobs/7", "/jobs/7"},
	{"/jobs/7/pause", nil, work.ScopeOperate, "/jobs/7", "/jobs/7"},
}

// TestButtonsByScope has callers of every scope look for each button, and press
// it whether they find it or not.
func TestButtonsByScope(t *testing.T) {
	t.Parallel()
	for _, scope := range work.Scopes() {
		g := guard(t, governed(), func(b *bench) { b.site.rates = newLimiters[work.TokenID](1e6, 1e6) })
		for _, name := range []string{"first", "second"} {
			g.token(t, name, work.ScopeRead, time.Hour)
		}
		_, secret := g.token(t, "third", scope, time.Hour)
		for _, button := range buttons {
			_, page := g.do(t, "GET", button.on, "", append(bearer(secret), "Accept", "text/html")...)
			if shown := strings.Contains(page, `action="`+button.path+`"`); shown != scope.Allows(button.need) {
				t.Errorf("%s is shown to a caller who may %s: %v", button.path, scope, shown)
			}
		}
		for _, button := range buttons {
			if scope.Allows(button.need) {
				continue
			}
			if resp, _ := g.press(t, button.path, button.form, bearer(secret)...); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s pressed by a caller who may %s: %s", button.path, scope, resp.Status)
			}
		}
		_, page := g.do(t, "GET", "/settings", "", append(bearer(secret), "Accept", "text/html")...)
		if admin := scope == work.ScopeAdmin; strings.Contains(page, "<h2>Tokens</h2>") != admin || strings.Contains(page, "Agents that may join") != admin ||
			!strings.Contains(page, "<h2>Limits</h2>") || !strings.Contains(page, "The whole audit log") {
			t.Errorf("the settings of a caller who may %s:\n%s", scope, page)
		}
	}
}

// TestButtons presses each button: what it is for happens, in the name of who
// presses, and the answer leads back.
func TestButtons(t *testing.T) {
	t.Parallel()
	f := governed()
	b := serve(t, f)
	for _, button := range buttons {
		resp, text := b.press(t, button.path, button.form)
		want := http.StatusSeeOther
		if button.to == "" {
			want = http.StatusOK
		}
		if resp.StatusCode != want || resp.Header.Get("Location") != button.to {
			t.Errorf("%s answered %s to %q: %s", button.path, resp.Status, resp.Header.Get("Location"), text)
		}
	}
	if got := f.limits[len(f.limits)-1]; got.Name != "west" || got.Bytes != 1<<30 || got.Requests != 2.5 || got.ChangedBy != onPage ||
		len(got.Windows) != 2 || got.Windows[0].Bytes != 20<<20 || !got.Windows[1].Stop {
		t.Errorf("the limit is %+v", got)
	}
	if slices.ContainsFunc(f.limits, func(l work.Limit) bool { return l.Scope == work.LimitJob }) {
		t.Error("the job's limit is still there")
	}
	if f.tokens[0].RevokedAt.IsZero() || f.jobs[7].Class != work.Hi || f.jobs[7].State != work.Paused {
		t.Errorf("after all buttons: %+v, %+v", f.tokens[0], f.jobs[7])
	}
}

// TestShownOnce makes what is shown this once: no later page has it.
func TestShownOnce(t *testing.T) {
	t.Parallel()
	b := serve(t, governed())
	resp, page := b.press(t, "/settings/tokens", url.Values{"name": {"grace"}, "scope": {"operate"}, "days": {"0"}})
	secret := regexp.MustCompile(`data-copy="(tsp_[^"]+)"`).FindStringSubmatch(page)
	if resp.Header.Get("Cache-Control") != "no-store" || secret == nil || !work.IsSecret(work.SecretToken, secret[1]) ||
		!strings.Contains(page, "Whoever shows it may operate, for ever.") || !strings.Contains(page, "tranship token create grace --scope operate --expires never") {
		t.Errorf("a new token: %s\n%s", resp.Status, page)
	}
	_, page = b.press(t, "/settings/invites", url.Values{"site": {"west"}})
	for _, want := range []string{"tranship fleet join --server https://hub --token tsj_x --pin sha256:00", "beware", "tranship fleet invite --site west --expires 1h"} {
		if !strings.Contains(page, want) {
			t.Errorf("an invitation does not say %q:\n%s", want, page)
		}
	}
	_, page = b.do(t, "GET", "/settings", "", "Accept", "text/html")
	if !strings.Contains(page, "grace") || strings.Contains(page, "tsp_") || strings.Contains(page, "tsj_") || strings.Contains(b.log.String(), "tsp_") {
		t.Errorf("afterwards:\n%s", page)
	}
}

// TestButtonsRefuse says what is wrong with a form, and changes nothing.
func TestButtonsRefuse(t *testing.T) {
	t.Parallel()
	f := governed()
	b := serve(t, f)
	tokens, limits := len(f.tokens), len(f.limits)
	for _, tt := range []struct {
		path   string
		form   url.Values
		status int
		says   string
	}{
		{"/settings/tokens", url.Values{"name": {"1"}, "scope": {"root"}, "days": {"-1"}}, 422, "unknown scope"},
		{"/settings/tokens", url.Values{"name": {"ci"}, "scope": {"read"}}, 409, "The name is taken"},
		{"/settings/tokens", url.Values{"name": {"a", "b"}, "scope": {"read"}}, 422, "not expected"},
		{"/settings/tokens/99/revoke", nil, 404, "nothing here"},
		{"/settings/invites", url.Values{"site": {"a.b"}, "hours": {"169"}}, 422, "a name is 1 to 40"},
		{"/settings/invites/99/revoke", nil, 404, "no such open invitation"},
		{"/settings/limits", url.Values{"scope": {"store"}, "name": {"s3://b"}, "bytes": {"fast"}}, 422, "is not a size"},
		{"/settings/limits", url.Values{"scope": {"store"}, "name": {"s3://b"}, "requests": {"many"}}, 422, "is not a number"},
		{"/settings/limits", url.Values{"scope": {"store"}, "name": {"s3://b"}, "windows": {"always stop"}}, 422, "is no day"},
		{"/settings/limits", url.Values{"scope": {"store"}, "name": {"s3://b"}}, 422, "it bounds nothing"},
		{"/settings/limits", url.Values{"scope": {"job"}, "name": {"404"}, "bytes": {"1MiB"}}, 404, "no such job"},
		{"/settings/limits/remove", url.Values{"scope": {"job"}, "name": {"8"}}, 404, "no limit of job 8"},
		{"/settings/receivers/nobody/test", nil, 404, "no receiver is called"},
		{"/settings/deliveries/99/resend", nil, 404, "no delivery 99"},
		{"/agents/aws-eu-west-1/none/drain", nil, 404, "no agent none answers"},
		{"/agents/aws-eu-west-1/none/revoke", nil, 404, "no agent none has joined"},
		{"/jobs/7/priority", url.Values{"class": {"asap"}}, 422, "must be one of hi, norm, lo"},
		{"/jobs/7/priority", nil, 422, "use hi, norm or lo"},
		{"/jobs/1/priority", url.Values{"class": {"hi"}}, 409, "cannot be given another priority"},
	} {
		if resp, page := b.press(t, tt.path, tt.form); resp.StatusCode != tt.status || !strings.Contains(page, tt.says) {
			t.Errorf("%s %v answered %s, want %d with %q:\n%s", tt.path, tt.form, resp.Status, tt.status, tt.says, page)
		}
	}
	if len(f.tokens) != tokens || len(f.limits) != limits {
		t.Errorf("a refused form has changed something: %+v, %+v", f.tokens, f.limits)
	}
}

// TestForgedForms presses every button from a page of another origin.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	b := serve(t, governed())
	for _, button := range buttons {
		if resp, _ := b.press(t, button.path, button.form, "Origin", "http://evil.example"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s pressed by another origin's page: %s", button.path, resp.Status)
		}
	}
}

// TestAudit goes through the log of everything, page by page.
func TestAudit(t *testing.T) {
	t.Parallel()
	f := governed()
	for range 2 * pageRows {
		f.tell(0, "ada", "token created", "another")
	}
	b := serve(t, f)
	var ids []int64
	for before := int64(0); ; before = ids[len(ids)-1] {
		some, err := b.client.Audit(t.Context(), before, 40)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		for _, e := range some {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) != len(f.events) || !slices.IsSortedFunc(ids, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("%d events are listed as %v", len(f.events), ids)
	}
	link := regexp.MustCompile(`<a href="([^"]+)" rel="next">`)
	rows := 0
	for next := "/settings/audit"; next != ""; {
		_, page := b.do(t, "GET", next, "", "Accept", "text/html")
		rows += strings.Count(page, `data-label="Who"`)
		next = ""
		if m := link.FindStringSubmatch(page); m != nil {
			next = m[1]
		}
	}
	if rows != len(f.events) {
		t.Errorf("the pages have %d events of %d", rows, len(f.events))
	}
}
