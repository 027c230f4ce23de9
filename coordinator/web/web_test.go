package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/goleak"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

var update = flag.Bool("update", false, "rewrite the golden pages")

// TestMain looks for goroutines left behind once the database is gone.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(run{m}, goleak.Cleanup(func(code int) {
		if code != 0 {
			os.Exit(code)
		}
	}))
}

// A run is the tests with their database. M keeps the exit status itself.
type run struct{ *testing.M }

func (r run) Run() int {
	ledgertest.Main(r.M)
	return 0
}

// A bench is a running server over a fake, and a client of it that checks
// every answer against the OpenAPI file.
type bench struct {
	fake   *fake
	site   *site
	base   string
	client *api.Client
	http   *http.Client
	server *http.Server
	log    *lockedBuffer
}

// serve starts a server over a fake for the test, once it is tuned.
func serve(t testing.TB, f *fake, tune ...func(*bench)) *bench {
	t.Helper()
	b := &bench{fake: f}
	still := func(b *bench) { b.site.now = func() time.Time { return noon } }
	b.start(t, f, f, append([]func(*bench){still}, tune...)...)
	return b
}

// start starts the server.
func (b *bench) start(t testing.TB, l Ledger, c Commander, tune ...func(*bench)) {
	t.Helper()
	b.log = &lockedBuffer{}
	if b.fake == nil { // the ledger is real: limits and tokens still are not
		b.fake = newFake()
	}
	b.site = newSite(Deps{
		Ledger: l, Commander: c, Roster: &fakeRoster{}, Messenger: new(mute), Limits: b.fake, Access: fakeTokens{fake: b.fake}, Version: "1.4.0", Open: true,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintln(w, "tranship_up 1")
		}),
		Well:  func() context.Context { return context.Background() },
		Away:  func(err error) (string, bool) { return "is away", errors.Is(err, context.DeadlineExceeded) },
		Ready: func(context.Context) map[string]error { return map[string]error{"postgres": nil, "nats": nil} },
		Examine: func(_ context.Context, stores []work.StoreCheck) []work.Check {
			found := []work.Check{{Part: "postgres", What: "fsync", State: work.CheckFailing, Found: "off", Advice: "set it on"}}
			for _, c := range stores {
				found = append(found, work.Check{Part: c.Store, By: "hub/hub-1", What: "list", State: work.CheckOK, Found: fmt.Sprint(c.Write)})
			}
			return found
		},
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	b.site.beat = 20 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.server = Server(b.site.guard())
	for _, change := range tune {
		change(b)
	}
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(listener) }()
	b.base = "http://" + listener.Addr().String()
	b.http = &http.Client{Transport: &checked{t: t, spec: spec(t), next: &http.Transport{}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	b.client = api.NewClient(b.base, b.http, "")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		b.http.CloseIdleConnections()
		if err := b.server.Shutdown(ctx); err != nil {
			t.Errorf("shut the server down: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
}

// do makes a request and returns the answer with its body read.
func (b *bench) do(t testing.TB, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// problem makes a request that must fail and returns the problem.
func (b *bench) problem(t testing.TB, method, path, body string, headers ...string) *api.Problem {
	t.Helper()
	resp, text := b.do(t, method, path, body, headers...)
	var p api.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != api.ProblemType {
		t.Fatalf("%s %s answered %s, %q: %s", method, path, resp.Status, resp.Header.Get("Content-Type"), text)
	}
	if p.Status != resp.StatusCode || p.RequestID == "" || p.RequestID != resp.Header.Get(api.HeaderRequestID) || p.Hint == "" || p.Title == "" {
		t.Errorf("%s %s answered %s with the problem %+v", method, path, resp.Status, p)
	}
	return &p
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// spec returns the OpenAPI file, made so strict that a field it does not
// describe is an error.
var spec = func() func(testing.TB) *openapi3.T {
	load := sync.OnceValues(func() (*openapi3.T, error) {
		doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
		if err != nil {
			return nil, err
		}
		closed := false
		for _, s := range doc.Components.Schemas {
			if v := s.Value; v.Type.Is("object") && v.AdditionalProperties.Schema == nil {
				v.AdditionalProperties.Has = &closed
			}
		}
		return doc, doc.Validate(context.Background())
	})
	return func(t testing.TB) *openapi3.T {
		t.Helper()
		doc, err := load()
		if err != nil {
			t.Fatalf("openapi.yaml: %v", err)
		}
		return doc
	}
}()

// A checked transport reports requests and answers that the OpenAPI file does
// not describe. Pages of the site are none of its business.
type checked struct {
	t    testing.TB
	spec *openapi3.T
	next *http.Transport

	mu   sync.Mutex
	seen map[string]bool // operations that answered well
}

func (c *checked) CloseIdleConnections() { c.next.CloseIdleConnections() }

// operation returns what the OpenAPI file says of a request, or nil.
func (c *checked) operation(r *http.Request) *openapi3.Operation {
	for path, item := range c.spec.Paths.Map() {
		want, got := strings.Split(path, "/"), strings.Split(r.URL.Path, "/")
		if len(want) != len(got) {
			continue
		}
		same := true
		for i := range want {
			same = same && (want[i] == got[i] || strings.HasPrefix(want[i], "{"))
		}
		if same {
			return item.GetOperation(r.Method)
		}
	}
	return nil
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	op := c.operation(r)
	if err != nil || op == nil {
		return resp, err
	}
	answer := op.Responses.Status(resp.StatusCode)
	if answer == nil {
		answer = op.Responses.Default()
	}
	if answer == nil {
		c.t.Errorf("%s %s answered %s, which the OpenAPI file does not know", r.Method, r.URL.Path, resp.Status)
		return resp, nil
	}
	mt, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	media := answer.Value.Content.Get(mt)
	if media == nil {
		c.t.Errorf("%s %s answered %s as %q, which the OpenAPI file does not know", r.Method, r.URL.Path, resp.Status, mt)
		return resp, nil
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		c.mu.Lock()
		if c.seen == nil {
			c.seen = map[string]bool{}
		}
		c.seen[op.OperationID] = true
		c.mu.Unlock()
	}
	if !strings.HasSuffix(mt, "json") {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		c.t.Errorf("%s %s answered what is no JSON: %v", r.Method, r.URL.Path, err)
	} else if err := media.Schema.Value.VisitJSON(v); err != nil {
		c.t.Errorf("%s %s answered what the OpenAPI file does not describe: %v\n%s", r.Method, r.URL.Path, err, body)
	}
	return resp, nil
}
