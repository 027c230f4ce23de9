package gcsstore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	gcs "cloud.google.com/go/storage"
	"gocloud.dev/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// The tests of this file show why the portable bucket is not used: each first
// looks at what that does.

// TestBrokenBodyKeepsObject stores half a body.
func TestBrokenBodyKeepsObject(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	broken := func() io.Reader {
		return io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the source broke")))
	}
	for _, key := range []string{"portable", "ours"} {
		put(t, s, key, "the old object", storage.PutOptions{})
	}
	if err := s.blob.Upload(t.Context(), "portable", broken(), &blob.WriterOptions{ContentType: "a/b"}); err == nil {
		t.Error("Upload of half a body succeeded")
	}
	if got, err := get(t.Context(), s, "portable"); got != "half" {
		t.Errorf("the portable bucket now holds %q, %v: it keeps the old object, and the trap is gone", got, err)
	}
	if _, err := s.Put(t.Context(), "ours", broken(), 8, storage.PutOptions{}); err == nil {
		t.Error("Put of half a body succeeded")
	}
	wantContent(t, s, "ours", "the old object")
}

// TestGzip reads what is stored packed.
func TestGzip(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(make([]byte, 60_000))
	must(t, err)
	must(t, w.Close())
	in := put(t, s, "a", packed.String(), storage.PutOptions{Meta: storage.Meta{ContentEncoding: "gzip", ContentType: "text/plain"}})
	if got, err := s.blob.ReadAll(t.Context(), "a"); len(got) != 60_000 {
		t.Errorf("the portable bucket reads %d bytes, %v: it does not unpack, and the trap is gone", len(got), err)
	}
	for _, off := range []int64{0, 10} {
		body, got, err := s.Get(t.Context(), "a", in.ETag, off, -1)
		must(t, err)
		content, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(content, packed.Bytes()[off:]) || got.Size != int64(packed.Len()) || got.Meta.ContentEncoding != "gzip" {
			t.Errorf("from %d: read %d bytes of %+v, %v; want the %d that are stored", off, len(content), got, err, packed.Len())
		}
		must(t, body.Close())
	}
}

// TestUnpackedAnswerIsRefused is about a server that unpacks all the same.
func TestUnpackedAnswerIsRefused(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	s := x.store(t)
	in := put(t, s, "a", "packed", storage.PutOptions{Meta: storage.Meta{ContentEncoding: "gzip"}})
	x.before = unpack
	for _, n := range []int64{-1, 6} {
		_, _, err := s.Get(t.Context(), "a", in.ETag, 0, n)
		wantFault(t, "Get", err, work.Unsupported)
	}
}

// TestNamesAreNotEscaped lists and reads names that the portable bucket takes
// for others.
func TestNamesAreNotEscaped(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	keys := []string{"a/../b", "weird__0x41__"}
	for _, key := range keys {
		put(t, s, key, "content of "+key, storage.PutOptions{})
	}
	if got := names(t, s); !slices.Equal(got, keys) {
		t.Errorf("the service has %q, want %q", got, keys)
	}
	var portable, ours []string
	for it := s.blob.List(nil); ; {
		o, err := it.Next(t.Context())
		if err == io.EOF {
			break
		}
		must(t, err)
		portable = append(portable, o.Key)
	}
	if !slices.Contains(portable, "weirdA") {
		t.Errorf("the portable bucket lists %q: it unescapes no more, and the trap is gone", portable)
	}
	must(t, s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			ours = append(ours, in.Key)
			wantContent(t, s, in.Key, "content of "+in.Key)
		}
		return nil
	}))
	if !slices.Equal(ours, keys) {
		t.Errorf("List gave %q, want %q", ours, keys)
	}
}

