package storage

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A holder is a store that keeps some metadata.
type holder struct {
	Store
	has MetaTraits
}

func (h holder) Traits() Traits { return Traits{Name: "holder", Meta: h.has} }

// A shouter holds all metadata but user names in lower case.
type shouter struct{ holder }

func (shouter) Fit(m Meta) (Meta, []Misfit) {
	kept, lost := map[string]string{}, []Misfit(nil)
	for name, value := range m.User {
		if name != strings.ToUpper(name) {
			lost = append(lost, Misfit{Field: work.FieldMetadata, Name: name, Why: "not loud enough"})
			continue
		}
		kept[name] = value
	}
	m.User = kept
	return m, lost
}

var everything = MetaTraits{Headers: true, User: true, Tags: true, Class: true, ModTime: true}

// full has something of each field.
func full() Meta {
	return Meta{
		ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "inline", CacheControl: "no-store",
		User: map[string]string{"LOUD": "1", "quiet": "2"}, Tags: map[string]string{"t": "v"}, Class: "COLD", ModTime: time.Unix(1, 0),
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	without := func(change func(*Meta)) Meta {
		m := full()
		change(&m)
		return m
	}
	tests := []struct {
		name  string
		store Store
		give  Meta
		want  Meta
		lost  string
	}{
		{"all kept", holder{has: everything}, full(), full(), ""},
		{"nothing given", holder{}, Meta{}, Meta{}, ""},
		{"nothing kept", holder{}, full(), Meta{ModTime: time.Unix(1, 0)}, "headers metadata tags class mtime"},
		{"no headers", holder{has: MetaTraits{User: true, Tags: true, Class: true, ModTime: true}}, full(),
			without(func(m *Meta) {
				m.ContentType, m.ContentEncoding, m.ContentLanguage, m.ContentDisposition, m.CacheControl = "", "", "", "", ""
			}), "headers"},
		{"one header counts", holder{}, Meta{CacheControl: "no-store"}, Meta{}, "headers"},
		{"no user metadata", holder{has: MetaTraits{Headers: true, Tags: true, Class: true, ModTime: true}}, full(),
			without(func(m *Meta) { m.User = nil }), "metadata"},
		{"no tags", holder{has: MetaTraits{Headers: true, User: true, Class: true, ModTime: true}}, full(),
			without(func(m *Meta) { m.Tags = nil }), "tags"},
		{"no class", holder{has: MetaTraits{Headers: true, User: true, Tags: true, ModTime: true}}, full(),
			without(func(m *Meta) { m.Class = "" }), "class"},
		{"empty maps are nothing", holder{}, Meta{User: map[string]string{}, Tags: map[string]string{}},
			Meta{User: map[string]string{}, Tags: map[string]string{}}, ""},
		{"particular", shouter{holder{has: everything}}, full(),
			without(func(m *Meta) { delete(m.User, "quiet") }), "metadata:quiet"},
		{"particular about what is left", shouter{holder{has: MetaTraits{User: true}}}, full(),
			Meta{User: map[string]string{"LOUD": "1"}, ModTime: time.Unix(1, 0)}, "headers tags class mtime metadata:quiet"},
	}
	for _, tt := range tests {
		before := fmt.Sprint(tt.give)
		got, lost := Fit(tt.store, tt.give)
		if !reflect.DeepEqual(got, tt.want) || names(lost) != tt.lost {
			t.Errorf("%s: Fit = %+v without %q, want %+v without %q", tt.name, got, names(lost), tt.want, tt.lost)
		}
		if fmt.Sprint(tt.give) != before {
			t.Errorf("%s: Fit changed what it was given", tt.name)
		}
	}
}

// names writes misfits as they are counted: a field, or field:name.
func names(lost []Misfit) string {
	var list []string
	for _, m := range lost {
		name := string(m.Field)
		if m.Name != "" {
			name += ":" + m.Name
		}
		if m.Why == "" {
			name += " for no reason"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

func TestLosses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		src, dst MetaTraits
		rule     work.ClassRule
		want     string
	}{
		{"equals", everything, everything, "keep", ""},
		{"nothing to lose", MetaTraits{}, MetaTraits{}, "", ""},
		{"no place for anything", everything, MetaTraits{}, "keep", "headers metadata tags class mtime"},
		{"class only by rule", everything, MetaTraits{}, "", "headers metadata tags mtime"},
		{"a rule for a source without classes", MetaTraits{}, MetaTraits{}, "*=COLD", "class"},
		{"more than is needed", MetaTraits{User: true}, everything, "", ""},
		{"one field", MetaTraits{User: true, Tags: true}, MetaTraits{User: true}, "", "tags"},
	}
	for _, tt := range tests {
		lost := Losses(Traits{Name: "from", Meta: tt.src}, Traits{Name: "to", Meta: tt.dst}, tt.rule)
		if names(lost) != tt.want {
			t.Errorf("%s: Losses = %q, want %q", tt.name, names(lost), tt.want)
		}
		for _, m := range lost {
			if !strings.Contains(m.Why, "kind to ") {
				t.Errorf("%s: the reason %q does not name the target's kind", tt.name, m.Why)
			}
		}
	}
}
