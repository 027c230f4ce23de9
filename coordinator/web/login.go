package web

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	sessionLife = 12 * time.Hour
	codeLife    = 10 * time.Minute
)

// A loginView is what the sign-in page shows.
type loginView struct {
	Next  string // where to go then, a path of this site
	Code  string // by which to sign in; empty: a token is asked for
	Wrong bool   // what was given does not count
}

// loginPage asks for a token. With a code in the address there is one button to
// press, so that whoever only looks at the address does not use the code up.
func (s *site) loginPage(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "next", "code")
	if err := p.err(); err != nil {
		return err
	}
	v := loginView{Next: ownPath(p.text("next")), Code: p.text("code")}
	if s.Open {
		http.Redirect(w, r, v.Next, http.StatusSeeOther)
		return nil
	}
	if !work.IsSecret(work.SecretCode, v.Code) {
		v.Wrong, v.Code = v.Code != "", ""
	}
	return s.showLogin(w, r, http.StatusOK, v)
}

func (s *site) showLogin(w http.ResponseWriter, r *http.Request, status int, v loginView) error {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	return s.render(w, r, status, "login.html", view{Title: "Sign in", Page: v})
}

// login opens a session for whoever gives a token or a code.
func (s *site) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return api.NewProblem(api.BadRequest, "the form cannot be read")
	}
	next := ownPath(r.PostForm.Get("next"))
	if s.Open {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	secret := work.NewSecret(work.SecretSession) // never one that the browser had before
	err := s.signIn(r, work.HashSecret(secret))
	if errors.Is(err, work.ErrNoToken) {
		if tooMany := s.wrong(r, err); tooMany != nil {
			return tooMany
		}
		return s.showLogin(w, r, http.StatusUnauthorized, loginView{Next: next, Wrong: true})
	}
	if err != nil {
		return err
	}
	s.setCookie(w, r, secret, int(sessionLife.Seconds()))
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// signIn opens a session under the hash by what the form holds.
func (s *site) signIn(r *http.Request, hash []byte) error {
	ctx := r.Context()
	if code := r.PostForm.Get("code"); code != "" {
		if !work.IsSecret(work.SecretCode, code) {
			return work.ErrNoToken
		}
		return s.turns.ask(ctx, func() error {
			_, err := s.Access.RedeemCode(ctx, work.HashSecret(code), hash, sessionLife)
			return err
		})
	}
	token := strings.TrimSpace(r.PostForm.Get("token"))
	if !work.IsSecret(work.SecretToken, token) {
		return work.ErrNoToken
	}
	return s.turns.ask(ctx, func() error {
		c, err := s.Access.Authenticate(ctx, work.HashSecret(token))
		if err != nil {
			return err
		}
		return s.Access.OpenSession(ctx, c.Token, hash, sessionLife)
	})
}

// logout ends the browser's session.
func (s *site) logout(w http.ResponseWriter, r *http.Request) error {
	if cred, err := s.credentialOf(r); err == nil && cred.session {
		if err := s.Access.CloseSession(r.Context(), cred.hash); err != nil {
			return err
		}
		s.known.forget(cred)
		s.known.recent.forget() // here it is over at once
	}
	s.setCookie(w, r, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// setCookie has the browser keep a session's secret for so many seconds.
func (s *site) setCookie(w http.ResponseWriter, r *http.Request, secret string, seconds int) {
	c := &http.Cookie{Name: s.cookieName(r), Value: secret, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteStrictMode}
	if c.Secure {
		c.SameSite = http.SameSiteLaxMode // links from mails and chats lead to the page, not to the sign-in
	}
	http.SetCookie(w, c)
}

// cookieName is that of the session. A browser sends cookies of this machine to
// each of its ports, so where TLS does not say whose it is, the port does.
func (s *site) cookieName(r *http.Request) string {
	if s.secure(r) {
		return "__Host-tranship"
	}
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return "tranship"
	}
	return "tranship-" + port
}

// secure reports whether the browser reaches the site by TLS: that of this
// server, or that of a proxy at its URL.
func (s *site) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	u, err := url.Parse(s.URL)
	return err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, r.Host)
}

// base returns where the browser or client reaches the site.
func (s *site) base(r *http.Request) string {
	switch {
	case s.URL != "":
		return s.URL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// ownPath returns a path of this site to go to: next, or the overview if that
// could lead anywhere else.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || u.Path == "/login" || u.Path == "/logout" {
		return "/"
	}
	return next
}
