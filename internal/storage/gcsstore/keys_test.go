package gcsstore

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestKeeps(t *testing.T) {
	t.Parallel()
	s := openURL(t, "gs://bucket", "127.0.0.1:1")
	for key, want := range map[string]bool{
		"a b": true, "100%": true, "a//b": true, "dir/": true, "/lead": true, "a/../b": true, "./a": true, "...": true, "日本語/キー": true,
		"__0x41__": true, "a\tb": true, "a\x7fb": true, ".well-known/x": true, strings.Repeat("x", 1024): true,
		"": false, ".": false, "..": false, "a\nb": false, "a\rb": false, "a\xffb": false, ".well-known/acme-challenge/x": false,
		strings.Repeat("x", 1025): false, strings.Repeat("é", 513): false,
	} {
		err := s.Keeps(t.Context(), key)
		if want {
			if err != nil {
				t.Errorf("Keeps(%.40q) = %v, want it kept", key, err)
			}
		} else if e := wantFault(t, "Keeps("+work.Quote(key)+")", err, work.Unsupported); e.Field != work.FieldKeys {
			t.Errorf("Keeps(%.40q) names field %q", key, e.Field)
		}
	}
}

func TestHiddenNames(t *testing.T) {
	t.Parallel()
	s := &Store{prefix: "pre/"}
	folder := s.folder("key", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	for name, want := range map[string]bool{
		folder + "open": true, folder + "00001-X": true, "x/" + folder + "a/b": true, strings.TrimPrefix(folder, "pre/") + "x": true,
		".tranship-upload-/" + folder + "x": true,
		folder:                              true,
		"":                                  false, ".tranship-upload-": false, ".tranship-upload-x/y": false, "x" + strings.TrimPrefix(folder, "pre/") + "x": false,
		s.folder("key", "abcdefghijklmnopqrstuvwxyz") + "x": false, s.folder("key", "ABC") + "x": false,
	} {
		if got := hidden(name); got != want {
			t.Errorf("hidden(%q) = %v, want %v", name, got, want)
		}
	}
}

// TestStartOf compares with looking at every name there is.
func TestStartOf(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	runes := []rune{0, 'a', 'b', 0x7f, 0x80, 0xe9, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, utf8.MaxRune}
	bytes := []byte{0, 'a', 'b', 0x7f, 0x80, 0xbf, 0xc3, 0xa9, 0xe0, 0xed, 0xa0, 0xf0, 0xf4, 0x8f, 0xff}
	names := []string{""}
	for _, a := range runes {
		for _, b := range runes {
			names = append(names, string(a), string(a)+string(b), string(a)+string(b)+"a")
		}
	}
	slices.Sort(names)
	for range 5000 {
		after := make([]byte, rng.IntN(5))
		for i := range after {
			after[i] = bytes[rng.IntN(len(bytes))]
		}
		start, any := startOf(string(after))
		if any && !utf8.ValidString(start) {
			t.Fatalf("startOf(%q) = %q, which is not UTF-8", after, start)
		}
		for _, name := range names {
			if name > string(after) && (!any || name < start) {
				t.Fatalf("startOf(%q) = %q, %v, and leaves out %q", after, start, any, name)
			}
			if any && name >= start && name < string(after) {
				t.Fatalf("startOf(%q) = %q, and so begins with %q again", after, start, name)
			}
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	s := &Store{}
	long := strings.Repeat("x", 5000)
	m, lost := s.Fit(storage.Meta{
		ContentType: "text/plain", ContentDisposition: "a\nb", ContentLanguage: strings.Repeat("de,", 40), CacheControl: "\xff",
		Class: "GLACIER",
		User:  map[string]string{"a": long, "b": long, "c": "short", "white space": "x", "control": "\x01", "ümlaut": "x", "empty": "", "text": "日本"},
	})
	var got []string
	for _, l := range lost {
		got = append(got, strings.TrimSuffix(string(l.Field)+":"+l.Name, ":"))
		if l.Why == "" {
			t.Errorf("%+v says not why", l)
		}
	}
	want := []string{"headers:content language", "headers:content disposition", "headers:cache control", "class",
		"metadata:b", "metadata:control", "metadata:white space", "metadata:ümlaut"}
	if !slices.Equal(got, want) {
		t.Errorf("Fit loses %q, want %q", got, want)
	}
	if m.ContentType != "text/plain" || m.ContentDisposition+m.ContentLanguage+m.CacheControl+m.Class != "" || len(m.User) != 4 || m.User["a"] != long {
		t.Errorf("Fit keeps %+v", m)
	}
	if err := s.checkMeta(m); err != nil {
		t.Errorf("what Fit keeps is refused: %v", err)
	}
	if _, lost := s.Fit(storage.Meta{Class: "ARCHIVE", User: map[string]string{"a": "b"}}); len(lost) > 0 {
		t.Errorf("Fit loses %+v of what fits", lost)
	}
}
