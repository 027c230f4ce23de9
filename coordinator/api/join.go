package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// NewInvite asks for an invitation.
type NewInvite struct {
	Site    string `json:"site"`
	Seconds int64  `json:"seconds,omitempty"` // how long it counts; 0: an hour
	DryRun  bool   `json:"dry_run,omitempty"` // only say what would be
}

// Invited is an invitation with all that an agent needs to use it.
type Invited struct {
	Invite work.Invite `json:"invite"`          // without an id: it was a dry run
	Token  string      `json:"token,omitempty"` // shown this once
	Server string      `json:"server"`          // where the agent joins
	// Pin is what the certificate of the server must be of, if those who do not
	// know the fleet yet have no other way to trust it: sha256: and hex digits.
	Pin   string   `json:"pin,omitempty"`
	NATS  string   `json:"nats"`            // where it will find the queue
	Notes []string `json:"notes,omitempty"` // why that may not work; for people
}

// Command returns the words of the command to run on the agent's machine.
func (i Invited) Command() []string {
	words := []string{"tranship", "fleet", "join", "--server", i.Server, "--token", i.Token}
	if i.Pin != "" {
		words = append(words, "--pin", i.Pin)
	}
	return words
}

// InviteList is the invitations that may still be used.
type InviteList struct {
	Invites []work.Invite `json:"invites"`
}

// A Joining is what an agent sends to join.
type Joining struct {
	Token string `json:"token"`
	work.Joining
}

// Invite asks for an invitation. It is not repeated by itself: each one is new.
func (c *Client) Invite(ctx context.Context, site string, life time.Duration, dryRun bool) (Invited, error) {
	var out Invited
	in := NewInvite{Site: site, Seconds: int64(life / time.Second), DryRun: dryRun}
	_, err := c.do(ctx, call{doing: "invite an agent", method: http.MethodPost, path: "/v1/invites", body: in}, &out)
	return out, err
}

// Invites returns the invitations that may still be used.
func (c *Client) Invites(ctx context.Context) ([]work.Invite, error) {
	var l InviteList
	err := c.get(ctx, "list the invitations", "/v1/invites", nil, &l)
	return l.Invites, err
}

// Uninvite takes an invitation back.
func (c *Client) Uninvite(ctx context.Context, id int64) error {
	n := strconv.FormatInt(id, 10)
	_, err := c.do(ctx, call{doing: "take back invitation " + n, method: http.MethodPost, path: "/v1/invites/" + n + "/revoke"}, &struct{}{})
	return err
}

// Join makes an agent one of the fleet. It may be repeated with the same key.
func (c *Client) Join(ctx context.Context, j Joining) (work.Welcome, error) {
	var w work.Welcome
	_, err := c.do(ctx, call{doing: "join the fleet", method: http.MethodPost, path: "/v1/join", body: j, repeat: true}, &w)
	return w, err
}

// Renew asks for a new credential. The caller repeats it, signed anew.
func (c *Client) Renew(ctx context.Context, r work.Renewal) (work.Welcome, error) {
	var w work.Welcome
	_, err := c.do(ctx, call{doing: "renew the agent's credential", method: http.MethodPost, path: "/v1/renew", body: r}, &w)
	return w, err
}

// RevokeAgent shuts an agent out of the fleet for good.
func (c *Client) RevokeAgent(ctx context.Context, site, agent string) (work.Identity, error) {
	var i work.Identity
	_, err := c.do(ctx, call{doing: "revoke agent " + agent, method: http.MethodPost, path: agentPath(site, agent, "revoke"), repeat: true}, &i)
	return i, err
}

// DrainAgent asks an agent to finish what it holds and go.
func (c *Client) DrainAgent(ctx context.Context, site, agent string) error {
	_, err := c.do(ctx, call{doing: "drain agent " + agent, method: http.MethodPost, path: agentPath(site, agent, "drain"), repeat: true}, &struct{}{})
	return err
}

func agentPath(site, agent, verb string) string {
	return "/v1/agents/" + url.PathEscape(site) + "/" + url.PathEscape(agent) + "/" + verb
}
