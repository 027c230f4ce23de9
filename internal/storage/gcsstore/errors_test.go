package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// scripted opens a store of a server that answers as handle does.
func scripted(t *testing.T, handle http.HandlerFunc) *Store {
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return openURL(t, "gs://bucket/pre", server.URL)
}

func jsonError(status int, reason, message string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"reason":%q,"message":%q}]}}`, status, message, reason, message)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const missing = "The specified bucket does not exist."
	for _, tt := range []struct {
		status  int
		after   string
		body    string
		want    work.Fault
		wait    time.Duration
		expired bool
		hint    string
	}{
		{status: 401, body: jsonError(401, "authError", "Invalid Credentials"), want: work.Denied, expired: true, hint: "renew"},
		{status: 403, body: jsonError(403, "forbidden", "agent does not have storage.objects.get access"), want: work.Denied, hint: "service account"},
		{status: 403, body: jsonError(403, "rateLimitExceeded", "slow down"), want: work.Throttled},
		{status: 403, body: jsonError(403, "userRateLimitExceeded", "slow down"), want: work.Throttled},
		{status: 403, body: jsonError(403, "retentionPolicyNotMet", "not yet"), want: work.Denied, hint: "retention"},
		{status: 429, after: "7", body: jsonError(429, "rateLimitExceeded", "slow down"), want: work.Throttled, wait: 7 * time.Second},
		{status: 503, after: "3", body: "busy", want: work.Throttled, wait: 3 * time.Second},
		{status: 500, body: jsonError(500, "backendError", "try again"), want: work.Transient},
		{status: 404, body: jsonError(404, "notFound", "No such object: bucket/key"), want: work.NotFound},
		{status: 404, body: jsonError(404, "notFound", missing), want: work.NotFound, hint: "bucket's name"},
		{status: 412, body: jsonError(412, "conditionNotMet", "no"), want: work.SrcChanged},
		{status: 400, body: jsonError(400, "invalid", `Provided CRC32C "AA==" doesn't match calculated CRC32C "BB==".`), want: work.Corrupt},
		{status: 400, body: jsonError(400, "invalid", "what is this"), want: work.Invalid},
		{status: 501, body: "no", want: work.Unsupported},
		{status: 404, body: "<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>", want: work.NotFound, hint: "bucket's name"},
		{status: 503, body: "<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>", want: work.Throttled},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{"X-Guploader-Uploadid": {"id-7"}}}
		if tt.after != "" {
			resp.Header.Set("Retry-After", tt.after)
		}
		err := (&Store{client: &client{}, name: "gs://b/"}).fail("get", "key", fmt.Errorf("wrapped: %w", newAPIError(resp, []byte(tt.body))))
		e := wantFault(t, tt.body, err, tt.want)
		if e.After != tt.wait || e.Expired != tt.expired || !strings.Contains(e.Hint, tt.hint) || !strings.Contains(e.Error(), "[request id-7]") {
			t.Errorf("%d %s gives %+v, want after %v, expired %v, a hint of %q and the request's id", tt.status, tt.body, e, tt.wait, tt.expired, tt.hint)
		}
	}
}

// TestFaultsOfGoogle looks that errors of Google's client are read as well.
func TestFaultsOfGoogle(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("X-GUploader-UploadID", "id-8")
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, jsonError(429, "rateLimitExceeded", "slow down"))
	})
	_, err := s.Stat(t.Context(), "key")
	e := wantFault(t, "Stat", err, work.Throttled)
	if e.After != 2*time.Second || !strings.Contains(e.Error(), "[request id-8]") || calls.Load() != 1 {
		t.Errorf("Stat = %v after %d requests, want the request's id, 2 s, and the service left alone", e, calls.Load())
	}
}

// TestNobodyAnswers asks a service that is gone.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s, err := openAt(t.Context(), &url.URL{Scheme: "gs", Host: "bucket"}, storage.Credentials{}, gone.URL)
	must(t, err)
	_, stat := s.Stat(t.Context(), "key")
	_, _, get := s.Get(t.Context(), "key", "", 0, -1)
	for what, err := range map[string]error{"Stat": stat, "Get": get, "List": s.List(t.Context(), work.Range{}, nil)} {
		if e := wantFault(t, what, err, work.Transient); !e.Unreachable || e.Hint == "" {
			t.Errorf("%s = %+v, want that nobody answers, and a hint", what, e)
		}
	}
	// That a body's source is away says nothing of this store.
	s = scripted(t, func(http.ResponseWriter, *http.Request) {})
	away := &storage.Error{Op: "get", Fault: work.Transient, Unreachable: true, Err: errors.New("gone")}
	_, err = s.Put(t.Context(), "key", iotest.ErrReader(away), 5, storage.PutOptions{})
	if e := wantFault(t, "Put", err, work.Transient); e.Unreachable {
		t.Errorf("Put = %+v, want no word of this store", e)
	}
}

