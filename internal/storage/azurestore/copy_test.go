package azurestore

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestCopyBetweenAccounts copies with a signature for the source's account.
func TestCopyBetweenAccounts(t *testing.T) {
	t.Parallel()
	src := newStore(t, "from")
	_, two := azurite(t)
	name := "test-" + strings.ToLower(rand.Text())
	two.CreateContainer(t, name)
	dst := openURL(t, two.URL(name, "to"))
	meta := storage.Meta{ContentType: "text/css", CacheControl: "no-cache", User: map[string]string{"a": "100%25", "mtime": "12.5"}, Tags: map[string]string{"x": "y z"}}
	put(t, src, "a b", "content", storage.PutOptions{Meta: meta})
	in, err := src.Stat(t.Context(), "a b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{Meta: storage.Meta{Class: "Cool"}}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, dst, "copy", "content")
	out, err := dst.Stat(t.Context(), "copy")
	if err != nil || out.Meta.ContentType != "text/css" || out.Meta.CacheControl != "no-cache" || out.Meta.User["a"] != "100%25" ||
		!out.Meta.ModTime.Equal(in.Meta.ModTime) || in.Meta.ModTime.IsZero() || out.Meta.Class != "Cool" {
		t.Errorf("the copy has %+v, %v; want the metadata %+v", out.Meta, err, in.Meta)
	}
	if tags, err := dst.Tags(t.Context(), "copy"); err != nil || tags["x"] != "y z" {
		t.Errorf("the copy has tags %q, %v", tags, err)
	}
}

// byURL adds to an Azurite what it lacks: blocks and objects that the service
// reads from a URL.
func byURL(t *testing.T, s *Store) *Store {
	t.Helper()
	behind, err := url.Parse(s.pool.origin)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("x-ms-copy-source")
		if from == "" || r.Header.Get("x-ms-requires-sync") != "" {
			proxy.ServeHTTP(w, r)
			return
		}
		get, err := http.NewRequestWithContext(r.Context(), http.MethodGet, from, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if part := r.Header.Get("x-ms-source-range"); part != "" {
			get.Header.Set("x-ms-range", part)
		}
		get.Header.Set("If-Match", r.Header.Get("x-ms-source-if-match"))
		resp, err := http.DefaultClient.Do(get)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode/100 != 2 {
			w.Header().Set("x-ms-error-code", "CannotVerifyCopySource")
			w.WriteHeader(resp.StatusCode)
			return
		}
		body := streaming.NopCloser(bytes.NewReader(content))
		key := r.URL.Path[strings.Index(r.URL.Path, s.bucketName())+len(s.bucketName())+1:]
		if r.URL.Query().Get("comp") == "block" {
			_, err = s.container.NewBlockBlobClient(key).StageBlock(r.Context(), r.URL.Query().Get("blockid"), body, nil)
		} else {
			_, err = s.container.NewBlockBlobClient(key).Upload(r.Context(), body, nil)
		}
		if err != nil {
			t.Errorf("store what was read: %v", err)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(srv.Close)
	one, _ := azurite(t)
	return openURL(t, fmt.Sprintf("azblob://%s/%s?storage_account=%s&protocol=http&localemu=true&domain=%s",
		s.bucketName(), s.prefix, one.Name, strings.TrimPrefix(srv.URL, "http://")))
}

// TestCopyByURL copies whole and in blocks.
func TestCopyByURL(t *testing.T) {
	src := newStore(t, "from")
	dst := byURL(t, newStore(t, "to"))
	content := storagetest.Bytes(1, 300_000)
	put(t, src, "big", string(content), storage.PutOptions{Meta: storage.Meta{ContentType: "video/mp4"}})
	in, err := src.Stat(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	whole, part := maxCopy, copyPart
	t.Cleanup(func() { maxCopy, copyPart = whole, part })
	for range 2 {
		out, err := dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{})
		if err != nil || out.Size != in.Size {
			t.Fatalf("CopyFrom = %+v, %v", out, err)
		}
		wantContent(t, dst, "copy", string(content))
		stale := in
		stale.ETag = "0x1"
		_, err = dst.CopyFrom(t.Context(), "copy", src, stale, storage.PutOptions{})
		wantFault(t, "CopyFrom of another version", err, work.SrcChanged)
		maxCopy, copyPart = 100, 70_000
	}
	st, err := dst.Stat(t.Context(), "copy")
	if err != nil || st.Meta.ContentType != "video/mp4" {
		t.Errorf("Stat of the copy in blocks = %+v, %v; want the source's headers", st, err)
	}
	list, err := dst.blob("copy").GetBlockList(t.Context(), "committed", nil)
	if err != nil || len(list.CommittedBlocks) != 5 {
		t.Errorf("the copy has %d blocks, %v; want 5", len(list.CommittedBlocks), err)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s := newStore(t, "p")
	for _, write := range []bool{false, true} {
		facts, err := s.Probe(t.Context(), write)
		text := fmt.Sprint(facts)
		if err != nil || !strings.Contains(text, "from the start only") || strings.Contains(text, "md5 of a whole body") != write {
			t.Errorf("Probe(%v) = %s, %v", write, text, err)
		}
	}
	if left := keysOf(t, s, work.Range{}); len(left) > 0 {
		t.Errorf("the probe left %q", left)
	}
	one, _ := azurite(t)
	_, err := openURL(t, one.URL("no-such-container", "")).Probe(t.Context(), true)
	wantFault(t, "Probe of no container", err, work.NotFound)
}
