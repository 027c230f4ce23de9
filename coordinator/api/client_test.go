package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script answers requests in turn with what the test lists; the last answer
// stays.
func script(t *testing.T, answers ...http.HandlerFunc) (*api.Client, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(n.Add(1)), len(answers))-1](w, r)
	}))
	t.Cleanup(srv.Close)
	return api.NewClient(srv.URL+"/", srv.Client(), "s3cret"), &n
}

func problem(code api.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		p := api.NewProblem(code, "said so", api.FieldError{Pointer: "/source", Detail: "is missing"})
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p) // the client sees what is missing
	}
}

func job(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(api.Job{Job: work.Job{ID: 7}}) // as above
}

// drop ends the connection without an answer.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestClientRepeats(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		answers []http.HandlerFunc
		call    func(context.Context, *api.Client) error
		tries   int64
		code    api.Code // of the error; empty: success
	}{
		{"busy, then well", []http.HandlerFunc{problem(api.Unavailable), job}, getJob, 2, ""},
		{"lost, then well", []http.HandlerFunc{drop, drop, job}, getJob, 0, ""},
		{"create is repeated", []http.HandlerFunc{problem(api.Unavailable), job}, create, 2, ""},
		{"pause is repeated", []http.HandlerFunc{problem(api.Unavailable), job}, pause, 2, ""},
		{"retry is not", []http.HandlerFunc{problem(api.Unavailable), job}, retry, 1, api.Unavailable},
		{"refused for good", []http.HandlerFunc{problem(api.Invalid), job}, create, 1, api.Invalid},
		{"a defect", []http.HandlerFunc{problem(api.Internal), job}, getJob, 1, api.Internal},
		{"busy to the end", []http.HandlerFunc{problem(api.Unavailable)}, getJob, 4, api.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, n := script(t, tt.answers...)
			err := tt.call(t.Context(), c)
			var p *api.Problem
			errors.As(err, &p)
			if (err == nil) != (tt.code == "") || tt.code != "" && (p == nil || p.Code != tt.code) || tt.tries > 0 && n.Load() != tt.tries {
				t.Errorf("after %d tries: %v", n.Load(), err)
			}
		})
	}
}

func getJob(ctx context.Context, c *api.Client) error {
	_, err := c.Job(ctx, 7)
	return err
}

func create(ctx context.Context, c *api.Client) error {
	_, _, err := c.CreateJob(ctx, api.NewJob{Source: "a", Target: "b"}, "")
	return err
}

func pause(ctx context.Context, c *api.Client) error {
	_, err := c.Pause(ctx, 7)
	return err
}

func retry(ctx context.Context, c *api.Client) error {
	_, err := c.Retry(ctx, 7, api.Retry{})
	return err
}

// TestClientKeepsItsKey checks that a repeated request is the same request.
func TestClientKeepsItsKey(t *testing.T) {
	t.Parallel()
	var keys []string
	note := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get(api.HeaderIdempotencyKey)+" "+r.Header.Get("Authorization")+" "+r.Header.Get(api.HeaderWho))
			next(w, r)
		}
	}
	c, _ := script(t, note(problem(api.Unavailable)), note(job), note(job))
	c.Who = "ada"
	for range 2 {
		if err := create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != 3 || keys[0] != keys[1] || keys[1] == keys[2] || !strings.HasSuffix(keys[0], " Bearer s3cret ada") || len(keys[0]) < 40 {
		t.Errorf("the requests came with %q", keys)
	}
}

