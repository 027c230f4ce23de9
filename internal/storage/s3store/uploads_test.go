package s3store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// once hides that a body can be read again.
type once struct{ io.Reader }

// TestPartOfAbortedUpload sends parts to servers that refuse them and hang up
// before they are heard.
func TestPartOfAbortedUpload(t *testing.T) {
	t.Parallel()
	content := storagetest.Bytes(1, 6<<20)
	bodies := map[string]func() io.Reader{
		"seeker": func() io.Reader { return bytes.NewReader(content) },
		"stream": func() io.Reader { return once{bytes.NewReader(content)} },
	}
	deaf := liar(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			refuseWith(w, http.StatusNotFound, "NoSuchUpload")
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // a reset, not an end
			t.Error(err)
		}
		conn.Close()
	})
	for name, body := range bodies {
		_, err := deaf.PutPart(t.Context(), storage.Upload{Key: "key", ID: "CRC32C/1"}, 1, body(), int64(len(content)), storage.Sums{})
		wantFault(t, "PutPart of a "+name, err, work.NotFound)
	}

	real := newStore(t, servers.VersityGW(t), "")
	u, err := real.Begin(t.Context(), "key", int64(len(content)), int64(len(content)), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := real.Abort(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	for name, body := range bodies {
		for range 10 {
			_, err := real.PutPart(t.Context(), u, 1, body(), int64(len(content)), storage.Sums{})
			wantFault(t, "PutPart of a "+name, err, work.NotFound)
		}
	}
}

// TestPartOfLivingUpload breaks the connection under a part whose upload is
// there: that is the network's fault, and no other.
func TestPartOfLivingUpload(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked.Add(1)
			_, _ = io.WriteString(w, "<ListPartsResult/>")
			return
		}
		panic(http.ErrAbortHandler)
	})
	_, err := s.PutPart(t.Context(), storage.Upload{Key: "key", ID: "/1"}, 1, once{strings.NewReader("x")}, 1, storage.Sums{})
	wantFault(t, "PutPart", err, work.Transient)
	if asked.Load() != 1 {
		t.Errorf("the server was asked for the upload %d times, want once", asked.Load())
	}
}

// TestBigParts stores parts that are larger than what some servers take in one
// chunk, from bodies that can be read once.
func TestBigParts(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB) *servers.S3{"versitygw": servers.VersityGW, "minio": servers.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, server(t), "")
			content := storagetest.Bytes(1, 18<<20+123)
			const part = 17<<20 + 5
			u, err := s.Begin(t.Context(), "big", int64(len(content)), part, storage.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			whole := storage.NewDigest(storage.CRC32C)
			var parts []storage.Part
			for c := range slices.Chunk(content, part) {
				p, err := s.PutPart(t.Context(), u, len(parts)+1, once{bytes.NewReader(c)}, int64(len(c)), storage.Sums{})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = whole.Write(c) // never fails
				parts = append(parts, p)
			}
			in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{Sums: whole.Sums()})
			if err != nil || !bytes.Equal(in.Sums.CRC32C, whole.Sums().CRC32C) {
				t.Errorf("Commit = %+v, %v; want the CRC32C %x", in, err, whole.Sums().CRC32C)
			}
			put := storagetest.Bytes(2, 17<<20)
			if _, err := s.Put(t.Context(), "put", once{bytes.NewReader(put)}, int64(len(put)), storage.PutOptions{}); err != nil {
				t.Errorf("Put = %v", err)
			}
			wantContent(t, s, "put", string(put))
		})
	}
}

// TestAbortUntilGone aborts uploads whose parts come back, and one on a server
// that never says that there is none.
func TestAbortUntilGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lingers int32 // how many aborts it takes
		content bool  // to abort what is not there
		want    work.Fault
		aborts  int32
	}{
		"at once":           {lingers: 1, aborts: 2},
		"a part came later": {lingers: 3, aborts: 3},
		"content":           {lingers: 1, content: true, aborts: 2},
		"content, later":    {lingers: 3, content: true, aborts: 3},
		"for ever":          {lingers: 99, want: work.Transient, aborts: aborts},
	} {
		var told atomic.Int32
		s := liar(t, func(w http.ResponseWriter, r *http.Request) {
			gone := told.Load() >= tt.lingers
			if r.Method == http.MethodDelete {
				told.Add(1)
				gone = gone && !tt.content
			}
			if gone {
				refuseWith(w, http.StatusNotFound, "NoSuchUpload")
			} else if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, "<ListPartsResult/>")
			}
		})
		err := s.Abort(t.Context(), storage.Upload{Key: "key", ID: "/1"})
		if storage.FaultOf(err) != tt.want || told.Load() != tt.aborts {
			t.Errorf("%s: Abort = %v after %d requests; want the fault %q after %d", name, err, told.Load(), tt.want, tt.aborts)
		}
	}
	s := liar(t, func(w http.ResponseWriter, r *http.Request) { refuseWith(w, http.StatusNotFound, "NoSuchBucket") })
	wantFault(t, "Abort without a bucket", s.Abort(t.Context(), storage.Upload{Key: "key", ID: "/1"}), work.NotFound)
}

