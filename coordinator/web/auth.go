package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A Gate knows who asks by the hash of what they show. What does not count is
// work.ErrNoToken.
type Gate interface {
	Authenticate(ctx context.Context, hash []byte) (work.Caller, error)
	Session(ctx context.Context, hash []byte) (work.Caller, error)
}

// Tokens keeps what lets callers in, see ledger.Ledger.
type Tokens interface {
	CreateToken(ctx context.Context, n work.Token, hash []byte, life time.Duration) (work.Token, error)
	Tokens(ctx context.Context) ([]work.Token, error)
	RevokeToken(ctx context.Context, id work.TokenID, who string) (work.Token, error)
}

// Sessions keeps which browsers are signed in, see ledger.Ledger.
type Sessions interface {
	OpenSession(ctx context.Context, token work.TokenID, hash []byte, life time.Duration) error
	CreateCode(ctx context.Context, token work.TokenID, hash []byte, life time.Duration) error
	RedeemCode(ctx context.Context, code, hash []byte, life time.Duration) (work.Caller, error)
	CloseSession(ctx context.Context, hash []byte) error
}

// Access is who may use the site; in production it is a *ledger.Ledger.
type Access interface {
	Gate
	Tokens
	Sessions
}

// Who did what on a site that is open, where nobody says it.
const (
	onAPI  = "api"
	onPage = "page"
)

// asked finds out who asks, and whether they may, before the route's handler
// does anything. Whatever is done for the request finds its work.CallerOf.
func (s *site) asked(rt route, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.caller(r, rt)
		r = r.WithContext(work.WithCaller(r.Context(), c))
		if err == nil && rt.need != everybody {
			err = s.allow(c, rt.need)
		}
		if err != nil {
			s.turnAway(w, r, err)
			return
		}
		next(w, r)
	}
}

// caller returns who asks for the route.
func (s *site) caller(r *http.Request, rt route) (work.Caller, error) {
	switch {
	case s.Open:
		return openCaller(r), nil
	case rt.need == everybody:
		return work.Caller{Remote: remote(r)}, nil
	}
	c, err := s.identify(r, !rt.brief() && rt.need == work.ScopeRead)
	c.Remote = remote(r)
	return c, err
}

// allow refuses a caller who may not do what needs the scope, or who asks for
// too much.
func (s *site) allow(c work.Caller, need work.Scope) error {
	if !c.Scope.Allows(need) {
		return api.NewProblem(api.Forbidden, fmt.Sprintf("this needs a token that may %s; %s may %s", need, c.Name, c.Scope))
	}
	if c.Token == 0 {
		return nil
	}
	return s.rates.take(c.Token)
}

// turnAway answers a request that is not let in: a person is asked to sign in,
// whatever others have guessed.
func (s *site) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	stranger := errors.Is(err, work.ErrNoToken)
	if stranger && !errors.Is(err, errNothingShown) {
		if tooMany := s.wrong(r, err); tooMany != nil {
			err = tooMany
		}
	}
	if stranger && isPage(r) {
		to := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	s.fail(w, r, err)
}

// openCaller returns who asks where nobody is asked for a token: whoever the
// header names, which is a claim.
func openCaller(r *http.Request) work.Caller {
	name := r.Header.Get(api.HeaderWho)
	switch {
	case name != "" && checkLine(name, maxWho) == "":
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		name = onAPI
	default:
		name = onPage
	}
	return work.Caller{Name: name, Scope: work.ScopeAdmin, Remote: remote(r)}
}

// errNothingShown means that a request shows nothing that could be wrong.
var errNothingShown = fmt.Errorf("nothing is shown: %w", work.ErrNoToken)

// A credential is what a request shows.
type credential struct {
	hash    []byte
	session bool // it is a browser's cookie, not a token
}

// credentialOf returns what the request shows, or errNothingShown. What is no
// token of ours gets no further. Other schemes than Bearer are those of a proxy
// in front.
func (s *site) credentialOf(r *http.Request) (credential, error) {
	if scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		if text = strings.TrimSpace(text); !work.IsSecret(work.SecretToken, text) {
			return credential{}, work.ErrNoToken
		}
		return credential{hash: work.HashSecret(text)}, nil
	}
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return credential{}, errNothingShown
	}
	if !work.IsSecret(work.SecretSession, cookie.Value) {
		return credential{}, work.ErrNoToken
	}
	return credential{hash: work.HashSecret(cookie.Value), session: true}, nil
}

// identify returns who shows a token or has signed in, or work.ErrNoToken. If
// the request only looks at what is of use while the ledger is away, whoever was
// let in lately is let in then.
func (s *site) identify(r *http.Request, whileAway bool) (work.Caller, error) {
	cred, err := s.credentialOf(r)
	if err != nil {
		return work.Caller{}, err
	}
	lately, wasLately := s.known.lately(cred)
	c, err := s.lookUp(r.Context(), cred)
	switch {
	case err == nil:
		s.known.admit(cred, c)
	case errors.Is(err, work.ErrNoToken):
		s.known.forget(cred)
	case whileAway && wasLately:
		return lately, nil
	}
	return c, err
}

// isGone reports whether who was let in would no longer be. It is asked again
// and again while a request lasts.
func (s *site) isGone(r *http.Request) bool {
	if s.Open {
		return false
	}
	cred, err := s.credentialOf(r)
	if err == nil {
		_, err = s.lookUp(r.Context(), cred)
	}
	return errors.Is(err, work.ErrNoToken)
}

// lookUp asks the ledger, at most once in a moment for the same secret: so long
// does one that is revoked still count. Who was let in lately does not wait for
// strangers.
func (s *site) lookUp(ctx context.Context, cred credential) (c work.Caller, err error) {
	look := s.Access.Authenticate
	if cred.session {
		look = s.Access.Session
	}
	inTurn := s.turns.ask
	if _, wasLately := s.known.lately(cred); wasLately {
		inTurn = atOnce
	}
	err = s.inTime(ctx, func(ctx context.Context) error {
		c, err = s.known.recent.get(ctx, cred.key(), func(ctx context.Context, _ string) (who work.Caller, err error) {
			err = inTurn(ctx, func() error {
				who, err = look(ctx, cred.hash)
				return err
			})
			return who, err
		})
		return err
	})
	return c, err
}

// wrong notes that a request showed what lets nobody in: a token, a sign-in code
// or whatever else. It returns what to answer if too many such came from there.
//
// Nothing is refused before it was looked at: an address may be a proxy's, with
// everybody behind it, and who is right is let in whatever others guess. They
// cannot succeed, a secret is too long for that.
func (s *site) wrong(r *http.Request, why error) error {
	from := remote(r)
	if tooMany := s.guesses.take(block(from)); tooMany != nil {
		return tooMany
	}
	s.Log.InfoContext(r.Context(), "not let in", about(r), "remote", from, "err", why)
	return nil
}

// remote returns the address that the request came from. What a proxy says of
// where it got it from is not believed: anybody can say so.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// block returns what one party has of an address: of IPv6 that is a network of
// 64 bits.
func block(remote string) string {
	ip := net.ParseIP(remote)
	if ip == nil || ip.To4() != nil {
		return remote
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