func TestNoBucket(t *testing.T) {
	t.Parallel()
	s := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, jsonError(404, "notFound", "The specified bucket does not exist."))
	})
	_, err := s.Stat(t.Context(), "key")
	_, _, got := s.Get(t.Context(), "key", "7", 0, -1)
	_, stored := s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{})
	_, probed := s.Probe(t.Context(), true)
	for what, err := range map[string]error{
		"Stat": err, "Get": got, "Put": stored, "Probe": probed,
		"Delete": s.Delete(t.Context(), "key"), "List": s.List(t.Context(), work.Range{}, nil),
	} {
		if e := wantFault(t, what, err, work.NotFound); e.Hint != hintBucket {
			t.Errorf("%s = %v, want a hint about the bucket", what, e)
		}
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err     *oauth2.RetrieveError
		want    work.Fault
		expired bool
	}{
		{&oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant"}, work.Denied, true},
		{&oauth2.RetrieveError{Response: &http.Response{StatusCode: 401}, ErrorCode: "invalid_client"}, work.Denied, false},
		{&oauth2.RetrieveError{Response: &http.Response{StatusCode: 503, Status: "503"}}, work.Transient, false},
	} {
		s := scripted(t, func(http.ResponseWriter, *http.Request) {})
		private := *s.client
		private.http = &http.Client{Transport: &oauth2.Transport{Source: failing{tt.err}}}
		s = &Store{client: &private, bucket: "b", gcs: s.gcs, blob: s.blob}
		_, err := s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{})
		if e := wantFault(t, tt.err.ErrorCode, err, tt.want); e.Expired != tt.expired || e.Hint != hintCredentials {
			t.Errorf("%s: expired %v, hint %q; want %v and a hint", tt.err.ErrorCode, e.Expired, e.Hint, tt.expired)
		}
	}
}

type failing struct{ err error }

func (f failing) Token() (*oauth2.Token, error) { return nil, f.err }

// TestSteady runs requests on a network of the test's own, in its own time.
func TestSteady(t *testing.T) {
	t.Parallel()
	request := func(s *steady, ctx context.Context, body io.Reader) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://host/", body)
		if err != nil {
			return "", err
		}
		resp, err := s.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	for _, tt := range []struct {
		name           string
		source         time.Duration // before each of 3 bytes of the request
		server, answer time.Duration // before the answer, and before each of 3 bytes of it
		patience       time.Duration
		stalls         bool
	}{
		{name: "quick"},
		{name: "slow source", source: time.Hour},
		{name: "no answer", server: time.Hour, stalls: true},
		{name: "an answer that is waited for", server: time.Hour, patience: 2 * time.Hour},
		{name: "an answer in time", server: 50 * time.Second, answer: 50 * time.Second},
		{name: "an answer that stops", answer: 2 * time.Minute, stalls: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &steady{limit: stall, base: roundTripper(func(r *http.Request) (*http.Response, error) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return nil, err
					}
					if !sleep(r.Context(), tt.server) {
						return nil, r.Context().Err()
					}
					return &http.Response{StatusCode: 200, Body: io.NopCloser(&drip{r.Context(), tt.answer, 3})}, nil
				})}
				ctx := withPatience(t.Context(), tt.patience)
				text, err := request(s, ctx, &drip{ctx, tt.source, 3})
				if tt.stalls != errors.Is(err, errStalled) || !tt.stalls && (err != nil || text != "xxx") {
					t.Errorf("RoundTrip = %q, %v; want stalled %v", text, err, tt.stalls)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A drip gives a byte after each pause.
type drip struct {
	ctx   context.Context
	pause time.Duration
	left  int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	if !sleep(d.ctx, d.pause) {
		return 0, d.ctx.Err()
	}
	d.left--
	p[0] = 'x'
	return 1, nil
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"gs://", "gs:///prefix", "gs://bucket/a%0Ab", "gs://bucket/a?prefix=b", "gs://bucket?unknown=1",
		"gs://bucket?anonymous=perhaps", "gs://bucket?grpc=true", "gs://bucket?zonal=1", "gs://bucket?private_key_path=errors_test.go",
		"gs://bucket?access_id=agent@example.com",
	} {
		u, err := url.Parse(raw)
		must(t, err)
		if s, err := openAt(t.Context(), u, storage.Credentials{}, "127.0.0.1:1"); !storage.Is(err, work.Invalid) {
			t.Errorf("Open(%s) = %v, %v, want it refused", raw, s, err)
		}
	}
	for raw, prefix := range map[string]string{
		"gs://bucket": "", "gs://bucket/a/b": "a/b/", "gs://bucket?prefix=a%2Fb": "a/b",
		"gs://bucket?access_id=-&anonymous=true&universe_domain=example.com&grpc=false": "",
	} {
		if s := openURL(t, raw, "http://127.0.0.1:1"); s.prefix != prefix || s.bucket != "bucket" {
			t.Errorf("Open(%s) gives bucket %q and prefix %q, want %q", raw, s.bucket, s.prefix, prefix)
		}
	}
}

// TestAnonymous opens a store of Google's own service and looks where and how
// it would send requests.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	for raw, base := range map[string]string{
		"gs://bucket?anonymous=true":                              "https://storage.googleapis.com",
		"gs://bucket?access_id=-&universe_domain=apis.example.eu": "https://storage.apis.example.eu",
	} {
		s := openURL(t, raw, "")
		if _, plain := s.client.http.Transport.(*steady); s.client.base != base || !plain {
			t.Errorf("%s speaks to %s through %T, want %s without a token", raw, s.client.base, s.client.http.Transport, base)
		}
	}
}
