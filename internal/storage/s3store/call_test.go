package s3store

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// liar returns a store whose server answers as handler says, for what no
// honest server can be brought to do.
func liar(t *testing.T, handler http.HandlerFunc) *Store {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	s := private(openURL(t, "s3://bucket/pre?use_path_style=true&anonymous=true&region=r&endpoint="+url.QueryEscape(srv.URL)))
	t.Cleanup(s.client.transport.CloseIdleConnections)
	return s
}

// between returns a store that reaches a real server by way of meddle, which
// may answer itself or change what the server answers.
func between(t *testing.T, real *Store, meddle func(http.ResponseWriter, *http.Request) bool, after func(*http.Response) error) *Store {
	t.Helper()
	target, err := url.Parse(*real.client.aws.BaseEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.Out.URL.Host, r.Out.URL.Scheme = target.Host, target.Scheme },
		ModifyResponse: after,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:      &http.Transport{},
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle == nil || !meddle(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	s := private(real)
	s.client.aws.BaseEndpoint = &srv.URL
	s.client.transport = s.client.transport.Clone()
	s.place.host = strings.TrimPrefix(srv.URL, "http://")
	t.Cleanup(s.client.transport.CloseIdleConnections)
	return s
}

// refusal text of a server.
func refuseWith(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "REQ1")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message></Error>", code)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   string // empty: no body
		want   work.Fault
		calls  int32
	}{
		{404, "NoSuchKey", work.NotFound, 1},
		{404, "NoSuchBucket", work.NotFound, 1},
		{404, "", work.NotFound, 1},
		{403, "AccessDenied", work.Denied, 1},
		{403, "InvalidAccessKeyId", work.Denied, 1},
		{403, "SignatureDoesNotMatch", work.Denied, 1},
		{400, "ExpiredToken", work.Denied, 1},
		{401, "", work.Denied, 1},
		{503, "SlowDown", work.Throttled, knocks},
		{429, "", work.Throttled, knocks},
		{503, "", work.Throttled, knocks},
		{400, "RequestLimitExceeded", work.Throttled, knocks},
		{412, "PreconditionFailed", work.SrcChanged, 1},
		{400, "BadDigest", work.Corrupt, 1},
		{400, "RequestTimeout", work.Transient, attempts},
		{500, "InternalError", work.Transient, attempts},
		{502, "", work.Transient, attempts},
		{400, "KeyTooLongError", work.Unsupported, 1},
		{501, "NotImplemented", work.Unsupported, 1},
		{403, "InvalidObjectState", work.Unsupported, 1},
		{416, "InvalidRange", work.Invalid, 1},
		{301, "PermanentRedirect", work.Invalid, 1},
		{400, "SomethingNew", work.Invalid, 1},
	} {
		t.Run(fmt.Sprint(tt.status, tt.code), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			s := liar(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				if tt.code == "" {
					w.WriteHeader(tt.status)
					return
				}
				refuseWith(w, tt.status, tt.code)
			})
			_, _, err := s.Get(t.Context(), "key", "", 0, -1)
			wantFault(t, "Get", err, tt.want)
			if calls.Load() != tt.calls {
				t.Errorf("the server was asked %d times, want %d", calls.Load(), tt.calls)
			}
			if tt.code != "" && (!strings.Contains(err.Error(), tt.code) || !strings.Contains(err.Error(), "REQ1")) {
				t.Errorf("%v names not the code %s and the request", err, tt.code)
			}
		})
	}
}

// TestHeadIsExplained sees that a refused HEAD, whose answer has no body, is
// told by its reason.
func TestHeadIsExplained(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		refuseWith(w, http.StatusBadRequest, "ExpiredToken")
	})
	_, err := s.Stat(t.Context(), "key")
	wantFault(t, "Stat", err, work.Denied)
	if err != nil && !strings.Contains(err.Error(), "ExpiredToken") {
		t.Errorf("Stat = %v, want the code", err)
	}
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("x", 100_000)
	for name, body := range map[string]io.Reader{
		"seeker": strings.NewReader(content),
		"stream": io.MultiReader(strings.NewReader(content)),
	} {
		var calls atomic.Int32
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != content {
				t.Errorf("%s: the server got %d bytes, %v", name, len(got), err)
			}
			if calls.Add(1) < 3 {
				refuseWith(w, http.StatusInternalServerError, "InternalError")
				return
			}
			w.Header().Set("Etag", `"tag"`)
		})
		in, err := s.Put(t.Context(), "key", body, int64(len(content)), storage.PutOptions{Sums: storage.Sums{CRC32C: make([]byte, 4)}})
		if name == "seeker" {
			if err != nil || in.ETag != "tag" || calls.Load() != 3 {
				t.Errorf("seeker: Put = %+v, %v after %d calls", in, err, calls.Load())
			}
			continue
		}
		wantFault(t, "Put of a stream", err, work.Transient)
		if calls.Load() != 1 {
			t.Errorf("a body that can be read once was sent %d times", calls.Load())
		}
	}
}

