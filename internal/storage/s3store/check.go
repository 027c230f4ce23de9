package s3store

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tranship/tranship/internal/work"
)

// check returns why a page cannot be the answer to what was asked: it
// contradicts itself, or says that something else was asked for. A proxy or
// cache in between may have answered, or cut something off. Servers say of this
// more or less; what one leaves out is not held against it, but for the one
// thing that no listing can do without. Nor is a count that no page can have:
// some send that of the whole bucket.
func (s *Store) check(p page, at spot) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: page of a listing: %s", errAnswer, fmt.Sprintf(format, args...))
	}
	a := p.about
	switch {
	case a.truncated != "true" && a.truncated != "false":
		return wrong("it does not say whether it is the last, but %.20q", a.truncated)
	case a.groups > 0:
		return wrong("it hides keys in %d groups, which nobody asked for", a.groups)
	case a.count > len(p.entries) && a.count <= pageKeys:
		return wrong("it holds %d objects and counts %d", len(p.entries), a.count)
	case p.truncated && p.token == "" && len(p.entries) == 0:
		return wrong("it is not the last, but holds nothing and names none that follows")
	case p.truncated && p.token != "" && p.token == at.token:
		return wrong("it names itself as the one that follows")
	}
	after := ""
	if at.after != "" {
		after = s.prefix + at.after
	}
	switch {
	case !mute(a.prefix) && !echoes(a.prefix, s.prefix):
		return wrong("it is of prefix %s, not %s", work.Quote(*a.prefix), work.Quote(s.prefix))
	case at.token != "" && !mute(a.token) && !echoes(a.token, at.token):
		return wrong("it goes on from %.40q, not %.40q", *a.token, at.token)
	case at.token == "" && !mute(a.token) && !echoes(a.token, after): // some servers make a token of the key
		return wrong("it goes on from %.40q, which nobody asked for", *a.token)
	case at.token == "" && !mute(a.after) && !echoes(a.after, after):
		return wrong("it begins after %s, not %s", work.Quote(*a.after), work.Quote(after))
	}
	return nil
}

// mute reports whether a server did not repeat something.
func mute(echo *string) bool { return echo == nil || *echo == "" }

// echoes reports whether a server that repeats what it was asked repeats this.
// It may do so as it was sent or in the coding of keys. What XML cannot hold is
// never seen again.
func echoes(echo *string, asked string) bool {
	if *echo == asked || strings.ContainsFunc(asked, unspeakable) {
		return true
	}
	decoded, err := decodeKey([]byte(*echo))
	return err == nil && decoded == asked
}

func unspeakable(c rune) bool { return c < ' ' || c == utf8.RuneError || c >= 0xfffe && c <= 0xffff }
