package storagetest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func testSizes(t *testing.T, h Harness) {
	s := h.New(t)
	for i, size := range []int{0, 1, 16 << 10, 1<<20 + 1, 5 << 20} {
		content := Bytes(i, size)
		in := put(t, s, "sizes/object", content, storage.PutOptions{})
		wantContent(t, s, "sizes/object", content)
		st, err := s.Stat(t.Context(), "sizes/object")
		if err != nil {
			t.Fatalf("Stat = %v", err)
		}
		listed := listAll(t, s, work.Range{})
		if len(listed) != 1 {
			t.Fatalf("List gave %q, want one object", keysOf(listed))
		}
		for _, said := range []storage.Info{in, st, listed[0]} {
			if said.Size != int64(size) || said.ETag != in.ETag || said.ETag == "" {
				t.Errorf("object of %d bytes: Put, Stat or List say %+v, want ETag %q", size, said, in.ETag)
			}
			wantTrueSums(t, s, said, content)
		}
		if missing := h.Vouches &^ st.Sums.Algos(); missing != 0 {
			t.Errorf("Stat of %d bytes vouches for %v, want also %v", size, st.Sums.Algos(), missing)
		}
	}
}

// wantTrueSums fails the test if a store vouches for a wrong checksum.
func wantTrueSums(t *testing.T, s storage.Store, in storage.Info, content []byte) {
	t.Helper()
	sums := truth(content)
	if _, wrong := in.Sums.Compare(sums); wrong != 0 {
		t.Errorf("%q of %d bytes: the store vouches for a wrong %v", in.Key, len(content), wrong)
	}
	if tag, err := hex.DecodeString(in.ETag); s.Traits().ETagIsMD5 && err == nil && len(tag) == 16 && !bytes.Equal(tag, sums.MD5) {
		t.Errorf("%q of %d bytes: ETag %s is not the MD5 %x", in.Key, len(content), in.ETag, sums.MD5)
	}
}

func testRanges(t *testing.T, h Harness) {
	s := h.New(t)
	const size = 300_000
	content := Bytes(1, size)
	in := put(t, s, "ranges", content, storage.PutOptions{})
	put(t, s, "empty", nil, storage.PutOptions{})
	for _, r := range []struct{ off, n int64 }{
		{0, -1}, {0, size}, {0, 1}, {1, 1}, {65_535, 2}, {size - 1, 1}, {size - 1, -1}, {100, 200_000}, {7, -1},
	} {
		want := content[r.off:]
		if r.n >= 0 {
			want = want[:r.n]
		}
		for _, etag := range []string{"", in.ETag} {
			got, said, err := read(t.Context(), s, "ranges", etag, r.off, r.n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("Get(off %d, n %d) = %s, %v, want %s", r.off, r.n, describe(got), err, describe(want))
			}
			if said.Size != size {
				t.Errorf("Get(off %d, n %d) says the object has %d bytes, want %d", r.off, r.n, said.Size, size)
			}
		}
	}
	for _, key := range []string{"ranges", "empty"} {
		if got, _, err := read(t.Context(), s, key, "", 0, 0); err != nil || len(got) != 0 {
			t.Errorf("Get(%q, n 0) = %d bytes, %v, want none", key, len(got), err)
		}
	}
	if got, _, err := read(t.Context(), s, "ranges", "", size-10, 20); err == nil {
		t.Errorf("Get of 20 bytes, 10 before the end, gave %d bytes and no error", len(got))
	}
}

func testPinned(t *testing.T, h Harness) {
	s := h.New(t)
	const size = 3 << 20
	before, after := Bytes(1, size), Bytes(2, size)
	old := put(t, s, "pinned", before, storage.PutOptions{})
	if _, _, err := read(t.Context(), s, "pinned", old.ETag, 0, -1); err != nil {
		t.Fatalf("Get pinned to the version that is there = %v", err)
	}
	body, in, err := s.Get(t.Context(), "pinned", old.ETag, 0, -1)
	if err != nil || in.ETag != old.ETag {
		t.Fatalf("Get = ETag %q, %v, want %q", in.ETag, err, old.ETag)
	}
	defer body.Close()
	first := make([]byte, 1000)
	if _, err := io.ReadFull(body, first); err != nil {
		t.Fatal(err)
	}
	now := put(t, s, "pinned", after, storage.PutOptions{})
	if now.ETag == old.ETag {
		t.Fatalf("another content has the same ETag %q", now.ETag)
	}
	rest, err := io.ReadAll(body)
	switch got := append(first, rest...); {
	case err != nil:
		wantFault(t, "reading on after an overwrite", err, work.SrcChanged)
	case !bytes.Equal(got, before):
		t.Errorf("reading on after an overwrite gave %s, want the old %s or a fault", describe(got), describe(before))
	}

	_, _, err = read(t.Context(), s, "pinned", old.ETag, 0, -1)
	wantFault(t, "Get pinned to a version that is gone", err, work.SrcChanged)
	_, _, err = read(t.Context(), s, "pinned", old.ETag, 100, 5)
	wantFault(t, "ranged Get pinned to a version that is gone", err, work.SrcChanged)
	got, _, err := read(t.Context(), s, "pinned", now.ETag, 0, -1)
	if err != nil || !bytes.Equal(got, after) {
		t.Errorf("Get pinned to the new version = %s, %v, want %s", describe(got), err, describe(after))
	}
}

func testNotFound(t *testing.T, h Harness) {
	s := h.New(t)
	put(t, s, "there/object", []byte("x"), storage.PutOptions{})
	for _, key := range []string{"absent", "there", "there/", "there/obj", "there/object/", "there/object/below", "there/objects"} {
		_, err := s.Stat(t.Context(), key)
		wantFault(t, "Stat("+key+")", err, work.NotFound, work.Unsupported)
		_, _, err = read(t.Context(), s, key, "", 0, -1)
		wantFault(t, "Get("+key+")", err, work.NotFound, work.Unsupported)
		var e *storage.Error
		if errors.As(err, &e) && e.Key != key {
			t.Errorf("the error of Get(%q) names %q", key, e.Key)
		}
	}
	_, err := s.Stat(t.Context(), "absent")
	wantFault(t, "Stat(absent)", err, work.NotFound)
}

func testDelete(t *testing.T, h Harness) {
	s := h.New(t)
	put(t, s, "a/gone", []byte("x"), storage.PutOptions{})
	put(t, s, "a/stays", []byte("y"), storage.PutOptions{})
	for range 2 {
		if err := s.Delete(t.Context(), "a/gone"); err != nil {
			t.Fatalf("Delete = %v, want none also when it is gone", err)
		}
	}
	for _, key := range []string{"never", "never/was", "a", "a/stays/below"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q) = %v, want none", key, err)
		}
	}
	_, err := s.Stat(t.Context(), "a/gone")
	wantFault(t, "Stat after Delete", err, work.NotFound)
	wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), []string{"a/stays"})
	put(t, s, "a/gone", []byte("z"), storage.PutOptions{})
	wantContent(t, s, "a/gone", []byte("z"))
}
