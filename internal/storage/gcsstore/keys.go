package gcsstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/work"
)

const maxName = 1024 // bytes

// checkName returns why the service can have no object of this name, or nil.
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("it has %d bytes with the prefix, Cloud Storage takes up to %d", len(name), maxName)
	case !utf8.ValidString(name):
		return errors.New("it is not UTF-8, as Cloud Storage demands")
	case strings.ContainsAny(name, "\r\n"):
		return errors.New("it holds a line break, which Cloud Storage refuses")
	case name == "." || name == "..":
		return fmt.Errorf("no object may be called %s", name)
	case strings.HasPrefix(name, ".well-known/acme-challenge/"):
		return errors.New("no object may lie in .well-known/acme-challenge/")
	case hidden(name):
		return errors.New("it lies in a folder of an upload in parts, which is not listed")
	}
	return nil
}

// check returns the name of the object that has the key, or why there can be
// none.
func (s *Store) check(key string) (name string, err error) {
	name = s.prefix + key
	if key == "" {
		err = errors.New("an object needs a key")
	} else {
		err = checkName(name)
	}
	if err != nil {
		return "", &refusal{fault: work.Unsupported, reason: "no object can have this key: " + err.Error(), field: work.FieldKeys}
	}
	return name, nil
}

// Keeps says whether an object can have the key. The service keeps all that it
// takes.
func (s *Store) Keeps(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return s.fail("keep", key, err)
	}
	_, err := s.check(key)
	return s.fail("keep", key, err)
}

// partsFolder begins the name of a folder for the parts of an upload:
//
//	.tranship-upload-<16 hex digits of the key's hash>-<26 random letters>/
const (
	partsFolder = ".tranship-upload-"
	hashLength  = 16
	randLength  = 26
)

// hidden reports whether a name lies in a folder for parts. Whoever looks at
// the bucket through another prefix must not take them for objects either.
func hidden(name string) bool {
	for rest := name; ; {
		i := strings.Index(rest, partsFolder)
		if i < 0 {
			return false
		}
		start := len(name) - len(rest) + i
		rest = rest[i+len(partsFolder):]
		if (start == 0 || name[start-1] == '/') && isFolder(rest) {
			return true
		}
	}
}

// isFolder reports whether s begins like a folder's name after its first word.
func isFolder(s string) bool {
	const length = hashLength + 1 + randLength
	if len(s) <= length || s[hashLength] != '-' || s[length] != '/' {
		return false
	}
	only := func(s, alphabet string) bool { return strings.Trim(s, alphabet) == "" }
	return only(s[:hashLength], "0123456789abcdef") && only(s[hashLength+1:length], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

// probeName returns a name for a short-lived object that nobody else has.
func (s *Store) probeName() string { return s.prefix + ".tranship-probe-" + rand.Text() }

// startOf returns the first name that can come after one, or that very name,
// to start a listing with: the service takes only UTF-8. It returns false if
// no name can come after it.
func startOf(after string) (string, bool) {
	if utf8.ValidString(after) {
		return after, true
	}
	good := 0 // bytes that are UTF-8
	for good < len(after) {
		r, n := utf8.DecodeRuneInString(after[good:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		good += n
	}
	head, rest := after[:good], after[good:]
	// The order of runes is that of their bytes. Look for the first rune whose
	// bytes come after the rest.
	low, high := rune(0), rune(utf8.MaxRune+1)
	for low < high {
		middle := low + (high-low)/2
		if string(valid(middle)) < rest {
			low = middle + 1
		} else {
			high = middle
		}
	}
	for low > utf8.MaxRune { // none: count the rune before up
		if head == "" {
			return "", false
		}
		last, n := utf8.DecodeLastRuneInString(head)
		head, low = head[:len(head)-n], last+1
	}
	return head + string(valid(low)), true
}

// valid returns r, or the next rune if it is half a surrogate pair, which
// UTF-8 leaves out.
func valid(r rune) rune {
	if 0xd800 <= r && r < 0xe000 {
		return 0xe000
	}
	return r
}
