package s3store

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/work"
)

const maxKey = 1024 // bytes

// An oddity is a sort of key that S3 allows and that some servers change in
// silence, so that it would name another object. Amazon's keeps them all; any
// other server is asked, once per store, by storing an object under such a
// key in a folder of its own and looking at how it is listed.
type oddity struct {
	what  string
	has   func(key string) bool
	probe string // a key that has it, in the folder f
}

var kinds = []oddity{
	{"a leading slash", func(key string) bool { return key[0] == '/' }, "/f/x"},
	{"an empty part between slashes", func(key string) bool { return strings.Contains(key[1:], "//") }, "f//x"},
	{"a part that is . or ..", hasDots, "f/y/../x"},
	{"tabs or line breaks", func(key string) bool { return strings.ContainsAny(key, "\t\n\r\x7f") }, "f/\t\n\r\x7fx"},
	{"a part of more than 255 bytes", hasLongPart, "f/" + strings.Repeat("x", 256)},
	{"control characters", func(key string) bool { return strings.ContainsFunc(key, isControl) }, "f/\x01\x1fx"},
}

func hasDots(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// hasLongPart reports whether a part is too long to be a file's name.
func hasLongPart(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if len(part) > 255 {
			return true
		}
	}
	return false
}

// isControl reports whether XML cannot hold a character.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

// probeName returns a name for a short-lived object that nobody else has.
func probeName() string { return ".tranship-probe-" + rand.Text() }

// oddOf returns the oddities of a key with its prefix.
func (s *Store) oddOf(full string) []oddity {
	if s.client.amazon || full == "" {
		return nil
	}
	var odd []oddity
	for _, k := range kinds {
		if k.has(full) {
			odd = append(odd, k)
		}
	}
	return odd
}

// keeps returns nil if the server can store an object under the key as it is.
func (s *Store) keeps(ctx context.Context, key string) error {
	full := s.prefix + key
	switch {
	case key == "":
		return misfit(work.FieldKeys, "an object needs a key")
	case len(full) > maxKey:
		return misfit(work.FieldKeys, "the key has %d bytes with the prefix, S3 takes up to %d", len(full), maxKey)
	case !utf8.ValidString(full):
		return misfit(work.FieldKeys, "the key is not UTF-8, as S3 demands")
	}
	odd := s.oddOf(full)
	if len(odd) > 0 && strings.IndexByte(full, 0) >= 0 {
		return misfit(work.FieldKeys, "the key holds a NUL")
	}
	for _, k := range odd {
		if err := s.probe(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// Keeps reports whether the server can hold an object under the key. Only of
// the sorts of keys that servers are known to change, and once per sort, it
// asks.
func (s *Store) Keeps(ctx context.Context, key string) error {
	return s.fail("keep", key, s.keeps(ctx, key))
}

// probe finds out whether the server keeps keys with an oddity.
func (s *Store) probe(ctx context.Context, k oddity) error {
	s.asked.Lock()
	defer s.asked.Unlock()
	if err, known := s.odd[k.what]; known {
		return err
	}
	err := s.try(ctx, k)
	var no *refusal
	if err != nil && !errors.As(err, &no) {
		return err // not an answer to the question
	}
	if s.odd == nil {
		s.odd = make(map[string]error)
	}
	s.odd[k.what] = err
	return err
}

// try stores an empty object under the oddity's key, looks how the server
// lists it, and removes it.
func (s *Store) try(ctx context.Context, k oddity) error {
	folder := probeName()
	key := strings.Replace(k.probe, "f", folder, 1)
	if key[0] != '/' {
		key = s.prefix + key
	}
	refused := misfit(work.FieldKeys, "the server does not keep keys with %s", k.what)
	answer, _, err := s.roundTrip(ctx, &request{method: http.MethodPut, key: key, body: http.NoBody})
	switch f := faultOf(err); {
	case err == nil:
	case f == work.Unsupported || f == work.Invalid || f == work.NotFound && !noBucket(err):
		return refused
	case isTaken(err): // nothing else is in this folder
		return refused
	default:
		return err
	}
	before, _, _ := strings.Cut(key, folder)
	listed, err := s.first(ctx, before+folder)
	for _, left := range []string{key, listed, strings.TrimPrefix(key, "/")} {
		if left != "" {
			s.remove(ctx, left, []string{answer.Get(versionID)}) // wherever it went
		}
	}
	if err == nil && listed != key {
		err = refused
	}
	return err
}

// first returns the first key with a prefix, empty if there is none.
func (s *Store) first(ctx context.Context, prefix string) (string, error) {
	resp, err := s.do(ctx, &request{
		method: http.MethodGet,
		query:  "list-type=2&encoding-type=url&max-keys=1&prefix=" + escapeQuery(prefix),
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	p, err := readPage(resp)
	if err != nil || len(p.entries) == 0 {
		return "", err
	}
	return p.entries[0].key, nil
}

// inTheWay finds out whether an object was refused because there are others
// beneath its key. A server that keeps objects in files then says the same as
// when it only got into its own way for a moment.
func (s *Store) inTheWay(ctx context.Context, key string, err error) error {
	if !isTaken(err) {
		return err
	}
	folder := s.prefix + strings.TrimSuffix(key, "/") + "/"
	if beneath, no := s.first(ctx, folder); no == nil && beneath != "" {
		return misfit(work.FieldKeys, "there are objects beneath it, such as %s: %v", work.Quote(beneath), err)
	}
	return err
}

func isTaken(err error) bool {
	var api *apiError
	return errors.As(err, &api) && api.Code == "ExistingObjectIsDirectory"
}

// exists makes sure, of a key that the server may take for another, that there
// is an object of this very key.
func (s *Store) exists(ctx context.Context, key string) error {
	full := s.prefix + key
	if len(s.oddOf(full)) == 0 {
		return nil
	}
	listed, err := s.first(ctx, full)
	if err == nil && listed != full {
		err = refuse(work.NotFound, "there is no object of this key")
	}
	return err
}
