package azurestore

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func TestFit(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 11 {
		many["t"+strconv.Itoa(i)] = ""
	}
	for _, tt := range []struct {
		name string
		m    storage.Meta
		lost []string // field:name
	}{
		{"all fits", storage.Meta{ContentType: "a/b; c=\"d\"", User: map[string]string{"_a1": "100%25"}, Tags: map[string]string{"a b": "+-./:=_"}, Class: "Cold"}, nil},
		{"names", storage.Meta{User: map[string]string{"a-b": "", "1a": "", "": "x", "é": "", "ok": ""}}, []string{"metadata:", "metadata:1a", "metadata:a-b", "metadata:é"}},
		{"values", storage.Meta{User: map[string]string{"a": "é", "b": " x", "c": "x\ty"}}, []string{"metadata:a", "metadata:b", "metadata:c"}},
		{"too much", storage.Meta{User: map[string]string{"a": strings.Repeat("x", maxUser)}}, []string{"metadata:"}},
		{"tags", storage.Meta{Tags: map[string]string{"a*": "b", "a": "ü", "": "b", strings.Repeat("n", 129): "", "v": strings.Repeat("v", 257), "ok": "ok"}},
			[]string{"tags:", "tags:a", "tags:a*", "tags:" + strings.Repeat("n", 129), "tags:v"}},
		{"many tags", storage.Meta{Tags: many}, []string{"tags:"}},
		{"class", storage.Meta{Class: "GLACIER"}, []string{"class:"}},
		{"header", storage.Meta{ContentDisposition: "attachment; filename=ü", CacheControl: "no-cache"}, []string{"headers:content disposition"}},
	} {
		before := maps.Clone(tt.m.User)
		kept, lost := (&Store{}).Fit(tt.m)
		var got []string
		for _, l := range lost {
			got = append(got, string(l.Field)+":"+l.Name)
			if l.Why == "" {
				t.Errorf("%s: no reason for %s", tt.name, l.Field)
			}
		}
		if strings.Join(got, " ") != strings.Join(tt.lost, " ") {
			t.Errorf("%s: lost %q, want %q", tt.name, got, tt.lost)
		}
		if !maps.Equal(before, tt.m.User) {
			t.Errorf("%s: Fit changed what it was given", tt.name)
		}
		if _, again := (&Store{}).Fit(kept); len(again) > 0 {
			t.Errorf("%s: what was kept does not fit: %v", tt.name, again)
		}
	}
}

func TestTagsAndClass(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	tags := map[string]string{"project": "a b+c", "x:y": "1/2=3"}
	meta := storage.Meta{Tags: tags, Class: "Cool"}
	for _, size := range []int{10, maxWhole + 1} {
		content := strings.Repeat("x", size)
		put(t, s, "tagged", content, storage.PutOptions{Meta: meta})
		in, err := s.Stat(t.Context(), "tagged")
		if err != nil || in.TagCount != 2 || in.Meta.Class != "Cool" || in.Archived {
			t.Errorf("Stat = %+v, %v; want two tags and class Cool", in, err)
		}
		if got, err := s.Tags(t.Context(), "tagged"); err != nil || !maps.Equal(got, tags) {
			t.Errorf("Tags = %q, %v; want %q", got, err, tags)
		}
	}
	put(t, s, "bare", "x", storage.PutOptions{})
	if got, err := s.Tags(t.Context(), "bare"); err != nil || got != nil {
		t.Errorf("Tags of none = %q, %v; want nil", got, err)
	}
	_, err := s.Tags(t.Context(), "absent")
	wantFault(t, "Tags of nothing", err, work.NotFound)
}

func TestArchived(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	put(t, s, "cold", "x", storage.PutOptions{Meta: storage.Meta{Class: "Archive"}})
	in, err := s.Stat(t.Context(), "cold")
	if err != nil || !in.Archived || in.Meta.Class != "Archive" {
		t.Errorf("Stat = %+v, %v; want it archived", in, err)
	}
	err = s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		if len(page) != 1 || !page[0].Archived {
			t.Errorf("List gave %+v, want it archived", page)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		tier, status string
		want         bool
	}{{"Archive", "", true}, {"Archive", "rehydrate-pending-to-hot", true}, {"Hot", "", false}, {"", "", false}} {
		if got := archived(tt.tier, tt.status); got != tt.want {
			t.Errorf("archived(%q, %q) = %v", tt.tier, tt.status, got)
		}
	}
	_, err = s.CopyFrom(t.Context(), "copy", s, in, storage.PutOptions{})
	wantFault(t, "CopyFrom an archived object", err, work.Unsupported)
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
}
