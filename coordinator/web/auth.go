package web

import (
	"net"
	"net/http"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Who did what on a site that is open, where nobody says it.
const (
	onAPI  = "api"
	onPage = "page"
)

// asked finds out who asks before the route's handler does anything.
func (s *site) asked(rt route, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := openCaller(r)
		next(w, r.WithContext(work.WithCaller(r.Context(), c)))
	}
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

// remote returns the address that the request came from. What a proxy says of
// where it got it from is not believed: anybody can say so.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
