package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A fakeRoster knows one invitation, by the secret "in", and answers everybody
// else with the error that they ask for as their secret or key.
type fakeRoster struct{}

var refusals = map[string]error{
	"token": work.ErrNoToken, "name": work.ErrNameTaken, "key": work.ErrKeyTaken, "signature": work.ErrSignature,
	"identity": work.ErrNoIdentity, "clock": work.ErrClock, "ledger": errors.New("pq: secret words"),
}

func (g *fakeRoster) Invite(_ context.Context, n work.NewInvite, dryRun bool) (api.Invited, error) {
	out := api.Invited{Invite: work.Invite{ID: 3, Site: n.Site, CreatedAt: noon, CreatedBy: n.Who, ExpiresAt: noon.Add(n.Life)},
		Token: "tsj_x", Server: "https://hub", Pin: "sha256:00", NATS: "tls://hub:4222", Notes: []string{"beware"}}
	if dryRun {
		out.Invite.ID, out.Token = 0, ""
	}
	return out, nil
}

func (g *fakeRoster) Invites(context.Context) ([]work.Invite, error) {
	return []work.Invite{{ID: 3, Site: "west", CreatedAt: noon, CreatedBy: "ada", ExpiresAt: noon.Add(time.Hour)}}, nil
}

func (g *fakeRoster) Uninvite(_ context.Context, id int64, _ string) error {
	if id != 3 {
		return fmt.Errorf("take back: %w", work.ErrNotThere)
	}
	return nil
}

func (g *fakeRoster) Join(_ context.Context, secret string, j work.Joining) (work.Welcome, error) {
	return g.answer(secret, j.Agent)
}

func (g *fakeRoster) Renew(_ context.Context, r work.Renewal) (work.Welcome, error) {
	return g.answer(r.Key, "west-1")
}

func (g *fakeRoster) answer(ask, agent string) (work.Welcome, error) {
	if err := refusals[ask]; err != nil {
		return work.Welcome{}, fmt.Errorf("let in: %w", err)
	}
	return work.Welcome{Agent: agent, Site: "west", NATS: "tls://hub:4222", Domain: "hub", JWT: "j", Expires: noon.Add(time.Hour)}, nil
}

// knows reports whether the agent has joined and answers.
func (g *fakeRoster) knows(agent string) bool { return agent == "west-1" || agent == "hub-1" }

func (g *fakeRoster) Revoke(_ context.Context, site, agent, who string) (work.Identity, error) {
	if !g.knows(agent) {
		return work.Identity{}, work.ErrNotThere
	}
	return work.Identity{Agent: agent, Site: site, Key: "U", Host: "h", JoinedAt: noon, RevokedAt: noon, RevokedBy: who}, nil
}

func (g *fakeRoster) Drain(_ context.Context, _, agent, _ string) error {
	if !g.knows(agent) {
		return work.ErrNotThere
	}
	return nil
}

// useRoster uses the operations by which agents come and go.
func useRoster(t *testing.T, b *bench) {
	t.Helper()
	ctx, c := t.Context(), b.client
	checkRequest(t, "NewInvite", api.NewInvite{Site: "west", Seconds: 60, DryRun: true})
	invited, err := c.Invite(ctx, "west", 2*time.Hour, false)
	if err != nil || invited.Token == "" || invited.Invite.CreatedBy != "ada@workstation" || !invited.Invite.ExpiresAt.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("invited: %+v, %v", invited, err)
	}
	if invited, err = c.Invite(ctx, "west", 0, true); err != nil || invited.Token != "" || !invited.Invite.ExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("would invite: %+v, %v", invited, err)
	}
	invites, err := c.Invites(ctx)
	if err != nil || len(invites) != 1 {
		t.Errorf("invitations: %+v, %v", invites, err)
	}
	if err := c.Uninvite(ctx, 3); err != nil {
		t.Error(err)
	}
	wantCode(t, "an invitation that is not there", c.Uninvite(ctx, 4), api.NoInvite)
	j := api.Joining{Token: "in", Joining: work.Joining{Agent: "west-1", Host: "h", Key: "U"}}
	checkRequest(t, "Joining", j)
	if w, err := c.Join(ctx, j); err != nil || w.Agent != "west-1" || w.JWT != "j" {
		t.Errorf("joined: %+v, %v", w, err)
	}
	r := work.Renewal{Key: "U", At: noon, Signature: []byte("x")}
	checkRequest(t, "Renewal", r)
	if w, err := c.Renew(ctx, r); err != nil || w.Site != "west" {
		t.Errorf("renewed: %+v, %v", w, err)
	}
	if i, err := c.RevokeAgent(ctx, "west", "west-1"); err != nil || i.RevokedBy != "ada@workstation" {
		t.Errorf("revoked: %+v, %v", i, err)
	}
	if err := c.DrainAgent(ctx, "west", "west-1"); err != nil {
		t.Error(err)
	}
	_, err = c.RevokeAgent(ctx, "west", "nobody")
	wantCode(t, "revoking nobody", err, api.NoAgent)
	wantCode(t, "draining nobody", c.DrainAgent(ctx, "west", "nobody"), api.NoAgent)
}

