package s3store

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// wantFacts wants facts with these words in them.
func wantFacts(t *testing.T, facts []work.Fact, want map[string]string) {
	t.Helper()
	texts := make(map[string]string)
	for _, f := range facts {
		texts[f.Name] = f.Text
	}
	for name, words := range want {
		if !strings.Contains(texts[name], words) || texts[name] == "" {
			t.Errorf("fact %s is %q, want %q in it", name, texts[name], words)
		}
	}
	if len(texts) != len(want) {
		t.Errorf("the facts are %q, want those of %q", texts, want)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB) *servers.S3{"versitygw": servers.VersityGW, "minio": servers.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, server(t), "pre")
			facts, err := s.Probe(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			wantFacts(t, facts, map[string]string{
				"service": "http://127.0.0.1:", "checksums": "which the server was seen to check", "keys": "1024",
				"parts": "5 MiB to 5 GiB each but the last, at most 10000; objects up to 5 TiB", "conditional writes": "as the server has shown",
			})
			if first, err := s.first(t.Context(), ""); err != nil || first != "" {
				t.Errorf("the probe left %q, %v", first, err)
			}
		})
	}
}

// TestProbeSource sees that a source is asked for one short listing, once.
func TestProbeSource(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if q := r.URL.Query(); r.Method != http.MethodGet || q.Get("max-keys") != "1" || q.Get("prefix") != "pre/" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.Header().Set("Server", "OddServer")
		_, _ = io.WriteString(w, "<ListBucketResult/>")
	})
	for range 2 {
		facts, err := s.Probe(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		wantFacts(t, facts, map[string]string{"service": "which calls itself OddServer", "checksums": "ETag", "keys": "a leading slash"})
	}
	if calls.Load() != 1 {
		t.Errorf("the server was asked %d times, want once", calls.Load())
	}
}

// TestProbeAmazon sees that Amazon's server gets no made-up objects.
func TestProbeAmazon(t *testing.T) {
	t.Parallel()
	s := amazon(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("the probe sent %s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, "<ListBucketResult/>")
	})
	s.encrypt = encryption{"aws:kms", "k1"}
	facts, err := s.Probe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	wantFacts(t, facts, map[string]string{
		"service": "Amazon S3 in r", "checksums": "every part", "keys": "1024", "parts": "objects up to 48.8 TiB",
		"conditional writes": "kept", "encryption": "aws:kms with key k1",
	})
}

// TestProbeVersions probes a server that keeps versions and ignores conditions:
// no version of a made-up object may stay.
func TestProbeVersions(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	versions := make(map[string]string) // by their ids
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.Method {
		case http.MethodPut:
			id := "v" + strings.Repeat("x", len(versions))
			versions[id] = r.URL.Path
			w.Header().Set(versionID, id)
		case http.MethodDelete:
			delete(versions, r.URL.Query().Get("versionId"))
		default:
			_, _ = io.WriteString(w, "<ListBucketResult/>")
		}
	})
	facts, err := s.Probe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	wantFacts(t, facts, map[string]string{
		"service": "http", "checksums": "not to check", "keys": "1024", "parts": "5 TiB",
		"conditional writes": "ignores If-None-Match", "versions": "old version",
	})
	if len(versions) > 0 {
		t.Errorf("the probe left %v", versions)
	}
}

// TestProbeFails fails as every request would.
func TestProbeFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code  string
		write bool
		want  work.Fault
	}{
		{"NoSuchBucket", false, work.NotFound}, {"InvalidAccessKeyId", true, work.Denied},
		{"AccessDenied", false, work.Denied}, {"AccessDenied", true, work.Denied},
	} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) { refuseWith(w, http.StatusForbidden, tt.code) })
		_, err := s.Probe(t.Context(), tt.write)
		wantFault(t, "Probe", err, tt.want)
	}
	// A target that must not be listed can be used all the same.
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			refuseWith(w, http.StatusForbidden, "AccessDenied")
		}
	})
	if _, err := s.Probe(t.Context(), true); err != nil {
		t.Errorf("Probe of a target that must not be listed = %v", err)
	}
}

func TestKeeps(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	for _, key := range []string{"a//b", "/a", "a/../b", strings.Repeat("k", 256), strings.Repeat("k/", 600), "\xff", "", "a\x00b"} {
		wantField(t, "Keeps", s.Keeps(t.Context(), key), work.FieldKeys)
	}
	if err := s.Keeps(t.Context(), "a/b"); err != nil {
		t.Errorf("Keeps(a/b) = %v", err)
	}
	absent := openURL(t, servers.VersityGW(t).URL("no-such-bucket", ""))
	wantFault(t, "Keeps without a bucket", absent.Keeps(t.Context(), "a//b"), work.NotFound)
	put(t, s, "k/child", "x", storage.PutOptions{})
	_, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, storage.PutOptions{})
	wantField(t, "Put of a key that is a folder", err, work.FieldKeys)
}
