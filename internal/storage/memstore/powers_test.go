package memstore

import (
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// TestArchive stores an object that can be listed but not read.
func TestArchive(t *testing.T) {
	t.Parallel()
	s, other := New(), New()
	opts := storage.PutOptions{Meta: storage.Meta{Class: Archive}}
	in, err := s.Put(t.Context(), "old", strings.NewReader("x"), 1, opts)
	if err != nil || !in.Archived {
		t.Fatalf("Put = %+v, %v, want it archived", in, err)
	}
	if st, err := s.Stat(t.Context(), "old"); err != nil || !st.Archived || st.Meta.Class != Archive {
		t.Errorf("Stat = %+v, %v, want it archived", st, err)
	}
	err = s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		if !page[0].Archived {
			t.Errorf("List gave %+v, want it archived", page[0])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Get(t.Context(), "old", "", 0, -1)
	if !storage.Is(err, work.Unsupported) || !strings.Contains(err.Error(), "restore") {
		t.Errorf("Get = %v, want it refused with a hint", err)
	}
	if _, err := other.CopyFrom(t.Context(), "new", s, in, storage.PutOptions{}); !storage.Is(err, work.Unsupported) {
		t.Errorf("CopyFrom = %v, want it refused", err)
	}
	put(t, s, "old", "y")
	if st, err := s.Stat(t.Context(), "old"); err != nil || st.Archived {
		t.Errorf("Stat after an overwrite = %+v, %v, want it readable", st, err)
	}
}

// TestMetadataAtBegin gives Commit other metadata, as S3 cannot be given.
func TestMetadataAtBegin(t *testing.T) {
	t.Parallel()
	s := New()
	first := storage.Meta{ContentType: "text/css", Class: "COLD", Tags: map[string]string{"a": "b"}}
	u, err := s.Begin(t.Context(), "k", 1, 1, storage.PutOptions{Meta: first})
	if err != nil {
		t.Fatal(err)
	}
	first.Tags["a"] = "changed by the caller"
	p, err := s.PutPart(t.Context(), u, 1, strings.NewReader("x"), 1, storage.Sums{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{Meta: storage.Meta{ContentType: "text/html"}})
	if err != nil || in.Meta.ContentType != "text/css" || in.Meta.Class != "COLD" || in.TagCount != 1 {
		t.Errorf("Commit = %+v, %v, want the metadata of Begin", in, err)
	}
	if tags, err := s.Tags(t.Context(), "k"); err != nil || tags["a"] != "b" {
		t.Errorf("Tags = %q, %v, want those of Begin", tags, err)
	}
}

// TestCopyTakesAllAlong copies with no more than what Stat says.
func TestCopyTakesAllAlong(t *testing.T) {
	t.Parallel()
	src, dst := New(), New()
	meta := storage.Meta{ContentType: "text/css", User: map[string]string{"u": "v"}, Tags: map[string]string{"a": "b"}, Class: "COLD"}
	in, err := src.Put(t.Context(), "k", strings.NewReader("x"), 1, storage.PutOptions{Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	out, err := dst.CopyFrom(t.Context(), "k", src, in, storage.PutOptions{Meta: storage.Meta{Class: "WARM"}})
	if err != nil || out.Meta.ContentType != "text/css" || out.Meta.User["u"] != "v" || out.Meta.Class != "WARM" {
		t.Errorf("CopyFrom = %+v, %v, want all of the source's but its class", out, err)
	}
	if tags, err := dst.Tags(t.Context(), "k"); err != nil || tags["a"] != "b" {
		t.Errorf("Tags of the copy = %q, %v", tags, err)
	}
}
