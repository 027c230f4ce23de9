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

// An Opener opens the store that a URL names. It must check the URL's form
// and may leave the first network request to the store's first use.
type Opener func(ctx context.Context, u *url.URL) (Store, error)

// Drivers are the openers by URL scheme.
type Drivers map[string]Opener

// Open opens the store that raw names.
func (d Drivers) Open(ctx context.Context, raw string) (Store, error) {
	u, err := ParseURL(raw)
	if err != nil {
		return nil, &Error{Op: "open", Store: raw, Fault: work.Invalid, Err: err}
	}
	open, ok := d[u.Scheme]
	if !ok {
		return nil, &Error{Op: "open", Store: u.Redacted(), Fault: work.Invalid,
			Err:  fmt.Errorf("no driver for scheme %q", u.Scheme),
			Hint: "known schemes: " + strings.Join(d.Schemes(), ", ")}
	}
	return open(ctx, u)
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

// ParseURL reads a store's URL. It refuses one that holds a secret: jobs are
// stored and shown, so credentials belong to the agents.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL: " + strings.TrimPrefix(err.Error(), "parse "))
	}
	if u.Scheme == "" {
		return nil, fmt.Errorf("%q has no scheme; write for example s3://bucket/prefix or file:///folder", raw)
	}
	if u.User != nil {
		return nil, errors.New("a store URL must not hold credentials; give them to the agent's environment")
	}
	return u, nil
}
