package azurestore

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// The service's limits on metadata and tags.
const (
	maxUser  = 8 << 10 // bytes of all names and values
	maxTags  = 10
	maxName  = 128 // of a tag
	maxValue = 256 // of a tag
)

// tiers are the classes that a block blob can be written with.
var tiers = []string{"Hot", "Cool", "Cold", "Archive", "Smart"}

func text[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

// readUser sorts an object's metadata into User and ModTime. An mtime that
// would be written back with the same text becomes ModTime and is not in User;
// any other stays where it is.
func readUser(m *storage.Meta, user map[string]*string) {
	for name, value := range user {
		name, value := strings.ToLower(name), text(value)
		if name == storage.MTime {
			if t, ok := storage.ReadMTime(value); ok {
				m.ModTime = t
				continue
			}
		}
		if m.User == nil {
			m.User = make(map[string]string)
		}
		m.User[name] = value
	}
}

// writing is an object's metadata as requests carry it.
type writing struct {
	headers *blob.HTTPHeaders
	user    map[string]*string
	tags    map[string]string
	tier    *blob.AccessTier
}

// write puts metadata in the form of requests, or fails naming what headers
// cannot carry. The service's own rules are for Fit, and for the service.
func write(m storage.Meta) (writing, error) {
	w := writing{tags: m.Tags, headers: &blob.HTTPHeaders{}}
	for _, f := range []struct {
		name, value string
		field       **string
	}{
		{"content type", m.ContentType, &w.headers.BlobContentType},
		{"content encoding", m.ContentEncoding, &w.headers.BlobContentEncoding},
		{"content language", m.ContentLanguage, &w.headers.BlobContentLanguage},
		{"content disposition", m.ContentDisposition, &w.headers.BlobContentDisposition},
		{"cache control", m.CacheControl, &w.headers.BlobCacheControl},
	} {
		if f.value == "" {
			continue
		}
		if why := headerProblem(f.value); why != "" {
			return w, &refusal{work.Unsupported, work.FieldHeaders, fmt.Sprintf("a header cannot hold %s %q: %s", f.name, f.value, why)}
		}
		*f.field = &f.value
	}
	w.user = make(map[string]*string, len(m.User)+1)
	for name, value := range m.User {
		why := headerProblem(value)
		if !storage.IsToken(name) {
			why = "the name cannot be part of a header's"
		}
		if why != "" {
			return w, &refusal{work.Unsupported, work.FieldMetadata, fmt.Sprintf("a header cannot hold user metadata %q: %s", name, why)}
		}
		w.user[name] = &value
	}
	if _, has := m.User[storage.MTime]; !has && !m.ModTime.IsZero() {
		at := storage.FormatMTime(m.ModTime)
		w.user[storage.MTime] = &at
	}
	if m.Class != "" {
		tier := blob.AccessTier(m.Class)
		w.tier = &tier
	}
	return w, nil
}

// Fit implements storage.Fitter by the service's rules: names of metadata are
// identifiers of C#, and tags are few, short and plain.
func (s *Store) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	var lost []storage.Misfit
	headers := []*string{&m.ContentType, &m.ContentEncoding, &m.ContentLanguage, &m.ContentDisposition, &m.CacheControl}
	for i, name := range []string{"content type", "content encoding", "content language", "content disposition", "cache control"} {
		if why := headerProblem(*headers[i]); *headers[i] != "" && why != "" {
			*headers[i] = ""
			lost = append(lost, storage.Misfit{Field: work.FieldHeaders, Name: name, Why: why})
		}
	}
	m.User = fitEach(m.User, work.FieldMetadata, &lost, userProblem)
	m.Tags = fitEach(m.Tags, work.FieldTags, &lost, tagProblem)
	total := 0
	for name, value := range m.User {
		total += len(name) + len(value)
	}
	if total > maxUser {
		m.User = nil
		lost = append(lost, storage.Misfit{Field: work.FieldMetadata, Why: fmt.Sprintf("it has %d bytes, Azure takes %d", total, maxUser)})
	}
	if n := len(m.Tags); n > maxTags {
		m.Tags = nil
		lost = append(lost, storage.Misfit{Field: work.FieldTags, Why: fmt.Sprintf("there are %d, Azure takes %d", n, maxTags)})
	}
	if m.Class != "" && !slices.Contains(tiers, m.Class) {
		lost = append(lost, storage.Misfit{Field: work.FieldClass, Why: fmt.Sprintf("Azure has no access tier %q but %s", m.Class, strings.Join(tiers, ", "))})
		m.Class = ""
	}
	return m, lost
}

// fitEach returns pairs without those that have a problem. It leaves pairs as
// it is.
func fitEach(pairs map[string]string, field work.Field, lost *[]storage.Misfit, problem func(name, value string) string) map[string]string {
	kept := maps.Clone(pairs)
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		if why := problem(name, pairs[name]); why != "" {
			delete(kept, name)
			*lost = append(*lost, storage.Misfit{Field: field, Name: name, Why: why})
		}
	}
	return kept
}

func userProblem(name, value string) string {
	for i, c := range []byte(name) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return "Azure takes only letters, digits and _ in the name, and no digit at its start"
		}
	}
	if name == "" {
		return "it has no name"
	}
	return headerProblem(value)
}

func tagProblem(name, value string) string {
	plain := func(s string) bool {
		return strings.IndexFunc(s, func(c rune) bool {
			alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			return !alnum && !strings.ContainsRune(" +-./:=_", c)
		}) < 0
	}
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Sprintf("the name has %d characters, Azure takes 1 to %d", len(name), maxName)
	case len(value) > maxValue:
		return fmt.Sprintf("the value has %d characters, Azure takes %d", len(value), maxValue)
	case !plain(name) || !plain(value):
		return "Azure takes only letters, digits, spaces and + - . / : = _ in tags"
	}
	return ""
}

// headerProblem says why a header cannot carry a value unchanged, or "".
func headerProblem(s string) string {
	if s != strings.TrimSpace(s) {
		return "white space around it would be lost"
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return "it holds a character that is not plain ASCII"
		}
	}
	return ""
}
