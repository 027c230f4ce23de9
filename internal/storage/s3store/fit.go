package s3store

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Limits of what travels with an object.
const (
	maxTags     = 10
	maxTagName  = 128 // characters
	maxTagValue = 256 // characters

	// Bytes of user metadata, names and values: what Amazon's takes, and what
	// fits into the 8 KiB that servers read of a request's head. Those that take
	// less say so themselves.
	maxUser      = 2 << 10
	maxOtherUser = 6 << 10
)

// Fit takes out of m what requests cannot carry, and what the server has
// refused before. Of too many tags, or too much user metadata, none is better
// than another, so they are left out together.
func (s *Store) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	var lost []storage.Misfit
	for _, f := range contentHeaders(&m) {
		if why := wrongValue(*f.value); why != "" {
			name := strings.ToLower(strings.ReplaceAll(f.name, "-", " "))
			lost = append(lost, storage.Misfit{Field: work.FieldHeaders, Name: name, Why: why})
			*f.value = ""
		}
	}
	lost = append(lost, s.fitUser(&m)...)
	lost = append(lost, s.fitTags(&m)...)
	if m.Class != "" {
		why := ""
		if !storage.IsToken(m.Class) {
			why = "no storage class has such a name"
		} else if _, no := s.refusedClasses.Load(m.Class); no {
			why = fmt.Sprintf("the server has refused class %s", m.Class)
		}
		if why != "" {
			lost = append(lost, storage.Misfit{Field: work.FieldClass, Why: why})
			m.Class = ""
		}
	}
	return m, lost
}

// fitUser takes out user metadata, and the time that is kept as such.
func (s *Store) fitUser(m *storage.Meta) []storage.Misfit {
	var wrong []storage.Misfit
	size, folded := 0, false
	for name, value := range m.User {
		why := wrongValue(value)
		if !storage.IsToken(name) {
			why = "its name cannot be part of a header's"
		}
		if why != "" {
			wrong = append(wrong, storage.Misfit{Field: work.FieldMetadata, Name: name, Why: why})
		}
		size += len(name) + len(value)
		folded = folded || strings.ToLower(name) != name
	}
	if folded {
		wrong = append(wrong, twice(m.User)...)
	}
	if len(wrong) > 0 {
		slices.SortFunc(wrong, func(a, b storage.Misfit) int { return cmp.Compare(a.Name, b.Name) })
		m.User = maps.Clone(m.User)
		for _, w := range wrong {
			size -= len(w.Name) + len(m.User[w.Name])
			delete(m.User, w.Name)
		}
	}
	limit := maxOtherUser
	if s.client.amazon {
		limit = maxUser
	}
	if size > limit {
		m.User = nil
		return append(wrong, storage.Misfit{Field: work.FieldMetadata,
			Why: fmt.Sprintf("it has %d bytes, S3 takes up to %d", size, limit)})
	}
	if _, has := m.User[storage.MTime]; !has && !m.ModTime.IsZero() && size+len(storage.MTime)+len(storage.FormatMTime(m.ModTime)) > limit {
		m.ModTime = time.Time{}
		wrong = append(wrong, storage.Misfit{Field: work.FieldMTime, Why: "the user metadata leaves no room for it"})
	}
	return wrong
}

// twice returns all but one of the names that differ in case alone.
func twice(user map[string]string) []storage.Misfit {
	var wrong []storage.Misfit
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(user)) {
		lower := strings.ToLower(name)
		if seen[lower] && storage.IsToken(name) && wrongValue(user[name]) == "" {
			wrong = append(wrong, storage.Misfit{Field: work.FieldMetadata, Name: name, Why: "names are without case, and it is there twice"})
		}
		seen[lower] = true
	}
	return wrong
}

// fitTags takes out tags.
func (s *Store) fitTags(m *storage.Meta) []storage.Misfit {
	var wrong []storage.Misfit
	for name, value := range m.Tags {
		why := wrongTag(name, value)
		if why == "" && s.plainTags.Load() && !isASCII(name+value) {
			why = "the server has refused tags that are not ASCII"
		}
		if why != "" {
			wrong = append(wrong, storage.Misfit{Field: work.FieldTags, Name: name, Why: why})
		}
	}
	if len(wrong) > 0 {
		slices.SortFunc(wrong, func(a, b storage.Misfit) int { return cmp.Compare(a.Name, b.Name) })
		m.Tags = maps.Clone(m.Tags)
		for _, w := range wrong {
			delete(m.Tags, w.Name)
		}
	}
	if n := len(m.Tags); n > maxTags {
		m.Tags = nil
		wrong = append(wrong, storage.Misfit{Field: work.FieldTags, Why: fmt.Sprintf("they are %d, S3 takes up to %d", n, maxTags)})
	}
	return wrong
}

// wrongTag says why S3 cannot hold a tag; empty if it can.
func wrongTag(name, value string) string {
	switch {
	case name == "":
		return "it has no name"
	case !utf8.ValidString(name) || !utf8.ValidString(value):
		return "it is not UTF-8"
	case utf8.RuneCountInString(name) > maxTagName:
		return fmt.Sprintf("its name has more than %d characters", maxTagName)
	case utf8.RuneCountInString(value) > maxTagValue:
		return fmt.Sprintf("its value has more than %d characters", maxTagValue)
	case strings.HasPrefix(strings.ToLower(name), "aws:"):
		return "names that begin with aws: are Amazon's own"
	case strings.ContainsFunc(name+value, notOfTags):
		return "S3 takes letters, digits, spaces and + - = . _ : / @ in tags"
	}
	return ""
}

func notOfTags(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Z, r) && !strings.ContainsRune("+-=._:/@", r)
}

// wrongValue says why a header cannot carry a value; empty if it can.
func wrongValue(s string) string {
	if s != strings.TrimSpace(s) {
		return "white space around it would be lost"
	}
	if !utf8.ValidString(s) {
		return "it is not UTF-8"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return "it holds a control character"
		}
	}
	return ""
}
