package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}

// TestThrottledFor sees that a server that asks for patience is not asked
// again at once, and that the error says for how long.
func TestThrottledFor(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "30")
		w.Header().Set("X-Amz-Id-2", "HOST1")
		refuseWith(w, http.StatusServiceUnavailable, "SlowDown")
	})
	_, _, err := s.Get(t.Context(), "key", "", 0, -1)
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != work.Throttled || e.After != 30*time.Second || calls.Load() != 1 {
		t.Errorf("Get = %+v after %d requests; want it throttled for 30s after one", err, calls.Load())
	}
	if !strings.Contains(err.Error(), "REQ1, HOST1") {
		t.Errorf("%v does not name both ids of the request", err)
	}
}

// TestExpired sees which errors mean that credentials are no longer good.
func TestExpired(t *testing.T) {
	t.Parallel()
	fixed := func(token string) aws.CredentialsProvider {
		return credentials.NewStaticCredentialsProvider("key", "secret", token)
	}
	failing := func(err error) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, err })
	}
	for name, tt := range map[string]struct {
		code  string
		creds aws.CredentialsProvider
		want  bool
	}{
		"expired":             {"ExpiredToken", fixed("token"), true},
		"to be refreshed":     {"TokenRefreshRequired", fixed("token"), true},
		"request expired":     {"RequestExpired", fixed("token"), true},
		"session's token":     {"InvalidToken", fixed("token"), true},
		"no session":          {"InvalidToken", fixed(""), false},
		"denied":              {"AccessDenied", fixed("token"), false},
		"service":             {"", failing(&smithy.GenericAPIError{Code: "ExpiredTokenException", Message: "x"}), true},
		"single sign-on":      {"", failing(fmt.Errorf("refresh: %w", errors.New("the SSO session has expired or is invalid"))), true},
		"nothing to be found": {"", failing(errors.New("no EC2 IMDS role found")), false},
	} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) { refuseWith(w, http.StatusBadRequest, tt.code) })
		s.client.aws.Credentials = tt.creds
		_, err := s.Stat(t.Context(), "key")
		wantFault(t, name+": Stat", err, work.Denied)
		var e *storage.Error
		if errors.As(err, &e) && (e.Expired != tt.want || (e.Hint == renewHint) != tt.want && tt.code != "InvalidToken") {
			t.Errorf("%s: expired = %v with hint %q, want %v: %v", name, e.Expired, e.Hint, tt.want, err)
		}
	}
}

// TestRenewedCredentials puts fresh credentials into the configuration after
// the old ones have expired: a store that is open must find them.
func TestRenewedCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	profile := func(key string) {
		text := "[renewed]\naws_access_key_id = " + key + "\naws_secret_access_key = s\naws_session_token = t\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	profile("OLD")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=NEW/") {
			refuseWith(w, http.StatusBadRequest, "ExpiredToken")
		}
	}))
	defer srv.Close()
	s := openURL(t, "s3://b?region=us-east-1&use_path_style=true&profile=renewed&endpoint="+srv.URL)
	for range 2 {
		err := s.Delete(t.Context(), "key")
		var e *storage.Error
		if !errors.As(err, &e) || !e.Expired {
			t.Fatalf("with the old key: %v, want expired", err)
		}
	}
	profile("NEW")
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

// TestSourceErrorsPass sees that what the other store says of an error is not
// lost when it comes by way of a body.
func TestSourceErrorsPass(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {})
	cause := &storage.Error{Op: "get", Store: "other", Fault: work.Throttled, After: time.Minute, Err: errors.New("slow down")}
	_, err := s.Put(t.Context(), "key", failingBody{cause}, 10, storage.PutOptions{Sums: storage.Sums{CRC32C: make([]byte, 4)}})
	var e *storage.Error
	if !errors.As(err, &e) || e.Fault != work.Throttled || e.After != time.Minute {
		t.Errorf("Put = %+v, want it throttled for a minute", err)
	}
}

type failingBody struct{ err error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.err }

func TestParseEncryption(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]encryption{
		"":                                     {},
		"ssetype=AWS:KMS&kmskeyid=arn:aws:kms": {"aws:kms", "arn:aws:kms"},
		"kmskeyid=k":                           {"aws:kms", "k"},
		"ssetype=aes256":                       {"AES256", ""},
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseEncryption(q); err != nil || got != want {
			t.Errorf("parseEncryption(%s) = %+v, %v; want %+v", query, got, err, want)
		}
	}
	for _, raw := range []string{"s3://b?region=r&ssetype=rot13", "s3://b?region=r&ssetype=AES256&kmskeyid=k", "s3://b?region=r&role=arn:aws:iam::1:role/x"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), u, storage.Credentials{})
		wantFault(t, "Open("+raw+")", err, work.Invalid)
	}
}
