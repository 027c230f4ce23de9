package web

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// How long a token counts.
const (
	tokenLife   = 90 * 24 * time.Hour // if nothing is said
	maxTokenAge = 10 * 365 * 24 * time.Hour
)

// tokenName is what a token may be called: no number, for those are ids, and
// nothing that reads like another in the audit log.
var tokenName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.@+-]{0,63}$`)

// ownNames are whom the audit log calls so without a token.
var ownNames = map[string]bool{"tranship": true, onAPI: true, onPage: true}

var newTokenFields = fields{"name": nil, "scope": nil, "expires_in": nil}

func (s *site) createToken(w http.ResponseWriter, r *http.Request) error {
	var in api.NewToken
	var f findings
	if err := readBody(r, &in, false, newTokenFields, &f); err != nil {
		return err
	}
	life := checkToken(in, &f)
	who := readWho(r, &f)
	if err := f.err(); err != nil {
		return err
	}
	made, err := s.makeToken(r.Context(), in, life, who)
	if err != nil {
		return err
	}
	writeJSON(w, "application/json", http.StatusCreated, made)
	return nil
}

// checkToken notes what is wrong with a token that is asked for and returns how
// long it is to count; 0 is for ever.
func checkToken(in api.NewToken, f *findings) time.Duration {
	if !tokenName.MatchString(in.Name) || ownNames[in.Name] {
		f.body("/name", "must be 1 to 64 letters, digits or any of _.@+- and begin with a letter; tranship, api and page are taken")
	}
	if _, err := work.ParseScope(clip(string(in.Scope))); err != nil {
		f.body("/scope", "%s", err)
	}
	if in.ExpiresIn == nil {
		return tokenLife
	}
	most := int64(maxTokenAge / time.Second)
	if *in.ExpiresIn < 0 || *in.ExpiresIn > most {
		f.body("/expires_in", "must be from 0, which means never, to %d seconds", most)
	}
	return time.Duration(min(*in.ExpiresIn, most)) * time.Second
}

// makeToken makes a token. Nobody else is told its secret.
func (s *site) makeToken(ctx context.Context, in api.NewToken, life time.Duration, who string) (api.CreatedToken, error) {
	secret := work.NewSecret(work.SecretToken)
	t, err := s.Access.CreateToken(ctx, work.Token{Name: in.Name, Scope: in.Scope, CreatedBy: who}, work.HashSecret(secret), life)
	if err != nil {
		return api.CreatedToken{}, err
	}
	s.Log.InfoContext(ctx, "token created", "token", t.Name, "scope", t.Scope, "by", who)
	return api.CreatedToken{Token: t, Secret: secret}, nil
}

func (s *site) listTokens(w http.ResponseWriter, r *http.Request) error {
	tokens, err := s.Access.Tokens(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, api.TokenList{Tokens: notNil(tokens)})
}

func (s *site) revokeToken(w http.ResponseWriter, r *http.Request) error {
	who, err := readWhoAlone(r)
	if err != nil {
		return err
	}
	t, err := s.endToken(r, who)
	if err != nil {
		return err
	}
	return answerJSON(w, t)
}

// endToken revokes the token that the address names.
func (s *site) endToken(r *http.Request, who string) (work.Token, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return work.Token{}, fmt.Errorf("revoke a token: %w", work.ErrNotThere)
	}
	t, err := s.Access.RevokeToken(r.Context(), work.TokenID(id), who)
	if err != nil {
		return work.Token{}, err
	}
	s.known.forgetToken(t.ID) // here it is over at once
	s.known.recent.forget()
	s.Log.InfoContext(r.Context(), "token revoked", "token", t.Name, "by", who)
	return t, nil
}

// createSignIn makes a link by which a browser signs in as the caller, once.
func (s *site) createSignIn(w http.ResponseWriter, r *http.Request) error {
	var f findings
	if err := readBody(r, &struct{}{}, true, fields{}, &f); err != nil {
		return err
	}
	c := work.CallerOf(r.Context())
	if c.Token == 0 { // the site is open
		return answerJSON(w, api.SignIn{URL: s.base(r) + "/"})
	}
	code := work.NewSecret(work.SecretCode)
	if err := s.Access.CreateCode(r.Context(), c.Token, work.HashSecret(code), codeLife); err != nil {
		return err
	}
	return answerJSON(w, api.SignIn{URL: api.SignInURL(s.base(r), code), ExpiresAt: s.now().Add(codeLife).UTC()})
}
