package azurestore

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// plain opens a container as the Go CDK does for anybody.
func plain(t *testing.T, url, account, key string) *blob.Bucket {
	t.Helper()
	shared, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(url, shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := azureblob.OpenBucket(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// plainOf opens the container of a store as the Go CDK does.
func plainOf(t *testing.T, s *Store) *blob.Bucket {
	one, _ := azurite(t)
	return plain(t, s.container.URL(), one.Name, one.Key)
}

// TestFailedUploadPanics stores in a container that is not there. The Go CDK's
// writer then ends the process, which a process of its own shows.
func TestFailedUploadPanics(t *testing.T) {
	if url := os.Getenv("TEST_CDK_CONTAINER"); url != "" {
		w, err := plain(t, url, os.Getenv("TEST_CDK_ACCOUNT"), os.Getenv("TEST_CDK_KEY")).NewWriter(t.Context(), "key", nil)
		if err == nil {
			_, err = w.Write([]byte("x"))
		}
		if err == nil {
			err = w.Close()
		}
		t.Fatalf("the writer ended with %v", err)
	}
	t.Parallel()
	one, _ := azurite(t)
	s := openURL(t, one.URL("no-such-container", ""))
	for _, size := range []int{1, maxWhole + 1} {
		_, err := s.Put(t.Context(), "key", bytes.NewReader(make([]byte, size)), int64(size), storage.PutOptions{})
		wantFault(t, "Put into no container", err, work.NotFound)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailedUploadPanics$")
	child.Env = append(os.Environ(), "TEST_CDK_CONTAINER="+s.container.URL(), "TEST_CDK_ACCOUNT="+one.Name, "TEST_CDK_KEY="+one.Key)
	out, err := child.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nil pointer dereference") {
		t.Logf("the Go CDK does not panic any more: %v\n%s", err, out)
	}
}

// TestGzip stores what HTTP clients like to decompress.
func TestGzip(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 60_000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := put(t, s, "a", packed.String(), storage.PutOptions{Meta: storage.Meta{ContentEncoding: "gzip", ContentType: "text/plain"}})
	for _, off := range []int64{0, 10} {
		body, got, err := s.Get(t.Context(), "a", in.ETag, off, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(text, packed.Bytes()[off:]) || got.Size != int64(packed.Len()) {
			t.Errorf("from %d: read %d bytes of %d, %v, want the %d that were stored", off, len(text), got.Size, err, packed.Len())
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if text, err := plainOf(t, s).ReadAll(t.Context(), "a"); err == nil && len(text) == packed.Len() {
		t.Log("the Go CDK does not decompress any more")
	}
}

// TestNamesAsTheyAre stores under keys that the Go CDK would change.
func TestNamesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	keys := []string{`a"b#c%d?e`, "folder/", "weird__0x41__"}
	for _, key := range keys {
		put(t, s, key, "", storage.PutOptions{Meta: storage.Meta{User: map[string]string{"percent": "100%25", "name__0x41__": "b"}}})
	}
	if got := keysOf(t, s, work.Range{}); strings.Join(got, " ") != strings.Join(keys, " ") {
		t.Errorf("List = %q, want %q", got, keys)
	}
	in, err := s.Stat(t.Context(), "folder/")
	if err != nil || in.Meta.User["percent"] != "100%25" || in.Meta.User["name__0x41__"] != "b" {
		t.Errorf("Stat = %q, %v; want the metadata as it was given", in.Meta.User, err)
	}
	theirs := plainOf(t, s)
	if _, err := theirs.Attributes(t.Context(), "weird__0x41__"); err == nil {
		t.Log("the Go CDK does not escape keys any more")
	}
}