// asJSON is the header of a body that is JSON.
var asJSON = []string{"Content-Type", "application/json"}

func wantCode(t *testing.T, what string, err error, want api.Code) {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// TestNotLetIn: whoever cannot come in learns what helps an honest agent, and
// nothing of invitations and keys that are somebody else's.
func TestNotLetIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ask  string
		want api.Code
	}{
		{"token", api.NoInvitation}, {"name", api.NameTaken}, {"key", api.KeyTaken}, {"clock", api.ClockSkew},
		{"identity", api.NoIdentity}, {"signature", api.NoIdentity}, {"ledger", api.Internal},
	}
	for _, tt := range tests {
		t.Run(tt.ask, func(t *testing.T) {
			t.Parallel()
			b := serve(t, newFake())
			_, err := b.client.Join(t.Context(), api.Joining{Token: tt.ask, Joining: work.Joining{Agent: "a", Key: "U"}})
			wantCode(t, "join", err, tt.want)
			var p *api.Problem
			if tt.ask == "name" && (!errors.As(err, &p) || !strings.Contains(p.Hint, "--name") || !strings.Contains(p.Hint, "--data")) {
				t.Errorf("join with a name that is taken: %+v, want what to do about it", p)
			}
			_, err = b.client.Renew(t.Context(), work.Renewal{Key: tt.ask, At: noon, Signature: []byte("x")})
			wantCode(t, "renew", err, tt.want)
			if strings.Contains(err.Error(), "secret words") {
				t.Errorf("the answer tells of the ledger: %v", err)
			}
		})
	}
}

// TestKnocking: whoever fails again and again is refused the quicker, with all
// of their network. Who may join or renew is let in from there all the same.
func TestKnocking(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	knock := func(host, path, body string) int {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost"+path, strings.NewReader(body))
		r.RemoteAddr = "[" + host + "]:4711"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		b.site.guard().ServeHTTP(w, r)
		return w.Code
	}
	join := func(host, token string) int {
		return knock(host, "/v1/join", `{"token":"`+token+`","agent":"a","host":"h","key":"U"}`)
	}
	renew := func(host, key string) int {
		return knock(host, "/v1/renew", `{"key":"`+key+`","at":"2026-01-05T12:00:00Z","signature":"eA=="}`)
	}
	got := 0
	for i := range 10 * failureBurst {
		if got = join(fmt.Sprintf("2001:db8:1:2::%x", i), "token"); got == http.StatusTooManyRequests {
			break
		}
	}
	if got != http.StatusTooManyRequests {
		t.Errorf("who guesses, each time from another address of a network, is answered %d", got)
	}
	b.site.guesses = newLimiters[string](1e-3, 1)
	for _, tt := range []struct {
		what      string
		got, want int
	}{
		{"the first guess", join("2001:db8:1:2::1", "token"), http.StatusForbidden},
		{"the next guess", join("2001:db8:1:2::2", "token"), http.StatusTooManyRequests},
		{"a wrong signature", renew("2001:db8:1:2::3", "signature"), http.StatusTooManyRequests},
		{"another network", renew("2001:db8:1:3::1", "signature"), http.StatusForbidden},
		{"an invitation", join("2001:db8:1:2::1", "in"), http.StatusOK},
		{"an agent that renews", renew("2001:db8:1:2::1", "U"), http.StatusOK},
		{"an invitation to a name that is taken", join("2001:db8:1:2::1", "name"), http.StatusConflict},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is answered %d, want %d", tt.what, tt.got, tt.want)
		}
	}
}

func TestInvitesAreChecked(t *testing.T) {
	t.Parallel()
	b := serve(t, newFake())
	for _, body := range []string{
		`{}`, `{"site":"any"}`, `{"site":"a b"}`, `{"site":"west","seconds":59}`, `{"site":"west","seconds":604801}`,
		`{"site":"west","life":7}`, `{"site":"west","seconds":-1}`,
	} {
		if resp, text := b.do(t, "POST", "/v1/invites", body, asJSON...); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %s: %s", body, resp.Status, text)
		}
	}
	for _, body := range []string{
		`{"token":"in","agent":"coordinator","host":"h","key":"U"}`, `{"token":"in","agent":"a.b","host":"h","key":"U"}`,
		`{"token":"in","agent":"a","host":"h\u001b[2J","key":"U"}`, `{"token":"in","agent":"a","host":"h","key":"U","site":"west"}`,
	} {
		if resp, text := b.do(t, "POST", "/v1/join", body, asJSON...); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %s: %s", body, resp.Status, text)
		}
	}
}
