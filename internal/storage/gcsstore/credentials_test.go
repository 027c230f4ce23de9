package gcsstore

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gcs "cloud.google.com/go/storage"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// serviceAccount makes a key of a service account whose tokens come from a
// server of the test's, and has the environment name it.
func serviceAccount(t *testing.T, tokens http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(tokens)
	t.Cleanup(server.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "agent@example.com", "token_uri": server.URL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	must(t, err)
	file := filepath.Join(t.TempDir(), "key.json")
	must(t, os.WriteFile(file, text, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
}

// TestOwnCredentials has stores with credentials of their own in one process.
func TestOwnCredentials(t *testing.T) {
	serviceAccount(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"own-token","token_type":"Bearer","expires_in":3600}`)
	})
	key, err := os.ReadFile(os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
	must(t, err)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	with := func(values map[string]string) (*Store, error) {
		return openAt(t.Context(), &url.URL{Scheme: "gs", Host: "bucket"}, storage.NewCredentials(values), "")
	}
	s, err := with(map[string]string{"credentials_json": string(key)})
	must(t, err)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer own-token" {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(service.Close)
	resp, err := s.client.http.Get(service.URL)
	must(t, err)
	must(t, resp.Body.Close())
	nobody, err := with(map[string]string{"anonymous": "true"})
	must(t, err)
	if !nobody.client.options.anonymous || nobody.client == s.client {
		t.Error("a store that is to be anonymous is not")
	}
	must(t, s.Close())
	must(t, nobody.Close())
	for _, wrong := range []string{"hush", `{"type":"hush"}`, `"hush`} {
		if _, err := with(map[string]string{"credentials_json": wrong}); !storage.Is(err, work.Denied) || strings.Contains(err.Error(), "hush") {
			t.Errorf("with %s: %v, want it denied without the text", wrong, err)
		}
	}
	if _, err := with(map[string]string{"credentials_file": "/hush"}); !storage.Is(err, work.Invalid) || strings.Contains(err.Error(), "hush") {
		t.Errorf("with an unknown credential: %v", err)
	}
}

// A URL that names another universe would have the token sent to a stranger.
func TestUniverseOfAStranger(t *testing.T) {
	serviceAccount(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	key, err := os.ReadFile(os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
	must(t, err)
	elsewhere := strings.Replace(string(key), "{", `{"universe_domain":"apis.example.eu",`, 1)
	for _, tt := range []struct {
		query, key string // empty: the environment's
		base       string // empty: refused
	}{
		{"", "", "https://storage.googleapis.com"},
		{"universe_domain=googleapis.com", "", "https://storage.googleapis.com"},
		{"universe_domain=evil.example", "", ""},
		{"universe_domain=evil.example/x", "", ""},
		{"universe_domain=evil.example", string(key), ""},
		{"", elsewhere, "https://storage.apis.example.eu"},
		{"universe_domain=apis.example.eu", elsewhere, "https://storage.apis.example.eu"},
		{"universe_domain=googleapis.com", elsewhere, ""},
	} {
		var c storage.Credentials
		if tt.key != "" {
			c = storage.NewCredentials(map[string]string{"credentials_json": tt.key})
		}
		s, err := openAt(t.Context(), &url.URL{Scheme: "gs", Host: "bucket", RawQuery: tt.query}, c, "")
		switch {
		case err != nil && (tt.base != "" || !storage.Is(err, work.Denied) || !strings.Contains(err.Error(), "sent nowhere else")):
			t.Errorf("%s: %v, want it at %s", tt.query, err, tt.base)
		case err == nil && s.client.base != tt.base:
			t.Errorf("%s: the service is at %s, want %q", tt.query, s.client.base, tt.base)
		}
		if err == nil {
			must(t, s.Close())
		}
	}
}

// TestExpired is refused a token.
func TestExpired(t *testing.T) {
	serviceAccount(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Invalid JWT: token is too old"}`)
	})
	s := openURL(t, "gs://bucket/pre", "")
	if s.client.base != "https://storage.googleapis.com" {
		t.Errorf("the service is at %s", s.client.base)
	}
	if other := openURL(t, "gs://other", ""); other.client != s.client {
		t.Error("two stores under one identity do not share their connections")
	}
	_, err := s.Stat(t.Context(), "key")
	_, stored := s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{})
	for what, err := range map[string]error{"Stat": err, "Put": stored, "List": s.List(t.Context(), work.Range{}, nil)} {
		if e := wantFault(t, what, err, work.Denied); !e.Expired || e.Hint == "" {
			t.Errorf("%s = %+v, want it to say that the credentials have expired", what, e)
		}
	}
}

// TestToken looks that all kinds of requests bring the token.
func TestToken(t *testing.T) {
	serviceAccount(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600}`)
	})
	var mu sync.Mutex // of a pinned Get, two requests are under way at once
	asked := make(map[string]bool)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		mu.Lock()
		asked[kind] = r.Header.Get("Authorization") == "Bearer the-token"
		mu.Unlock()
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(service.Close)
	c, err := newClient(t.Context(), options{})
	must(t, err)
	c.base = service.URL
	native, err := gcs.NewClient(t.Context(), c.native()...)
	must(t, err)
	s := &Store{client: c, bucket: "bucket", prefix: "pre/", gcs: native}
	_, _, err = s.Get(t.Context(), "key", "7", 0, -1)
	wantFault(t, "Get", err, work.Denied)
	_, err = s.Put(t.Context(), "key", strings.NewReader("x"), 1, storage.PutOptions{})
	wantFault(t, "Put", err, work.Denied)
	mu.Lock()
	defer mu.Unlock()
	for _, kind := range []string{"storage", "upload", "bucket"} {
		if !asked[kind] {
			t.Errorf("requests to /%s brought no token", kind)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	_, err := openAt(t.Context(), &url.URL{Scheme: "gs", Host: "bucket"}, storage.Credentials{}, "")
	if e := wantFault(t, "Open", err, work.Denied); e.Hint != hintCredentials {
		t.Errorf("Open = %v, want a hint", e)
	}
}
