package azurestore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// upload stores content in parts and returns what Commit needs.
func upload(t *testing.T, s *Store, key string, part int, content []byte) (storage.Upload, []storage.Part) {
	t.Helper()
	u, err := s.Begin(t.Context(), key, int64(len(content)), int64(part), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []storage.Part
	for off := 0; off < len(content); off += part {
		c := content[off:min(off+part, len(content))]
		p, err := s.PutPart(t.Context(), u, len(parts)+1, io.MultiReader(bytes.NewReader(c)), int64(len(c)), storage.Sums{})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	return u, parts
}

func truth(content []byte) storage.Sums {
	d := storage.NewDigest(allSums)
	d.Write(content)
	return d.Sums()
}

// uncommitted counts the blocks that wait under a key; -1: there is nothing.
func uncommitted(t *testing.T, s *Store, key string) int {
	t.Helper()
	list, err := s.blob(key).GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil)
	if faultOf(err) == work.NotFound {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(list.UncommittedBlocks)
}

// telling returns the store behind a service that tells the CRC64 of every
// block, as Azurite does not. lies makes it tell another.
func telling(t *testing.T, s *Store, lies *atomic.Bool) *Store {
	t.Helper()
	behind, err := url.Parse(s.pool.origin)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("comp") == "block" {
			content, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			if r.Body = io.NopCloser(bytes.NewReader(content)); lies.Load() {
				content = nil
			}
			sum := truth(content).CRC64NVME
			slices.Reverse(sum)
			w.Header().Set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(sum))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	one, _ := azurite(t)
	return openURL(t, fmt.Sprintf("azblob://%s/%s?storage_account=%s&protocol=http&localemu=true&domain=%s",
		s.bucketName(), s.prefix, one.Name, strings.TrimPrefix(srv.URL, "http://")))
}

// TestPartsVouch stores parts of which some are streamed and some kept in
// memory, and looks what is vouched for of the whole.
func TestPartsVouch(t *testing.T) {
	t.Parallel()
	var lies atomic.Bool
	s := telling(t, newStore(t, ""), &lies)
	content := storagetest.Bytes(1, 2*maxWhole+1000)
	u, parts := upload(t, s, "big", maxWhole+1, content)
	const both = storage.CRC32C | storage.CRC64NVME
	for _, p := range parts {
		if p.Sums.Algos() != both {
			t.Errorf("part %d has sums %+v, want %v", p.N, p.Sums, both)
		}
		if len(p.Tag) > 32 {
			t.Errorf("tag %q is longer than a finish item has room for", p.Tag)
		}
	}
	wrong := storage.PutOptions{Sums: storage.Sums{CRC32C: []byte("lies")}}
	_, err := s.Commit(t.Context(), u, parts, wrong)
	wantFault(t, "Commit with a wrong CRC32C", err, work.Corrupt)
	in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	if _, differ := in.Sums.Compare(truth(content)); err != nil || in.Sums.Algos() != both || differ != 0 {
		t.Fatalf("Commit = %+v, %v; want %v of the whole", in, err, both)
	}
	wantContent(t, s, "big", string(content))
	in = put(t, s, "streamed", string(content), storage.PutOptions{})
	if _, differ := in.Sums.Compare(truth(content)); in.Sums.Algos() != both || differ != 0 {
		t.Errorf("Put = %+v; want %v of the whole", in, both)
	}

	lies.Store(true)
	for _, size := range []int{1000, maxWhole + 1} {
		_, err = s.PutPart(t.Context(), u, 1, bytes.NewReader(content), int64(size), storage.Sums{})
		wantFault(t, "PutPart that arrives as something else", err, work.Corrupt)
	}
	_, err = s.Put(t.Context(), "streamed", strings.NewReader("x"+string(content)), int64(len(content)+1), storage.PutOptions{})
	wantFault(t, "Put that arrives as something else", err, work.Corrupt)
	wantContent(t, s, "streamed", string(content))
}

// TestCommitAgain repeats a commit whose answer was lost, and one whose blocks
// another object has swept away.
func TestCommitAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	content := storagetest.Bytes(1, 3000)
	u, parts := upload(t, s, "big", 1000, content)
	for range 2 {
		if in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{}); err != nil || in.Size != 3000 {
			t.Errorf("Commit = %+v, %v", in, err)
		}
		wantContent(t, s, "big", string(content))
	}
	put(t, s, "big", "another", storage.PutOptions{})
	_, err := s.Commit(t.Context(), u, parts, storage.PutOptions{})
	wantFault(t, "Commit of blocks that are gone", err, work.NotFound)
	wantContent(t, s, "big", "another")
}

// TestPartTwice sends a part twice, with other bytes: the tag decides.
func TestPartTwice(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	u, parts := upload(t, s, "big", 5, []byte("righttail"))
	if _, err := s.PutPart(t.Context(), u, 1, strings.NewReader("wrong"), 5, storage.Sums{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), u, parts, storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "big", "righttail")
}

