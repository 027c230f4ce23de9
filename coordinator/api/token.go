package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A NewToken asks for a token.
type NewToken struct {
	Name      string     `json:"name"` // who or what will show it
	Scope     work.Scope `json:"scope"`
	ExpiresIn *int64     `json:"expires_in,omitempty"` // seconds; 0: never; nil: 90 days
}

// A CreatedToken is a token with its secret, which is shown this once.
type CreatedToken struct {
	Token  work.Token `json:"token"`
	Secret string     `json:"secret"`
}

// TokenList is all tokens, the revoked ones last.
type TokenList struct {
	Tokens []work.Token `json:"tokens"`
}

// A SignIn is a link that signs a browser in, once.
type SignIn struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: nobody has to sign in
}

// SignInURL returns the link by which a browser signs in at the site with a
// code.
func SignInURL(base, code string) string { return base + "/login?code=" + code }

// CreateToken makes a token. It is not repeated: the secret of one whose answer
// got lost is known to nobody.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (CreatedToken, error) {
	var t CreatedToken
	_, err := c.do(ctx, call{doing: "create the token", method: http.MethodPost, path: "/v1/tokens", body: n}, &t)
	return t, err
}

// Tokens lists the tokens.
func (c *Client) Tokens(ctx context.Context) ([]work.Token, error) {
	var l TokenList
	err := c.get(ctx, "list the tokens", "/v1/tokens", nil, &l)
	return l.Tokens, err
}

// RevokeToken ends a token; within seconds it lets nobody in.
func (c *Client) RevokeToken(ctx context.Context, id work.TokenID) (work.Token, error) {
	var t work.Token
	path := "/v1/tokens/" + strconv.FormatInt(int64(id), 10) + "/revoke"
	_, err := c.do(ctx, call{doing: "revoke the token", method: http.MethodPost, path: path, repeat: true}, &t)
	return t, err
}

// SignIn asks for a link that signs a browser in as the caller.
func (c *Client) SignIn(ctx context.Context) (SignIn, error) {
	var s SignIn
	_, err := c.do(ctx, call{doing: "ask for a sign-in link", method: http.MethodPost, path: "/v1/sign-in", repeat: true}, &s)
	return s, err
}