func TestStalled(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	for name, head := range map[string]string{"no answer": "", "half a body": "0123456789"} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			if head != "" {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, head) // the client sees what comes of it
				w.(http.Flusher).Flush()
			}
			select {
			case <-block:
			case <-r.Context().Done():
			}
		})
		s.client.stall = 50 * time.Millisecond
		_, err := get(s, t.Context(), "key")
		wantFault(t, name+": Get", err, work.Transient)
		if err != nil && !strings.Contains(err.Error(), errStalled.Error()) {
			t.Errorf("%s: Get = %v, want that it stalled", name, err)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		off, n int64
		want   work.Fault
	}{
		"cut off": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		}, 0, -1, work.Transient},
		"no length": {func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "body")
			w.(http.Flusher).Flush()
		}, 0, -1, work.Transient},
		"ignores ranges": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "0123456789") }, 2, 3, work.Unsupported},
		"another range": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 3-5/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "345")
		}, 2, 3, work.Invalid},
	} {
		s := liar(t, func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) })
		body, _, err := s.Get(t.Context(), "key", "", tt.off, tt.n)
		if err == nil {
			_, err = io.ReadAll(body)
			body.Close()
		}
		wantFault(t, name+": Get", err, tt.want)
	}
}

// TestErrorInSuccess is for servers that find out that they failed after they
// have said 200.
func TestErrorInSuccess(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>")
	})
	u := storage.Upload{Key: "key", ID: "/id", Size: 1, Part: 1}
	_, err := s.Commit(t.Context(), u, []storage.Part{{N: 1, Size: 1, Tag: "t"}}, storage.PutOptions{})
	wantFault(t, "Commit", err, work.Transient)
	_, err = s.CopyFrom(t.Context(), "key", s, storage.Info{Key: "src"}, storage.PutOptions{})
	wantFault(t, "CopyFrom", err, work.Transient)
}

// TestClockSkew is for agents whose clock is wrong.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	put(t, s, "key", "content", storage.PutOptions{})
	wrong := private(s)
	wrong.client.skew.Store(int64(3 * time.Hour))
	wantContent(t, wrong, "key", "content")
}

// TestRepeatIsSignedAlike repeats a request that was refused in passing. What
// proxies rewrite must not be signed the second time either.
func TestRepeatIsSignedAlike(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	put(t, real, "key", "content", storage.PutOptions{})
	var calls atomic.Int32
	s := between(t, real, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Header.Get("Authorization"), "accept-encoding") {
			t.Errorf("request %d signs Accept-Encoding: %s", calls.Load()+1, r.Header.Get("Authorization"))
		}
		first := calls.Add(1) == 1
		if first {
			refuseWith(w, http.StatusServiceUnavailable, "SlowDown")
		}
		return first
	}, nil)
	wantContent(t, s, "key", "content")
}

// TestRangeSums reads a range for which the server names the checksum of the
// part that it lies in: that is not the object's.
func TestRangeSums(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Checksum-Crc32c", "4waSgw==")
		if r.Header.Get("Range") == "" {
			_, _ = io.WriteString(w, "123456789")
			return
		}
		w.Header().Set("Content-Range", "bytes 0-2/9")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "123")
	})
	for n, want := range map[int64]storage.Algos{3: 0, -1: storage.CRC32C} {
		body, in, err := s.Get(t.Context(), "key", "", 0, n)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		if in.Size != 9 || in.Sums.Algos() != want {
			t.Errorf("Get of %d bytes says %+v, want size 9 and the sums %v", n, in, want)
		}
	}
}

// TestUnknownServer stores on a server that knows no trailers: the body must
// arrive as it is.
func TestUnknownServer(t *testing.T) {
	t.Parallel()
	var stored atomic.Value
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "probe") {
			stored.Store(string(body))
		}
	})
	put(t, s, "key", "content", storage.PutOptions{})
	if got := stored.Load(); got != "content" {
		t.Errorf("the server got %q, want the content alone", got)
	}
}

// TestReleasedBody sees that Put leaves the body alone once it has returned,
// also when the server answers before it has read it.
func TestReleasedBody(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, _ *http.Request) {
		refuseWith(w, http.StatusForbidden, "AccessDenied")
	})
	for range 50 {
		body := &owned{}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Put(ctx, "key", body, 1<<30, storage.PutOptions{Sums: storage.Sums{CRC32C: make([]byte, 4)}})
		body.gone.Store(true)
		cancel()
		if err == nil {
			t.Fatal("Put succeeded")
		}
		if body.late.Load() {
			t.Fatal("the body was read after Put had returned")
		}
	}
}

// An owned body notes whether it is read after its time.
type owned struct{ gone, late atomic.Bool }

func (o *owned) Read(p []byte) (int, error) {
	if o.gone.Load() {
		o.late.Store(true)
	}
	return len(p), nil
}
