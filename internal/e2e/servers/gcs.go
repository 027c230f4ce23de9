package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
)

// A GCS is a fake-gcs-server: it speaks the JSON API of Google Cloud Storage
// and some of the XML API, keeps everything in memory and asks for no
// credentials.
type GCS struct {
	Endpoint string // host:port, as STORAGE_EMULATOR_HOST wants it
}

// emulatorVariable is what makes Google's clients, and ours, use an emulator.
const emulatorVariable = "STORAGE_EMULATOR_HOST"

var fakeGCS = &kind{name: "fake-gcs-server", program: built("fake-gcs-server"),
	plan: func(address, _ string) (server, []string, []string, error) {
		host, port, err := net.SplitHostPort(address)
		return &GCS{Endpoint: address}, []string{"-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
			"-public-host", address, "-external-url", "http://" + address, "-log-level", "error"}, nil, err
	},
}

// FakeGCS returns the test binary's fake-gcs-server. While it runs,
// STORAGE_EMULATOR_HOST is set for this process and its children, so that URLs
// such as gs://bucket work as they are.
func FakeGCS(tb testing.TB) *GCS {
	tb.Helper()
	return fakeGCS.use(tb).(*GCS)
}

func (g *GCS) share() error { return os.Setenv(emulatorVariable, g.Endpoint) }

func (g *GCS) forget() {
	_ = os.Unsetenv(emulatorVariable) // fails for impossible names alone
}

func (g *GCS) ping(ctx context.Context) error {
	return g.send(ctx, http.MethodGet, "/storage/v1/b?project=test", nil)
}

// CreateBucket creates a bucket; one that is there already is no error.
func (g *GCS) CreateBucket(tb testing.TB, name string) {
	tb.Helper()
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		tb.Fatal(err)
	}
	if err := g.send(tb.Context(), http.MethodPost, "/storage/v1/b?project=test", body); err != nil {
		tb.Fatalf("create bucket %s: %v", name, err)
	}
}

// URL returns the store URL of a prefix in a bucket.
func (g *GCS) URL(bucket, prefix string) string {
	u := url.URL{Scheme: "gs", Host: bucket, Path: "/" + prefix}
	return u.String()
}

func (g *GCS) send(ctx context.Context, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}
