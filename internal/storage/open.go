package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// An Opener opens the store that a URL names, with c or, where c is zero, with
// what it finds in the environment. It must check the form of both, refuse
// credentials that it does not know, and may leave the first network request to
// the store's first use.
type Opener func(ctx context.Context, u *url.URL, c Credentials) (Store, error)

// Drivers are the openers by URL scheme.
type Drivers map[string]Opener

// Open opens the store that raw names, with c or, where c is zero, with what its
// driver finds in the environment.
func (d Drivers) Open(ctx context.Context, raw string, c Credentials) (Store, error) {
	u, err := ParseURL(raw)
	if err != nil {
		return nil, &Error{Op: "open", Store: shown(raw), Fault: work.Invalid, Err: err}
	}
	open, ok := d[u.Scheme]
	if !ok {
		return nil, &Error{Op: "open", Store: u.Redacted(), Fault: work.Invalid,
			Err:  fmt.Errorf("no driver for scheme %q", u.Scheme),
			Hint: "known schemes: " + strings.Join(d.Schemes(), ", ")}
	}
	return open(ctx, u, c)
}

// Schemes lists the schemes that can be opened, sorted.
func (d Drivers) Schemes() []string {
	s := make([]string, 0, len(d))
	for scheme := range d {
		s = append(s, scheme)
	}
	slices.Sort(s)
	return s
}

// Prefix reads the prefix that a bucket's URL names: its path as a folder, to
// which a missing "/" is added, or the raw text of the query's prefix.
func Prefix(u *url.URL) (string, error) {
	folder := strings.TrimPrefix(u.Path, "/")
	raw := u.Query().Get("prefix")
	switch {
	case folder != "" && raw != "":
		return "", errors.New("give the prefix either as the path or as ?prefix=, not both")
	case raw != "":
		return raw, nil
	case folder == "" || strings.HasSuffix(folder, "/"):
		return folder, nil
	}
	return folder + "/", nil
}

// CheckQuery refuses query parameters that a driver does not know, so that a
// misspelt one is not taken for its default.
func CheckQuery(u *url.URL, known ...string) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("query of the URL: %w", err)
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown parameter %q; known: %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// ParseURL reads a store's URL. It refuses one that holds a secret: jobs are
// stored and shown, so credentials belong to the agents.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err // without the text, which may hold a secret
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	if secret := work.SecretIn(u); secret != "" {
		return nil, fmt.Errorf("a store URL must not hold credentials, such as %s: they belong to the agents, in their configuration's stores or their environment", secret)
	}
	if u.Scheme == "" {
		return nil, errors.New("no scheme; write for example s3://bucket/prefix or file:///folder")
	}
	return u, nil
}

// shown returns what may be shown of a text that may be no good URL, or holds a
// secret: no user and no query, also where its question mark is escaped.
func shown(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "//")
	if !ok {
		return raw
	}
	for _, mark := range []string{"?", "#", "%3F", "%3f"} {
		rest, _, _ = strings.Cut(rest, mark)
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "//" + rest
}