func TestClientUnreachable(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	c := api.NewClient(srv.URL, srv.Client(), "")
	srv.Close()
	if err := getJob(t.Context(), c); !errors.Is(err, api.ErrUnreachable) || !strings.HasPrefix(err.Error(), "read job 7: server unreachable: http://127.0.0.1:") {
		t.Errorf("a server that is down: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := getJob(ctx, c); !errors.Is(err, context.Canceled) || errors.Is(err, api.ErrUnreachable) {
		t.Errorf("a caller that gave up: %v", err)
	}
	for _, err := range c.Events(t.Context(), api.StreamQuery{}) {
		if !errors.Is(err, api.ErrUnreachable) {
			t.Errorf("a stream of a server that is down: %v", err)
		}
		break
	}
}

// TestClientMeetsStrangers asks servers that are not ours.
func TestClientMeetsStrangers(t *testing.T) {
	t.Parallel()
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>\x1b[2J a proxy</html>"))
		}
	}
	c, _ := script(t, page(http.StatusForbidden), page(http.StatusOK), page(http.StatusOK))
	err := getJob(t.Context(), c)
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != http.StatusForbidden || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a proxy that refuses: %q", err)
	}
	if err := getJob(t.Context(), c); err == nil || !strings.Contains(err.Error(), "not what Tranship says") {
		t.Errorf("a page where an answer should be: %v", err)
	}
	n := 0
	for _, err := range c.Events(t.Context(), api.StreamQuery{}) {
		if n++; err == nil || !strings.Contains(err.Error(), "no event stream") {
			t.Errorf("a page where a stream should be: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("the stream yielded %d times, want once", n)
	}
}

// TestEventsSkipTheUnknown reads a stream of a newer server.
func TestEventsSkipTheUnknown(t *testing.T) {
	t.Parallel()
	c, _ := script(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("id: 3\n\n: hello\n\nevent: weather\ndata: 1\n\nretry: 5\nid: 4\nevent: event\ndata: {\"id\":4,\ndata: \"what\":\"paused\"}\n\n"))
	}, problem(api.NoJob))
	var got []string
	for m, err := range c.Events(t.Context(), api.StreamQuery{}) {
		var p *api.Problem
		switch {
		case err == nil:
			got = append(got, m.Event.What)
		case errors.As(err, &p):
			got = append(got, string(p.Code))
		default:
			got = append(got, "broken")
		}
	}
	if want := "paused broken no_job"; strings.Join(got, " ") != want {
		t.Errorf("the stream yielded %q, want %q", got, want)
	}
}

func TestProblemText(t *testing.T) {
	t.Parallel()
	p := api.NewProblem(api.Invalid, "",
		api.FieldError{Pointer: "/options/verify", Detail: "is unknown"}, api.FieldError{Header: "X", Detail: "is long"})
	if got, want := p.Error(), "The request is not valid: options/verify: is unknown; X: is long"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if p.RequestID = "r1"; strings.Contains(p.Error(), "r1") {
		t.Error("a user's mistake is no matter of the log")
	}
	p = api.NewProblem(api.Internal, "")
	if p.RequestID = "r1"; p.Error() != "Something went wrong inside the server (request r1)" {
		t.Errorf("Error() = %q", p.Error())
	}
	if api.Code("newer").Info().Code != api.Internal {
		t.Error("an unknown code has no description")
	}
}

// TestKeys sends keys of every kind to and fro.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "plain", "nul\x00", "\xff", "日本", "\ufffd", `"<>&`} {
		b, err := json.Marshal(api.FailureList{Failures: []api.Failure{{Failure: work.Failure{Job: 1, Key: key, At: time.Unix(0, 0).UTC()}}}})
		if err != nil {
			t.Fatal(err)
		}
		var back api.FailureList
		if err := json.Unmarshal(b, &back); err != nil || back.Failures[0].Key != key || back.Failures[0].Job != 1 {
			t.Errorf("key %q came back as %q by way of %s: %v", key, back.Failures[0].Key, b, err)
		}
		for _, v := range []any{&api.Object{ObjectRow: work.ObjectRow{Key: key}}, &api.Tally{Tally: work.Tally{Key: key}}, &api.Retry{Prefix: key}} {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if work.IsText(key) == strings.Contains(string(b), "64") {
				t.Errorf("key %q travels as %s", key, b)
			}
		}
	}
}
