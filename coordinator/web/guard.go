package web

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
)

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// policy is what the status page may load and do: its own files, and nothing
// written into the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"

// guard returns the site behind the checks that every request passes.
func (s *site) guard() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := requestID(r)
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		a := &answer{ResponseWriter: w}
		setHeaders(w.Header(), id)
		if s.secure(r) && s.goesBy(r.Host) { // not of localhost: others have that name, too
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		defer func() {
			if v := recover(); v != nil {
				s.recovered(a, r, v)
			}
			s.Log.DebugContext(r.Context(), "request answered", about(r), "status", a.status, "took", time.Since(began))
		}()
		if err := s.admit(r); err != nil {
			s.fail(a, r, err)
			return
		}
		r.Body = http.MaxBytesReader(a, r.Body, maxBody)
		s.mux.ServeHTTP(a, r)
	})
}

// admit refuses requests that a page of another origin has made.
//
// The host is checked because a name of the attacker's may be made to point to
// this machine (DNS rebinding): to the browser such a page is of our origin.
func (s *site) admit(r *http.Request) error {
	if !ownName(r.Host) && !s.goesBy(r.Host) {
		return api.NewProblem(api.WrongHost, "")
	}
	if err := s.origin.Check(r); err != nil {
		return api.NewProblem(api.CrossOrigin, "")
	}
	return nil
}

// goesBy reports whether the site is called so by its configuration. A site that
// is open goes by no such name: its host is all that it asks for.
func (s *site) goesBy(host string) bool {
	return !s.Open && slices.ContainsFunc(s.Hosts, func(name string) bool { return strings.EqualFold(name, hostname(host)) })
}

// ownName reports whether no one else can own the name: an address, or a name
// that always means this machine. HTTP/1.0 allows none at all.
func ownName(host string) bool {
	host = hostname(host)
	return host == "" || strings.EqualFold(host, "localhost") ||
		strings.HasSuffix(strings.ToLower(host), ".localhost") || net.ParseIP(host) != nil
}

// hostname returns a host without its port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func setHeaders(h http.Header, id string) {
	h.Set(api.HeaderRequestID, id)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

type requestIDKey struct{}

var requestIDSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)

// requestID returns the id that a proxy gave the request, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(api.HeaderRequestID); requestIDSyntax.MatchString(id) {
		return id
	}
	return strings.ToLower(rand.Text()[:16])
}

func requestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// recovered answers a request whose handler panicked.
func (s *site) recovered(a *answer, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // the server's own way to drop a connection
	}
	s.Log.ErrorContext(r.Context(), "request panicked", about(r), "panic", v, "stack", string(debug.Stack()))
	if a.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	s.show(a, r, api.NewProblem(api.Internal, ""))
}

// An answer remembers which status was sent; 0 means none yet.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// about names the request in a log line.
func about(r *http.Request) slog.Attr {
	return slog.Group("", "method", r.Method, "path", r.URL.Path, "request_id", requestIDOf(r.Context()))
}