// TestPending finds uploads of one key among those of others, on several pages.
func TestPending(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "pre")
	begin := func(key string) string {
		u, err := s.Begin(t.Context(), key, 1, 5<<20, storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return u.ID
	}
	want := []string{begin("k"), begin("k")}
	full := begin("k")
	begin("k2")
	if _, err := s.PutPart(t.Context(), storage.Upload{Key: "k", ID: full}, 1, strings.NewReader("x"), 1, storage.Sums{}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Pending(t.Context(), "k")
	if err != nil || len(got) != 2 {
		t.Fatalf("Pending = %+v, %v; want the uploads %q", got, err, want)
	}
	for _, u := range got {
		if u.Key != "k" || !slices.Contains(want, u.ID) {
			t.Errorf("Pending found %+v, want the uploads %q", u, want)
		}
		if err := s.Abort(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Pending(t.Context(), "k"); err != nil || len(got) > 0 {
		t.Errorf("Pending after aborts = %+v, %v", got, err)
	}
}

func TestPendingPages(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":  "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/a+b</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker><Upload><Key>pre/a+b</Key><UploadId>1</UploadId></Upload>",
		"1": "<IsTruncated>true</IsTruncated><NextKeyMarker>pre/a+bc</NextKeyMarker><NextUploadIdMarker>3</NextUploadIdMarker><Upload><Key>pre/a+b</Key><UploadId>2</UploadId></Upload><Upload><Key>pre/a+bc</Key><UploadId>3</UploadId></Upload>",
	}
	var mu sync.Mutex
	asked := 0
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if id := q.Get("uploadId"); id != "" {
			if id == "3" {
				t.Error("another key's upload was looked at")
			}
			_, _ = io.WriteString(w, "<ListPartsResult/>")
			return
		}
		mu.Lock()
		defer mu.Unlock()
		asked++
		page, ok := pages[q.Get("upload-id-marker")]
		if !ok || q.Get("prefix") != "pre/a b" || q.Get("upload-id-marker") != "" && q.Get("key-marker") != "pre/a b" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprintf(w, "<R><EncodingType>url</EncodingType>%s</R>", page)
	})
	got, err := s.Pending(t.Context(), "a b")
	want := []storage.Upload{{Key: "a b", ID: "/1"}, {Key: "a b", ID: "/2"}}
	if err != nil || !slices.Equal(got, want) || asked != 2 {
		t.Errorf("Pending = %+v, %v after %d pages; want %+v after 2", got, err, asked, want)
	}
}

// TestPendingUntold sees that a server that does not say what is pending holds
// nothing up, and that one that fails does.
func TestPendingUntold(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]work.Fault{
		"NotImplemented": "", "AccessDenied": "", "ExpiredToken": work.Denied, "NoSuchBucket": work.NotFound,
	} {
		s := liar(t, func(w http.ResponseWriter, r *http.Request) { refuseWith(w, http.StatusBadRequest, code) })
		got, err := s.Pending(t.Context(), "key")
		if storage.FaultOf(err) != want || len(got) > 0 {
			t.Errorf("Pending after %s = %v, %v; want the fault %q", code, got, err, want)
		}
	}
}

// TestCanceledCopyLeavesNoUpload cancels a copy in parts.
func TestCanceledCopyLeavesNoUpload(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	put(t, real, "from", string(storagetest.Bytes(1, 6<<20)), storage.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	s := between(t, real, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == "2" {
			cancel()
			panic(http.ErrAbortHandler)
		}
		return false
	}, nil)
	s.client.maxCopy, s.client.copyPart = 5<<20, 5<<20
	in, err := s.Stat(ctx, "from")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.CopyFrom(ctx, "to", s, in, storage.PutOptions{})
	wantFault(t, "CopyFrom", err, work.Transient)
	wantNoUploads(t, real)
}

// wantNoUploads looks behind the store for uploads that nobody will finish.
func wantNoUploads(t *testing.T, s *Store) {
	t.Helper()
	page, err := s.uploads(t.Context(), "uploads=")
	if err != nil || len(page.Uploads) > 0 {
		t.Errorf("the bucket has uploads %+v, %v; want none", page.Uploads, err)
	}
}
