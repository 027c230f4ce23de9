package s3store

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestCommitAnswerLost loses the answer to a commit that was done. The repeat
// finds no upload, as on most servers, and must find the object instead.
func TestCommitAnswerLost(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	var commits atomic.Int32
	isCommit := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	s := between(t, real, func(w http.ResponseWriter, r *http.Request) bool {
		again := isCommit(r) && commits.Add(1) > 1
		if again {
			refuseWith(w, http.StatusNotFound, "NoSuchUpload")
		}
		return again
	}, func(resp *http.Response) error {
		if isCommit(resp.Request) {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	content := storagetest.Bytes(1, 6<<20)
	u, err := s.Begin(t.Context(), "big", int64(len(content)), 5<<20, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []storage.Part
	for i, c := range [][]byte{content[:5<<20], content[5<<20:]} {
		p, err := s.PutPart(t.Context(), u, i+1, bytes.NewReader(c), int64(len(c)), storage.Sums{})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if err != nil || in.Size != int64(len(content)) || commits.Load() != 2 {
		t.Errorf("Commit = %+v, %v, after %d tries; want the object that is there", in, err, commits.Load())
	}
	wantContent(t, real, "big", string(content))
}

// TestPlainUpload stores in parts on a server that knows no checksums.
func TestPlainUpload(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	content := storagetest.Bytes(1, 6<<20)
	u, err := s.begin(t.Context(), "big", int64(len(content)), 5<<20, storage.Meta{ContentType: "video/mp4"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var parts []storage.Part
	for i, c := range [][]byte{content[:5<<20], content[5<<20:]} {
		d := storage.NewDigest(storage.MD5)
		_, _ = d.Write(c) // never fails
		p, err := s.PutPart(t.Context(), u, i+1, bytes.NewReader(c), int64(len(c)), d.Sums())
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
		_, err = s.PutPart(t.Context(), u, i+1, strings.NewReader("other"), 5, d.Sums())
		wantFault(t, "PutPart with a wrong MD5", err, work.Corrupt)
	}
	if _, err := s.Commit(t.Context(), u, parts, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "big", string(content))
}

// TestCommitChecksTheWhole hands in a wrong checksum of the whole.
func TestCommitChecksTheWhole(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	content := storagetest.Bytes(1, 1000)
	d := storage.NewDigest(storage.CRC32C)
	_, _ = d.Write(content) // never fails
	for _, right := range []bool{false, true} {
		sums := d.Sums()
		if !right {
			sums.CRC32C = []byte("lies")
		}
		u, err := s.Begin(t.Context(), "big", 1000, 5<<20, storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.PutPart(t.Context(), u, 1, io.MultiReader(bytes.NewReader(content)), 1000, storage.Sums{})
		if err != nil || !bytes.Equal(p.Sums.CRC32C, d.Sums().CRC32C) {
			t.Fatalf("PutPart = %+v, %v; want the server's CRC32C", p, err)
		}
		in, err := s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{Sums: sums})
		if !right {
			wantFault(t, "Commit with a wrong CRC32C", err, work.Corrupt)
			_, err = s.Stat(t.Context(), "big")
			wantFault(t, "Stat", err, work.NotFound)
			continue
		}
		if err != nil || !bytes.Equal(in.Sums.CRC32C, sums.CRC32C) {
			t.Errorf("Commit = %+v, %v; want the server's CRC32C", in, err)
		}
	}
}

// TestCommitOfForeignParts names parts otherwise than the server holds them: the
// upload is of no use any more, but the object is.
func TestCommitOfForeignParts(t *testing.T) {
	t.Parallel()
	s := newStore(t, servers.VersityGW(t), "")
	u, err := s.Begin(t.Context(), "big", 4, 5<<20, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.PutPart(t.Context(), u, 1, strings.NewReader("1234"), 4, storage.Sums{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPart(t.Context(), u, 1, strings.NewReader("5678"), 4, storage.Sums{}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(t.Context(), u, []storage.Part{old}, storage.PutOptions{})
	wantFault(t, "Commit of a part that was stored again", err, work.NotFound)

	for code, want := range map[string]work.Fault{
		"InvalidPart": work.NotFound, "InvalidPartOrder": work.NotFound, "EntityTooSmall": work.Invalid,
	} {
		s := liar(t, func(w http.ResponseWriter, _ *http.Request) { refuseWith(w, http.StatusBadRequest, code) })
		u := storage.Upload{Key: "big", ID: "/1", Size: 4, Part: 5 << 20}
		_, err := s.Commit(t.Context(), u, []storage.Part{{N: 1, Size: 4, Tag: "tag"}}, storage.PutOptions{})
		wantFault(t, "Commit after "+code, err, want)
		_, err = s.PutPart(t.Context(), u, 1, strings.NewReader("1234"), 4, storage.Sums{})
		wantFault(t, "PutPart after "+code, err, work.Invalid)
	}
}
