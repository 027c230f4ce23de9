package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
)

// These tests show why file:// has a store of its own: gocloud's file bucket
// loses data in both. If one of them fails for the bucket, it has been mended,
// and the reason is gone.

func bucket(t *testing.T, folder string) *blob.Bucket {
	t.Helper()
	b, err := fileblob.OpenBucket(folder, &fileblob.Options{NoTempDir: true})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return b
}

// TestTrapTruncatedUpload overwrites an object from a source that breaks off.
func TestTrapTruncatedUpload(t *testing.T) {
	t.Parallel()
	good := storagetest.Bytes(1, 4000)
	cause := errors.New("the source broke off")
	after := func(upload func(ctx context.Context, folder string, body io.Reader) error) []byte {
		t.Helper()
		folder := t.TempDir()
		must(t, os.WriteFile(filepath.Join(folder, "key"), good, 0o644))
		body := io.MultiReader(bytes.NewReader([]byte("short")), iotest.ErrReader(cause))
		if err := upload(t.Context(), folder, body); !errors.Is(err, cause) {
			t.Errorf("the upload = %v, want the source's error", err)
		}
		got, err := os.ReadFile(filepath.Join(folder, "key"))
		must(t, err)
		return got
	}
	ours := after(func(ctx context.Context, folder string, body io.Reader) error {
		_, err := open(t, folder, "").Put(ctx, "key", body, 4000, storage.PutOptions{})
		return err
	})
	if !bytes.Equal(ours, good) {
		t.Errorf("our store left %d bytes in the place of %d", len(ours), len(good))
	}
	theirs := after(func(ctx context.Context, folder string, body io.Reader) error {
		return bucket(t, folder).Upload(ctx, "key", body, &blob.WriterOptions{ContentType: "text/plain"})
	})
	if string(theirs) != "short" {
		t.Errorf("gocloud's bucket left %d bytes: the trap is gone", len(theirs))
	}
}

// TestTrapLostEntries lists a folder beside siblings whose names sort between
// its own name and what is in it, over the end of a page.
func TestTrapLostEntries(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must(t, os.Mkdir(filepath.Join(folder, "a"), 0o755))
	want := []string{"a-b", "a.txt"}
	for i := range 1501 {
		want = append(want, fmt.Sprintf("a/%04d", i))
	}
	for _, key := range want {
		must(t, os.WriteFile(filepath.Join(folder, key), nil, 0o644))
	}
	slices.Sort(want)
	wantList(t, open(t, folder, ""), want...)

	theirs := map[string]bool{}
	for it := bucket(t, folder).List(nil); ; {
		obj, err := it.Next(t.Context())
		if err == io.EOF {
			break
		}
		must(t, err)
		theirs[obj.Key] = true
	}
	if theirs["a-b"] || theirs["a.txt"] || len(theirs) != 1501 {
		t.Errorf("gocloud's bucket lists %d of %d objects: the trap is gone", len(theirs), len(want))
	}
}
