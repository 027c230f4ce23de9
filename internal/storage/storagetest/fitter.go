package storagetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// oddMeta is metadata that stores tend to get wrong, or to refuse.
func oddMeta() map[string]storage.Meta {
	many := map[string]string{}
	for i := range 60 {
		many[fmt.Sprintf("tag%02d", i)] = "v"
	}
	user := func(pairs ...string) storage.Meta {
		m := storage.Meta{User: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			m.User[pairs[i]] = pairs[i+1]
		}
		return m
	}
	return map[string]storage.Meta{
		"none":            {},
		"plain":           user("plain", "value"),
		"dashes":          user("dash-ed", "1", "under_score", "2", "dot.ted", "3"),
		"odd names":       user("with space", "1", "colon:", "2", "größe", "3", "plain", "4"),
		"no name":         user("", "1", "plain", "2"),
		"a digit first":   user("0first", "1", "plain", "2"),
		"C# words":        user("class", "1", "name-of", "2"),
		"odd values":      user("blank", "", "lead", " x", "trail", "x ", "inner", "a  b", "percent", "100%25", "plus", "a+b", "equals", "=?UTF-8?Q?x?="),
		"unicode":         user("umlaut", "größe", "kana", "キー", "plain", "value"),
		"control":         user("newline", "a\nb", "return", "a\rb", "tab", "a\tb", "nul", "a\x00b", "plain", "value"),
		"bytes":           user("bytes", "a\xffb", "plain", "value"),
		"reserved":        user("mtime", "not a time", "plain", "value"),
		"large":           user("large", strings.Repeat("x", 9000), "plain", "value"),
		"huge":            user("huge", strings.Repeat("x", 300_000), "plain", "value"),
		"headers":         {ContentType: "text/x-odd; charset=\"utf-8\"", ContentLanguage: "de, en", CacheControl: "no-store", ContentDisposition: `inline; filename="a;b.txt"`},
		"unicode headers": {ContentType: "text/plain", ContentDisposition: `attachment; filename="größe.txt"`},
		"broken headers":  {ContentType: "text/plain\r\nX-Evil: 1", ContentLanguage: "de\x00", CacheControl: "max-age=1"},
		"no type":         {ContentType: "notatype", ContentEncoding: "unheard-of"},
		"tags":            {Tags: tags()},
		"many tags":       {Tags: many},
		"long tags":       {Tags: map[string]string{strings.Repeat("n", 200): "v", "value": strings.Repeat("v", 400), "plain": "x"}},
		"odd tags":        {Tags: map[string]string{"": "v", "new\nline": "a\nb", "bytes": "\xff", "emoji😀": "😀", "<script>": "'\"", "plain": "x"}},
		"no such class":   {Class: "NO SUCH CLASS"},
	}
}

// testFitter stores what Fit lets through and looks for it, byte for byte.
func testFitter(t *testing.T, h Harness) {
	s := h.New(t)
	if _, ok := s.(storage.Fitter); !ok {
		t.Skip("the store is not particular about metadata")
	}
	for name, meta := range oddMeta() {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprintf("%q", meta)
			fit, lost := storage.Fit(s, meta)
			if now := fmt.Sprintf("%q", meta); now != before {
				t.Errorf("Fit changed what it was given to %s", now)
			}
			wantNamed(t, meta, fit, lost)
			key := "fit/" + strings.ReplaceAll(name, " ", "-")
			if _, err := s.Put(t.Context(), key, strings.NewReader("content"), 7, storage.PutOptions{Meta: fit}); err != nil {
				t.Fatalf("Put of what fits = %v", err)
			}
			for what, in := range said(t, s, key) {
				got := in.Meta
				for _, p := range headersOf(&fit, &got) {
					if *p.a != "" && *p.a != *p.b {
						t.Errorf("%s says %s %q, want %q", what, p.name, *p.b, *p.a)
					}
				}
				if !maps.Equal(got.User, fit.User) {
					t.Errorf("%s says user metadata %.300q, want %.300q", what, got.User, fit.User)
				}
				if fit.Class != "" && got.Class != fit.Class {
					t.Errorf("%s says storage class %q, want %q", what, got.Class, fit.Class)
				}
			}
			if _, ok := s.(storage.Tagger); ok && s.Traits().Meta.Tags {
				wantTags(t, s, key, fit.Tags)
			}
		})
	}
}

type headerPair struct {
	name string
	a, b *string
}

func headersOf(a, b *storage.Meta) []headerPair {
	return []headerPair{
		{"content type", &a.ContentType, &b.ContentType},
		{"content encoding", &a.ContentEncoding, &b.ContentEncoding},
		{"content language", &a.ContentLanguage, &b.ContentLanguage},
		{"content disposition", &a.ContentDisposition, &b.ContentDisposition},
		{"cache control", &a.CacheControl, &b.CacheControl},
	}
}

// wantNamed fails the test unless everything that does not fit is named, and
// everything that fits is as it was.
func wantNamed(t *testing.T, meta, fit storage.Meta, lost []storage.Misfit) {
	t.Helper()
	named := func(f work.Field, name string) bool {
		return slices.ContainsFunc(lost, func(m storage.Misfit) bool {
			return m.Field == f && (m.Name == "" || m.Name == name)
		})
	}
	for _, m := range lost {
		if m.Why == "" {
			t.Errorf("Fit does not say why %s %q does not fit", m.Field, m.Name)
		}
	}
	for _, p := range headersOf(&meta, &fit) {
		if *p.b != *p.a && (*p.b != "" || !named(work.FieldHeaders, p.name)) {
			t.Errorf("Fit made %s %q of %q and names %+v", p.name, *p.b, *p.a, lost)
		}
	}
	if fit.Class != meta.Class && (fit.Class != "" || !named(work.FieldClass, "")) {
		t.Errorf("Fit made storage class %q of %q and names %+v", fit.Class, meta.Class, lost)
	}
	for _, x := range []struct {
		field    work.Field
		was, fit map[string]string
	}{{work.FieldMetadata, meta.User, fit.User}, {work.FieldTags, meta.Tags, fit.Tags}} {
		for name, value := range x.fit {
			if was, ok := x.was[name]; !ok || was != value {
				t.Errorf("Fit made %s %q=%q of %q", x.field, name, value, was)
			}
		}
		for name := range x.was {
			if _, ok := x.fit[name]; !ok && !named(x.field, name) {
				t.Errorf("Fit left out %s %q and names only %+v", x.field, name, lost)
			}
		}
	}
}
