package gcsstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	gcs "cloud.google.com/go/storage"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	maxUser     = 8 << 10 // bytes of all user metadata, names and values
	maxLanguage = 100     // bytes of a content language
)

// classes are the storage classes that the service knows.
var classes = []string{"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"}

// readMeta collects the metadata of an object.
//
// An mtime that would be written back with the same text becomes ModTime and
// is not in User; any other stays where it is. So both copies between such
// stores and copies from and to stores with modification times of their own
// keep it, and none changes it.
func readMeta(a *gcs.ObjectAttrs) storage.Meta {
	m := storage.Meta{
		ContentType:        a.ContentType,
		ContentEncoding:    a.ContentEncoding,
		ContentLanguage:    a.ContentLanguage,
		ContentDisposition: a.ContentDisposition,
		CacheControl:       a.CacheControl,
		Class:              a.StorageClass,
	}
	for name, value := range a.Metadata {
		if name == storage.MTime {
			if t, ok := storage.ReadMTime(value); ok {
				m.ModTime = t
				continue
			}
		}
		if m.User == nil {
			m.User = make(map[string]string, len(a.Metadata))
		}
		m.User[userName(a.Metadata, name)] = value
	}
	return m
}

// userName returns a name in lower case, unless that would make it another's:
// the service's own names have case.
func userName(all map[string]string, name string) string {
	lower := strings.ToLower(name)
	if lower == name {
		return name
	}
	for other := range all {
		if other != name && strings.ToLower(other) == lower {
			return name
		}
	}
	return lower
}

// user returns the user metadata that makes an object carry m.
func user(m storage.Meta) map[string]string {
	if _, has := m.User[storage.MTime]; has || m.ModTime.IsZero() {
		return m.User
	}
	all := make(map[string]string, len(m.User)+1)
	maps.Copy(all, m.User)
	all[storage.MTime] = storage.FormatMTime(m.ModTime)
	return all
}

// attributes are m in the words of Google's client.
func attributes(m storage.Meta) gcs.ObjectAttrs {
	return gcs.ObjectAttrs{
		ContentType:        m.ContentType,
		ContentEncoding:    m.ContentEncoding,
		ContentLanguage:    m.ContentLanguage,
		ContentDisposition: m.ContentDisposition,
		CacheControl:       m.CacheControl,
		StorageClass:       m.Class,
		Metadata:           user(m),
	}
}

// Fit returns what of m the service can hold, and what it cannot: it wants
// text, names that HTTP can carry, classes of its own, and no more than 8 KiB
// of user metadata.
func (s *Store) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	var lost []storage.Misfit
	lose := func(f work.Field, name, why string) {
		lost = append(lost, storage.Misfit{Field: f, Name: name, Why: why})
	}
	for _, h := range []struct {
		name  string
		value *string
	}{
		{"content type", &m.ContentType},
		{"content encoding", &m.ContentEncoding},
		{"content language", &m.ContentLanguage},
		{"content disposition", &m.ContentDisposition},
		{"cache control", &m.CacheControl},
	} {
		why := badText(*h.value)
		if h.value == &m.ContentLanguage && len(m.ContentLanguage) > maxLanguage {
			why = fmt.Sprintf("it has %d bytes, Cloud Storage takes up to %d", len(m.ContentLanguage), maxLanguage)
		}
		if why != "" {
			lose(work.FieldHeaders, h.name, why)
			*h.value = ""
		}
	}
	if m.Class != "" && !slices.Contains(classes, m.Class) {
		lose(work.FieldClass, "", fmt.Sprintf("Cloud Storage has no class %q; it has %s", m.Class, strings.Join(classes[:4], ", ")))
		m.Class = ""
	}
	kept, room := make(map[string]string, len(m.User)), maxUser
	if _, has := m.User[storage.MTime]; !has && !m.ModTime.IsZero() {
		room -= len(storage.MTime) + len(storage.FormatMTime(m.ModTime))
	}
	for _, name := range slices.Sorted(maps.Keys(m.User)) {
		value := m.User[name]
		why := badText(value)
		switch {
		case !storage.IsToken(name):
			why = "no header can have this name"
		case why == "" && len(name)+len(value) > room:
			why = fmt.Sprintf("Cloud Storage takes %d bytes of user metadata", maxUser)
		}
		if why != "" {
			lose(work.FieldMetadata, name, why)
			continue
		}
		kept[name] = value
		room -= len(name) + len(value)
	}
	if len(kept) < len(m.User) {
		m.User = kept
	}
	return m, lost
}

// checkMeta refuses what Fit would have left behind.
func (s *Store) checkMeta(m storage.Meta) error {
	_, lost := s.Fit(m)
	if len(lost) == 0 {
		return nil
	}
	return &refusal{
		fault: work.Unsupported, field: lost[0].Field,
		reason: strings.TrimSpace(fmt.Sprintf("%s %s cannot be held: %s", lost[0].Field, lost[0].Name, lost[0].Why)),
	}
}

// badText returns why a value cannot be held, or nothing.
func badText(s string) string {
	if !utf8.ValidString(s) {
		return "it is not UTF-8"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "it holds a control character"
		}
	}
	return ""
}