func TestAbortFrees(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	u, _ := upload(t, s, "big", 1000, storagetest.Bytes(1, 3000))
	if n := uncommitted(t, s, "big"); n != 3 {
		t.Fatalf("%d blocks wait, want 3", n)
	}
	one, _ := azurite(t)
	other := openURL(t, one.URL(s.bucketName(), "")) // which knows of nothing
	if err := other.Abort(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if n := uncommitted(t, s, "big"); n != -1 {
		t.Errorf("after Abort there are %d blocks, want nothing", n)
	}
	_, err := s.Stat(t.Context(), "big")
	wantFault(t, "Stat after Abort", err, work.NotFound)
}

// bucketName returns the name of the container.
func (s *Store) bucketName() string {
	u := s.container.URL()
	return u[strings.LastIndexByte(u, '/')+1:]
}

// TestAbortLeaves gives up uploads where others have something to lose.
func TestAbortLeaves(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	put(t, s, "object", "the old object", storage.PutOptions{})
	u, _ := upload(t, s, "object", 1000, storagetest.Bytes(1, 2000))
	if err := s.Abort(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "object", "the old object")

	u, _ = upload(t, s, "shared", 1000, storagetest.Bytes(1, 2000))
	theirs, parts := upload(t, s, "shared", 1000, storagetest.Bytes(2, 2000))
	if err := s.Abort(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), theirs, parts, storage.PutOptions{}); err != nil {
		t.Errorf("Commit of an upload beside = %v", err)
	}
	if err := s.Abort(t.Context(), storage.Upload{Key: "x", ID: "x"}); !storage.Is(err, work.Invalid) {
		t.Errorf("Abort of no upload = %v, want invalid", err)
	}
}

// TestAbortSweeps finds the empty object of an Abort that was cut off.
func TestAbortSweeps(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	id := newID()
	u := storage.Upload{Key: "left", ID: hex.EncodeToString(id[:])}
	for _, tt := range []struct {
		name, mark, content string
		stays               bool
	}{
		{"ours", u.ID, "", false},
		{"another upload's", "ffff", "", true},
		{"with content", u.ID, "x", true},
	} {
		put(t, s, "left", tt.content, storage.PutOptions{Meta: storage.Meta{User: map[string]string{givenUp: tt.mark}}})
		if err := s.Abort(t.Context(), u); err != nil {
			t.Errorf("%s: Abort = %v", tt.name, err)
		}
		if _, err := s.Stat(t.Context(), "left"); (err == nil) != tt.stays {
			t.Errorf("%s: Stat after Abort = %v, want that it stays: %v", tt.name, err, tt.stays)
		}
	}
}

// TestForgetsOldUploads gives up more uploads than are remembered.
func TestForgetsOldUploads(t *testing.T) {
	t.Parallel()
	var g gone
	first := newID()
	g.add(first)
	for range len(g.next) - 1 {
		g.add(newID())
	}
	if g.check(first) == nil || len(g.ids) != len(g.next) {
		t.Errorf("%d uploads are remembered, want %d with the first", len(g.ids), len(g.next))
	}
	g.add(newID())
	if g.check(first) != nil || len(g.ids) != len(g.next) {
		t.Errorf("%d uploads are remembered, want %d without the first", len(g.ids), len(g.next))
	}
}

// TestWhoseMD5 stores objects with MD5s that are, and are not, the service's.
func TestWhoseMD5(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	in := put(t, s, "whole", "content", storage.PutOptions{})
	st, err := s.Stat(t.Context(), "whole")
	want := truth([]byte("content"))
	if err != nil || !bytes.Equal(in.Sums.MD5, want.MD5) || !bytes.Equal(in.Sums.CRC32C, want.CRC32C) || !bytes.Equal(st.Sums.MD5, want.MD5) {
		t.Errorf("Put and Stat say %+v and %+v, %v; want the MD5", in.Sums, st.Sums, err)
	}

	c := s.blob("claimed")
	block := base64.StdEncoding.EncodeToString([]byte("0001"))
	if _, err := c.StageBlock(t.Context(), block, streaming.NopCloser(strings.NewReader("content")), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CommitBlockList(t.Context(), []string{block}, &blockblob.CommitBlockListOptions{
		HTTPHeaders: headersWithMD5(truth([]byte("other")).MD5),
	}); err != nil {
		t.Fatal(err)
	}
	p, err := s.properties(t.Context(), "claimed", "")
	if err != nil || len(p.ContentMD5) != 16 {
		t.Fatalf("the service keeps MD5 %x, %v; want the claim", p.ContentMD5, err)
	}
	if st, err := s.Stat(t.Context(), "claimed"); err != nil || st.Sums.Algos() != 0 {
		t.Errorf("Stat vouches for %+v, %v; want nothing", st.Sums, err)
	}
}