// TestMemory counts the bytes that it takes to move a small object. It does
// not run beside others, for they would be counted.
func TestMemory(t *testing.T) {
	s := newStore(t, "")
	const objects, size = 50, 16 << 10
	content := string(storagetest.Bytes(1, size))
	put(t, s, "from", content, storage.PutOptions{})
	cost := func(move func() error) uint64 {
		must(t, move()) // connections
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range objects {
			must(t, move())
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / objects
	}
	portable := cost(func() error {
		r, err := s.blob.NewReader(t.Context(), "from", nil)
		if err != nil {
			return err
		}
		w, err := s.blob.NewWriter(t.Context(), "to", nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		return errors.Join(r.Close(), w.Close())
	})
	ours := cost(func() error {
		body, in, err := s.Get(t.Context(), "from", "", 0, -1)
		if err != nil {
			return err
		}
		if _, err := s.Put(t.Context(), "to", body, size, storage.PutOptions{Meta: in.Meta}); err != nil {
			return err
		}
		return body.Close()
	})
	t.Logf("%d bytes an object, the portable bucket %d", ours, portable)
	if ours > 400<<10 || portable < 1<<20 {
		t.Errorf("an object takes %d bytes of memory, through the portable bucket %d; want less than 400 KiB, and more than 1 MiB", ours, portable)
	}
	wantContent(t, s, "to", content)
}

func TestModTime(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	put(t, s, "known", "x", storage.PutOptions{Meta: storage.Meta{ModTime: at, User: map[string]string{"a": "b"}}})
	put(t, s, "rclone", "x", storage.PutOptions{Meta: storage.Meta{User: map[string]string{"mtime": "981173106.789"}}})
	put(t, s, "other", "x", storage.PutOptions{Meta: storage.Meta{ModTime: at, User: map[string]string{"mtime": "yesterday"}}})
	for key, want := range map[string]storage.Meta{
		"known":  {ModTime: at, User: map[string]string{"a": "b"}},
		"rclone": {ModTime: at},
		"other":  {User: map[string]string{"mtime": "yesterday"}},
	} {
		in, err := s.Stat(t.Context(), key)
		if err != nil || !in.Meta.ModTime.Equal(want.ModTime) || !maps.Equal(in.Meta.User, want.User) {
			t.Errorf("Stat(%s) = %v %v, %v; want %v %v", key, in.Meta.ModTime, in.Meta.User, err, want.ModTime, want.User)
		}
	}
	a, err := s.object("known").Attrs(t.Context())
	if err != nil || a.Metadata["mtime"] != "981173106.789" {
		t.Errorf("the server has metadata %v, %v; want mtime 981173106.789", a, err)
	}
}

// TestMetadataIsVerbatim stores what headers cannot carry, and nothing where
// nothing is known.
func TestMetadataIsVerbatim(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	meta := storage.Meta{
		ContentType: "text/html; charset", ContentDisposition: `attachment; filename="日本.txt"`, Class: "NEARLINE",
		User: map[string]string{"text": "日本 <&>\u2028", "space": " a ", "percent": "100%25", "empty": ""},
	}
	put(t, s, "full", "<html>", storage.PutOptions{Meta: meta})
	put(t, s, "bare", "<html>", storage.PutOptions{})
	in, err := s.Stat(t.Context(), "full")
	must(t, err)
	if m := in.Meta; m.ContentType != meta.ContentType || m.ContentDisposition != meta.ContentDisposition || m.Class != meta.Class || !maps.Equal(m.User, meta.User) {
		t.Errorf("Stat says %+v, want %+v", m, meta)
	}
	if in, err = s.Stat(t.Context(), "bare"); err != nil || in.Meta.ContentType != "" {
		t.Errorf("Stat says content type %q, %v; want none, for none was given", in.Meta.ContentType, err)
	}
	_, err = s.Put(t.Context(), "full", strings.NewReader("x"), 1, storage.PutOptions{Meta: storage.Meta{Class: "GLACIER"}})
	if e := wantFault(t, "Put with another's class", err, work.Unsupported); e.Field != work.FieldClass {
		t.Errorf("the error names field %q, want %q", e.Field, work.FieldClass)
	}
}

func TestUserNames(t *testing.T) {
	t.Parallel()
	m := readMeta(&gcs.ObjectAttrs{Metadata: map[string]string{"Owner": "a", "x": "1", "X": "2"}})
	if want := map[string]string{"owner": "a", "x": "1", "X": "2"}; !maps.Equal(m.User, want) {
		t.Errorf("readMeta gives %v, want %v: lower case, but for names that would fall together", m.User, want)
	}
}

// TestRepeats fails the first two tries of everything.
func TestRepeats(t *testing.T) {
	t.Parallel()
	x := newXMLServer(t)
	var mu sync.Mutex
	tries := make(map[string]int)
	x.before = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		id := r.Method + r.URL.Path
		if tries[id]++; tries[id] < attempts {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	}
	s := x.store(t)
	in := put(t, s, "key", "content", storage.PutOptions{}) // a body that can be read again
	wantContent(t, s, "key", "content")
	if again, err := s.Stat(t.Context(), "key"); err != nil || again.ETag != in.ETag {
		t.Errorf("Stat = %+v, %v; want version %s", again, err, in.ETag)
	}
	must(t, s.Delete(t.Context(), "key"))

	clear(tries)
	_, err := s.Put(t.Context(), "key", iotest.OneByteReader(strings.NewReader("content")), 7, storage.PutOptions{})
	wantFault(t, "Put of a body that can be read once", err, work.Transient)
	if n := tries["POST/upload/storage/v1/b/"+s.bucket+"/o"]; n != 1 {
		t.Errorf("it was tried %d times, want once", n)
	}
}
