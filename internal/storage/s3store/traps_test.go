package s3store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"io"
	"maps"
	"runtime"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// The tests in this file are about the ways in which the Go CDK's portable
// bucket loses, changes or wastes something. Each shows that the store does
// not, and that the CDK still does: one that fails on the CDK's side says that
// a reason for this package has gone.

// portable opens the bucket of a store with the Go CDK.
func portable(t testing.TB, on *servers.S3, s *Store) *blob.Bucket {
	t.Helper()
	b, err := s3blob.OpenBucket(t.Context(), on.Client(), s.bucket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestTrapGzip reads what is stored with a content encoding. On S3 the CDK
// does so right, on other clouds it unpacks.
func TestTrapGzip(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(w, strings.Repeat("all work and no play ", 5000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	stored := zipped.String()
	put(t, s, "text", stored, storage.PutOptions{Meta: storage.Meta{ContentType: "text/plain", ContentEncoding: "gzip"}})
	wantContent(t, s, "text", stored)
	body, in, err := s.Get(t.Context(), "text", "", 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || string(got) != stored[2:12] || in.Size != int64(len(stored)) || in.Meta.ContentEncoding != "gzip" {
		t.Errorf("Get of a range = %q, %v of %d bytes as %q; want %q of %d as gzip", got, err, in.Size, in.Meta.ContentEncoding, stored[2:12], len(stored))
	}
}

// TestTrapEscapes keeps keys and metadata that look as if they were escaped.
func TestTrapEscapes(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	s := newStore(t, gw, "")
	const key = "weird__0x41__"
	user := map[string]string{"percent": "100%25", "space": "a b"}
	put(t, s, key, "content", storage.PutOptions{Meta: storage.Meta{User: user}})
	var listed []string
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		listed = append(listed, page[0].Key)
		return nil
	})
	if err != nil || strings.Join(listed, " ") != key {
		t.Errorf("List = %q, %v; want %q", listed, err, key)
	}
	wantContent(t, s, key, "content")
	if in, err := s.Stat(t.Context(), key); err != nil || !maps.Equal(in.Meta.User, user) {
		t.Errorf("Stat says %q, %v; want %q", in.Meta.User, err, user)
	}

	cdk := portable(t, gw, s)
	first, err := cdk.List(nil).Next(t.Context())
	if err != nil || first.Key != "weirdA" {
		t.Errorf("the CDK lists %+v, %v; it used to list weirdA", first, err)
	}
	if _, err := cdk.ReadAll(t.Context(), key); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("the CDK reads the key with %v; it used to find nothing", err)
	}
	put(t, s, "plain", "content", storage.PutOptions{Meta: storage.Meta{User: user}})
	if at, err := cdk.Attributes(t.Context(), "plain"); err != nil || at.Metadata["percent"] != "100%" {
		t.Errorf("the CDK reads metadata %q, %v; it used to read 100%%", at.Metadata, err)
	}
}

// canceledAfter gives up a request while its body is read.
type canceledAfter struct {
	cancel func()
	left   int64
}

func (c *canceledAfter) Read(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left <= 0 {
		c.cancel()
	}
	return len(p), nil
}

// TestTrapCanceledUpload cancels the writing of a big object: no upload may be
// left, which would be paid for until somebody looks for it. A copy in parts
// is TestCanceledCopyLeavesNoUpload.
func TestTrapCanceledUpload(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	s := newStore(t, gw, "")
	const size = 40 << 20
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Put(ctx, "big", &canceledAfter{cancel, 20 << 20}, size, storage.PutOptions{})
	wantFault(t, "Put", err, work.Transient)
	wantNoUploads(t, s)

	other := newStore(t, gw, "")
	ctx, cancel = context.WithCancel(t.Context())
	body := &canceledAfter{cancel, 30 << 20}
	err = portable(t, gw, other).Upload(ctx, "big", io.LimitReader(body, size), &blob.WriterOptions{ContentType: "a/b"})
	page, listErr := other.uploads(t.Context(), "uploads=")
	if err == nil || listErr != nil || len(page.Uploads) != 1 {
		t.Errorf("after %v the CDK leaves %d uploads, %v; it used to leave one", err, len(page.Uploads), listErr)
	}
}

// allocated returns the bytes and the allocations that each of n calls takes.
// Nothing else may run.
func allocated(t *testing.T, n int, call func() error) (bytes, objects uint64) {
	t.Helper()
	if err := call(); err != nil { // connections, pools
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / uint64(n), (after.Mallocs - before.Mallocs) / uint64(n)
}

// TestTrapMemory copies a small and a big object. What that takes must not
// depend on the size: the CDK reads the first 16 MiB of a body into memory and
// has a buffer of a MiB for every copy. It is not parallel, because it counts
// what the whole process takes.
func TestTrapMemory(t *testing.T) {
	gw := servers.VersityGW(t)
	s := newStore(t, gw, "")
	cdk := portable(t, gw, s)
	for _, tt := range []struct {
		key         string
		size        int
		rounds      int
		most, least uint64 // bytes: the store's, the CDK's
		calls       uint64 // allocations of the store's
	}{
		{"small", 16 << 10, 20, 120 << 10, 1 << 20, 600},
		{"big", 17 << 20, 2, 400 << 10, 40 << 20, 1500},
	} {
		put(t, s, tt.key, string(storagetest.Bytes(1, tt.size)), storage.PutOptions{})
		ours, calls := allocated(t, tt.rounds, func() error {
			body, in, err := s.Get(t.Context(), tt.key, "", 0, -1)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = s.Put(t.Context(), "copy", body, in.Size, storage.PutOptions{Meta: in.Meta})
			return err
		})
		theirs, _ := allocated(t, tt.rounds, func() error {
			r, err := cdk.NewReader(t.Context(), tt.key, nil)
			if err != nil {
				return err
			}
			defer r.Close()
			w, err := cdk.NewWriter(t.Context(), "copy", nil)
			if err != nil {
				return err
			}
			if _, err := io.Copy(w, r); err != nil {
				return err
			}
			return w.Close()
		})
		t.Logf("%s: a copy takes %d bytes in %d allocations, the CDK's %d bytes", tt.key, ours, calls, theirs)
		if ours > tt.most || calls > tt.calls {
			t.Errorf("%s: a copy takes %d bytes in %d allocations, want at most %d in %d", tt.key, ours, calls, tt.most, tt.calls)
		}
		if theirs < tt.least {
			t.Errorf("%s: a copy by the CDK takes %d bytes; it used to take %d at least", tt.key, theirs, tt.least)
		}
	}
}

// TestTrapMixedVersions reads an object in two ranges while it is replaced. The
// CDK has no way to pin the version, nor to copy between buckets, to store in
// parts, or to say tags, class and checksums.
func TestTrapMixedVersions(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	s := newStore(t, gw, "")
	in := put(t, s, "key", strings.Repeat("a", 100), storage.PutOptions{})
	cdk := portable(t, gw, s)
	half := func(off int64) string {
		r, err := cdk.NewRangeReader(t.Context(), "key", off, 50, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := half(0)
	put(t, s, "key", strings.Repeat("b", 100), storage.PutOptions{})
	_, _, err := s.Get(t.Context(), "key", in.ETag, 50, 50)
	wantFault(t, "Get of the version that is gone", err, work.SrcChanged)
	if got := first + half(50); got != strings.Repeat("a", 50)+strings.Repeat("b", 50) {
		t.Errorf("the CDK reads %q; it used to mix two versions", got)
	}
}

// TestTrapBucketToBucket lets the server copy from another bucket, which the
// CDK can only do by reading and writing.
func TestTrapBucketToBucket(t *testing.T) {
	t.Parallel()
	gw := servers.VersityGW(t)
	src, dst := newStore(t, gw, ""), newStore(t, gw, "")
	in := put(t, src, "key"+rand.Text(), "content", storage.PutOptions{})
	if _, err := dst.CopyFrom(t.Context(), "copy", src, in, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, dst, "copy", "content")
	if err := portable(t, gw, dst).Copy(t.Context(), "again", in.Key, nil); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("the CDK copies from another bucket with %v; it used to look in its own", err)
	}
}
