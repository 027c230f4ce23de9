package gcsstore

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// TestRewrite copies on a server that needs several requests for it, loses one
// answer, and cares for the class.
func TestRewrite(t *testing.T) {
	t.Parallel()
	for _, class := range []string{"", "COLDLINE"} {
		var tokens []string
		var last struct {
			ContentType, StorageClass string
			Metadata                  map[string]string
		}
		s := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `{"name":"pre/a","generation":"7","size":"5","contentType":"text/css","metadata":{"a":"b"},"storageClass":"STANDARD"}`)
				return
			}
			if q.Get("sourceGeneration") != "7" || q.Get("ifSourceGenerationMatch") != "7" {
				t.Errorf("the copy is not pinned: %s", r.URL)
			}
			if err := json.NewDecoder(r.Body).Decode(&last); err != nil {
				t.Error(err)
			}
			tokens = append(tokens, q.Get("rewriteToken"))
			switch len(tokens) {
			case 1:
				fmt.Fprint(w, `{"done":false,"rewriteToken":"one","totalBytesRewritten":"2","objectSize":"5"}`)
			case 2:
				w.WriteHeader(http.StatusBadGateway)
			default:
				fmt.Fprint(w, `{"done":true,"totalBytesRewritten":"5","objectSize":"5","resource":{"name":"pre/b","generation":"9","size":"5","crc32c":"AAAAAQ=="}}`)
			}
		})
		in, err := s.CopyFrom(t.Context(), "b", s, storage.Info{Key: "a", ETag: "7"}, storage.PutOptions{Meta: storage.Meta{Class: class}})
		if err != nil || in.ETag != "9" || in.Size != 5 || string(in.Sums.CRC32C) != "\x00\x00\x00\x01" || in.Sums.MD5 != nil {
			t.Errorf("CopyFrom = %+v, %v; want version 9 with its CRC32C", in, err)
		}
		if want := []string{"", "one", "one"}; !slices.Equal(tokens, want) {
			t.Errorf("the tokens were %q, want %q", tokens, want)
		}
		whole := last.ContentType == "text/css" && last.Metadata["a"] == "b"
		if last.StorageClass != class || whole != (class != "") {
			t.Errorf("for class %q the server was told %+v; with a class it must be told everything, else nothing", class, last)
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	in := put(t, s, "a", "x", storage.PutOptions{})
	other := &Store{bucket: s.bucket, gcs: s.gcs, client: &client{}}
	_, err := s.CopyFrom(t.Context(), "b", other, in, storage.PutOptions{})
	wantFault(t, "CopyFrom a store of another identity", err, work.Unsupported)
	_, err = s.CopyFrom(t.Context(), "b", s, in, storage.PutOptions{Meta: storage.Meta{Class: "GLACIER"}})
	wantFault(t, "CopyFrom to a class that is none", err, work.Unsupported)
	in.ETag = "not a generation"
	_, err = s.CopyFrom(t.Context(), "b", s, in, storage.PutOptions{})
	wantFault(t, "CopyFrom of a version that is none", err, work.SrcChanged)
	_, err = s.Stat(t.Context(), "b")
	wantFault(t, "Stat", err, work.NotFound)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	facts := func(s *Store, write bool) string {
		t.Helper()
		all, err := s.Probe(t.Context(), write)
		must(t, err)
		var text []string
		for _, f := range all {
			text = append(text, f.Name+"="+f.Text)
		}
		return strings.Join(text, "\n")
	}
	plain, xml := newStore(t, "pre"), newXMLServer(t).store(t)
	for _, tt := range []struct {
		s     *Store
		write bool
		want  []string
		not   string
	}{
		{plain, false, []string{"service=an emulator", "checksums=CRC32C", "versions=generations"}, "parts="},
		{plain, true, []string{"parts=temporary objects", "conditional writes=kept, by generation"}, "parts=uploads"},
		{xml, true, []string{"parts=uploads of the XML API", "conditional writes=kept, by generation"}, "temporary"},
	} {
		got := facts(tt.s, tt.write)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("Probe says %q, want %q", got, want)
			}
		}
		if strings.Contains(got, tt.not) {
			t.Errorf("Probe says %q, want nothing of %q", got, tt.not)
		}
		if left := names(t, tt.s); len(left) > 0 {
			t.Errorf("Probe left %q behind", left)
		}
	}
}
