package storagetest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func testMeta(t *testing.T, h Harness) {
	s := h.New(t)
	traits := s.Traits().Meta
	meta := storage.Meta{
		ContentType:        "text/plain; charset=utf-8",
		ContentEncoding:    "gzip",
		ContentLanguage:    "de",
		ContentDisposition: `attachment; filename="a b.txt"`,
		CacheControl:       "max-age=60, public",
		User:               map[string]string{"plain": "value", "percent": "100%25", "spaces": "a  b", "dash-ed": "a+b&c=d", "empty-not": "-"},
	}
	meta, lost := storage.Fit(s, meta)
	for _, name := range []string{"plain", "percent", "spaces"} { // a dash is not everywhere allowed in names
		if _, ok := meta.User[name]; traits.User && !ok {
			t.Errorf("a store of user metadata does not fit %q: %v", name, lost)
		}
	}
	if traits.Headers && slices.ContainsFunc(lost, func(m storage.Misfit) bool { return m.Field == work.FieldHeaders }) {
		t.Errorf("a store of content headers does not fit plain ones: %v", lost)
	}
	content := Bytes(6, 5000) // not gzip: stores must hand out what was stored
	put(t, s, "meta.txt", content, storage.PutOptions{Meta: meta})
	wantContent(t, s, "meta.txt", content)
	st, err := s.Stat(t.Context(), "meta.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := read(t.Context(), s, "meta.txt", st.ETag, 10, 20)
	if err != nil {
		t.Fatal(err)
	}
	for what, in := range map[string]storage.Info{"Stat": st, "Get": got} {
		m := in.Meta
		if traits.Headers && (m.ContentType != meta.ContentType || m.ContentEncoding != meta.ContentEncoding ||
			m.ContentLanguage != meta.ContentLanguage || m.ContentDisposition != meta.ContentDisposition || m.CacheControl != meta.CacheControl) {
			t.Errorf("%s says headers %+v, want %+v", what, m, meta)
		}
		if traits.User && !maps.Equal(m.User, meta.User) {
			t.Errorf("%s says user metadata %q, want %q", what, m.User, meta.User)
		}
	}

	put(t, s, "meta.txt", content[:10], storage.PutOptions{})
	st, err = s.Stat(t.Context(), "meta.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Meta.User) > 0 || st.Meta.ContentEncoding != "" || st.Meta.CacheControl != "" {
		t.Errorf("an overwrite without metadata left %+v", st.Meta)
	}
}

// ways are the ways in which an object with metadata comes to be: put, put in
// parts, and copied by the store. Each calls its function with a store that
// holds an object under key.
func ways(t *testing.T, h Harness, meta storage.Meta, check func(t *testing.T, s storage.Store, key string)) {
	t.Run("Put", func(t *testing.T) {
		s := h.New(t)
		put(t, s, "way/put", Bytes(1, 1000), storage.PutOptions{Meta: meta})
		check(t, s, "way/put")
	})
	t.Run("Multipart", func(t *testing.T) {
		s := h.New(t)
		m, ok := s.(storage.Multipart)
		if !ok {
			t.Skip("the store takes no parts")
		}
		putParts(t, m, "way/parts", storage.PutOptions{Meta: meta})
		check(t, s, "way/parts")
	})
	t.Run("CopyFrom", func(t *testing.T) {
		if _, skipped := h.Skip["Copier"]; skipped {
			t.Skip(h.Skip["Copier"])
		}
		src, s := h.New(t), h.New(t)
		c, ok := s.(storage.Copier)
		if !ok {
			t.Skip("the store is no Copier")
		}
		put(t, src, "way/source", Bytes(1, 1000), storage.PutOptions{Meta: meta})
		in, err := src.Stat(t.Context(), "way/source")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.CopyFrom(t.Context(), "way/copy", src, in, storage.PutOptions{Meta: in.Meta}); err != nil {
			t.Fatalf("CopyFrom = %v", err)
		}
		check(t, s, "way/copy")
	})
}

// putParts stores an object in parts.
func putParts(t *testing.T, m storage.Multipart, key string, opts storage.PutOptions) {
	t.Helper()
	part, content := splits(m.Limits())
	u, err := m.Begin(t.Context(), key, int64(len(content)), part, opts)
	if err != nil {
		t.Fatalf("Begin = %v", err)
	}
	var parts []storage.Part
	for rest := content; len(rest) > 0; rest = rest[min(int(part), len(rest)):] {
		chunk := rest[:min(int(part), len(rest))]
		p, err := m.PutPart(t.Context(), u, len(parts)+1, bytes.NewReader(chunk), int64(len(chunk)), storage.Sums{})
		if err != nil {
			t.Fatalf("PutPart = %v", err)
		}
		parts = append(parts, p)
	}
	if _, err := m.Commit(t.Context(), u, parts, opts); err != nil {
		t.Fatalf("Commit = %v", err)
	}
}

// said returns what Stat and Get say of an object.
func said(t *testing.T, s storage.Store, key string) map[string]storage.Info {
	t.Helper()
	st, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := read(t.Context(), s, key, "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]storage.Info{"Stat": st, "Get": got}
}

func testModTime(t *testing.T, h Harness) {
	if !h.New(t).Traits().Meta.ModTime {
		t.Skip("the store keeps no time of modification")
	}
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	ways(t, h, storage.Meta{ModTime: when}, func(t *testing.T, s storage.Store, key string) {
		for what, in := range said(t, s, key) {
			if !in.Meta.ModTime.Equal(when) {
				t.Errorf("%s says that the content was modified %v, want %v", what, in.Meta.ModTime, when)
			}
			if h.SetsModTime && !in.ModTime.Equal(when) {
				t.Errorf("%s says that the object was modified %v, want %v", what, in.ModTime, when)
			}
			if len(in.Meta.User) > 0 {
				t.Errorf("%s says user metadata %q, want none: nobody gave any", what, in.Meta.User)
			}
		}
		if listed := listAll(t, s, work.Range{}); h.SetsModTime && !listed[0].ModTime.Equal(when) {
			t.Errorf("List says that the object was modified %v, want %v", listed[0].ModTime, when)
		}
	})
}

func testClass(t *testing.T, h Harness) {
	if h.Class == "" || !h.New(t).Traits().Meta.Class {
		t.Skip("no storage class to try")
	}
	want := func(t *testing.T, s storage.Store, key string, is bool) {
		t.Helper()
		for what, in := range said(t, s, key) {
			if what == "Get" && in.Meta.Class == "" {
				continue // Stat alone need tell it
			}
			if (in.Meta.Class == h.Class) != is {
				t.Errorf("%s(%q) says storage class %q; want %q: %v", what, key, in.Meta.Class, h.Class, is)
			}
		}
	}
	ways(t, h, storage.Meta{Class: h.Class}, func(t *testing.T, s storage.Store, key string) {
		want(t, s, key, true)
		put(t, s, key, []byte("x"), storage.PutOptions{})
		want(t, s, key, false)
	})
	t.Run("CopyFrom another class", func(t *testing.T) {
		src, s := h.New(t), h.New(t)
		c, ok := s.(storage.Copier)
		if _, skipped := h.Skip["Copier"]; !ok || skipped {
			t.Skip("the store is no Copier")
		}
		for key, class := range map[string]string{"cold": h.Class, "usual": ""} {
			put(t, src, key, []byte("x"), storage.PutOptions{Meta: storage.Meta{Class: class}})
			in, err := src.Stat(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			other := h.Class
			if class == h.Class {
				other = ""
			}
			_, err = c.CopyFrom(t.Context(), key, src, in, storage.PutOptions{Meta: storage.Meta{Class: other}})
			if storage.Is(err, work.Unsupported) { // the caller then streams
				_, err = s.Stat(t.Context(), key)
				wantFault(t, "Stat after a CopyFrom that was refused", err, work.NotFound)
				continue
			}
			if err != nil {
				t.Fatalf("CopyFrom = %v", err)
			}
			want(t, s, key, other == h.Class)
		}
	})
}

// testGzip stores what calls itself gzip and is: it must come back as stored,
// whole and in ranges.
func testGzip(t *testing.T, h Harness) {
	s := h.New(t)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := fmt.Fprint(w, strings.Repeat("all work and no play ", 5000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	content := zipped.Bytes()
	put(t, s, "text.gz", content, storage.PutOptions{Meta: storage.Meta{ContentType: "text/plain", ContentEncoding: "gzip"}})
	wantContent(t, s, "text.gz", content)
	got, _, err := read(t.Context(), s, "text.gz", "", 10, 50)
	if err != nil || !bytes.Equal(got, content[10:60]) {
		t.Errorf("Get(off 10, n 50) = %s, %v, want %s", describe(got), err, describe(content[10:60]))
	}
	st, err := s.Stat(t.Context(), "text.gz")
	if err != nil || st.Size != int64(len(content)) {
		t.Errorf("Stat says %d bytes, %v, want %d", st.Size, err, len(content))
	}
	if enc := st.Meta.ContentEncoding; s.Traits().Meta.Headers && enc != "gzip" {
		t.Errorf("Stat says content encoding %q, want gzip", enc)
	}
}

// tags are verbatim: no store may unescape them or change their case.
func tags() map[string]string {
	return map[string]string{
		"Plain": "Value", "with space": "a b  c", "plus+minus-": "1+1=2", "path/to:x@y_z.": "100", "empty": "", "größe": "ü",
		"percent%20": "100%25", "and&": "a=b&c",
	}
}

func testTags(t *testing.T, h Harness) {
	first := h.New(t)
	if _, ok := first.(storage.Tagger); !ok || !first.Traits().Meta.Tags {
		t.Skip("the store keeps no tags")
	}
	fit, lost := storage.Fit(first, storage.Meta{Tags: tags()})
	for _, name := range []string{"Plain", "with space", "empty"} {
		if v, ok := fit.Tags[name]; !ok || v != tags()[name] {
			t.Errorf("a store of tags does not fit tag %q: %v", name, lost)
		}
	}
	ways(t, h, storage.Meta{Tags: fit.Tags}, func(t *testing.T, s storage.Store, key string) {
		for what, in := range said(t, s, key) {
			if in.TagCount != len(fit.Tags) {
				t.Errorf("%s says %d tags, want %d", what, in.TagCount, len(fit.Tags))
			}
			if len(in.Meta.Tags) > 0 {
				t.Errorf("%s says tags %q, want their number alone", what, in.Meta.Tags)
			}
		}
		wantTags(t, s, key, fit.Tags)
		put(t, s, key, []byte("x"), storage.PutOptions{})
		wantTags(t, s, key, nil)
		for what, in := range said(t, s, key) {
			if in.TagCount != 0 {
				t.Errorf("%s says %d tags after an overwrite without, want 0", what, in.TagCount)
			}
		}
	})
	_, err := first.(storage.Tagger).Tags(t.Context(), "absent")
	wantFault(t, "Tags of nothing", err, work.NotFound)
}

func wantTags(t *testing.T, s storage.Store, key string, want map[string]string) {
	t.Helper()
	got, err := s.(storage.Tagger).Tags(t.Context(), key)
	if err != nil || !maps.Equal(got, want) || len(want) == 0 && got != nil {
		t.Errorf("Tags(%q) = %q, %v, want %q", key, got, err, want)
	}
}
