package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// A handler answers a request, or returns why it cannot.
type handler func(w http.ResponseWriter, r *http.Request) error

// serve makes an http.HandlerFunc of a handler.
func (s *site) serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// answerWithin bounds how long a request waits, also for others that wait for
// the ledger before it: later than writeTimeout nobody would get the answer.
const answerWithin = 45 * time.Second

// brief ends a handler that waits for too long, or for a ledger that is silent.
func (s *site) brief(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		return s.inTime(r.Context(), func(ctx context.Context) error { return h(w, r.WithContext(ctx)) })
	}
}

// inTime ends what waits for too long, or for a ledger that is silent.
func (s *site) inTime(asked context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(asked, answerWithin)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	well := s.Well()
	defer context.AfterFunc(well, func() { end(context.Cause(well)) })()
	err := do(ctx)
	if err == nil || ctx.Err() == nil || asked.Err() != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &Trouble{Of: "Postgres", Why: "does not answer in time", Err: err} // nothing else is waited for so long
}

// fail turns an error into the answer. The texts of errors that are not meant
// for clients go to the log and nowhere else.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // no one is there to read it
	}
	p := s.problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		s.Log.ErrorContext(r.Context(), "request failed", about(r), "status", p.Status, "err", err)
	}
	if a, ok := w.(*answer); ok && a.status != 0 {
		return // the answer has begun; the connection's end says that it is not whole
	}
	s.show(w, r, p)
}

// problemOf returns what a client may know of an error.
func (s *site) problemOf(err error) *api.Problem {
	var p *api.Problem
	var large *http.MaxBytesError
	var trouble *Trouble
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return api.NewProblem(api.TooLarge, "")
	case errors.Is(err, work.ErrNoToken):
		return api.NewProblem(api.Unauthenticated, "")
	case errors.Is(err, work.ErrNameTaken):
		return api.NewProblem(api.NameTaken, "")
	case errors.Is(err, work.ErrTooMany):
		return api.NewProblem(api.TooMany, "")
	case errors.Is(err, work.ErrNotThere):
		return api.NewProblem(api.NotFound, "")
	case errors.Is(err, work.ErrNoJob):
		return api.NewProblem(api.NoJob, "")
	case errors.Is(err, work.ErrNoObject):
		return api.NewProblem(api.NoObject, "")
	case errors.Is(err, work.ErrState):
		return api.NewProblem(api.JobState, "")
	case errors.Is(err, work.ErrIdempotency):
		return api.NewProblem(api.KeyReused, "")
	case errors.Is(err, work.ErrCursor):
		return api.NewProblem(api.BadCursor, "")
	}
	if errors.As(err, &trouble) {
		return unavailable(trouble.Of, trouble.Why)
	}
	if why, away := s.Away(err); away {
		return unavailable("Postgres", why)
	}
	return api.NewProblem(api.Internal, "")
}

func unavailable(of, why string) *api.Problem {
	p := api.NewProblem(api.Unavailable, of+" "+why)
	p.RetryAfter = 5 * time.Second
	return p
}

// challenge says how to show who one is (RFC 6750).
const challenge = `Bearer realm="tranship"`

// show sends a problem in the form the client reads.
func (s *site) show(w http.ResponseWriter, r *http.Request, p *api.Problem) {
	shown := *p
	shown.RequestID = requestIDOf(r.Context())
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Seconds())))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if isPage(r) {
		s.problemPage(w, r, &shown)
		return
	}
	writeJSON(w, api.ProblemType, p.Status, &shown)
}

// isPage reports whether a person is looking: a browser at an address that is
// not the API's.
func isPage(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/v1/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// writeJSON sends v. A failure to send is the client's, who sees it.
func writeJSON(w http.ResponseWriter, mediaType string, status int, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

func answerJSON(w http.ResponseWriter, v any) error {
	writeJSON(w, "application/json", http.StatusOK, v)
	return nil
}

// nothing answers what no route matches.
func (s *site) nothing(w http.ResponseWriter, r *http.Request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := s.mux.Handler(probe); pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		return api.NewProblem(api.NotFound, "")
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return api.NewProblem(api.NotAllowed, "")
}
