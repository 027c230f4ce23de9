package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// ErrNoStore means that a URL names a store that the configuration does not
// know, or does not know where to find; ask with errors.Is.
var ErrNoStore = errors.New("this configuration does not know the store")

// Stores are the named stores by their names.
type Stores map[string]Store

// A Place is what a job's URL comes to.
type Place struct {
	Name        string            // of the store in the configuration; empty: none
	Named       string            // the same as a URL that names the store: store://name/prefix/; empty: none
	URL         string            // to open
	Credentials map[string]string // see Store; those of the process if there are none
}

// Names lists the stores' names, sorted.
func (s Stores) Names() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Site returns where jobs run that are to run at a store; "" if that is not
// known.
func (s Stores) Site(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	if u.Scheme == work.StoreScheme {
		return s[u.Host].Site
	}
	name, _ := s.match(u, func(Store) bool { return true })
	return s[name].Site
}

// Resolve returns what a job's URL comes to: that of the store it names, or
// itself with the parameters of the store that it matches. The longest match
// counts. A URL with another endpoint, region, account or profile than the
// store's is that of another store, and gets nothing of it.
func (s Stores) Resolve(raw string) (Place, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Place{URL: raw}, nil // whoever opens it says what is wrong
	}
	if u.Scheme == work.StoreScheme {
		return s.named(u)
	}
	name, ok := s.match(u, func(st Store) bool { return !st.strange(u) })
	if !ok {
		return Place{URL: raw}, nil
	}
	p := Place{Name: name, URL: raw, Credentials: s[name].Credentials}
	base, err := url.Parse(s[name].URL)
	if err != nil {
		base = &url.URL{}
	}
	p.Named = namedAs(name, inside(base, u))
	if base.RawQuery == "" {
		return p, nil
	}
	own, query := u.Query(), base.Query()
	query.Del("prefix")
	for k, v := range own {
		query[k] = v
	}
	full := *u
	full.RawQuery = query.Encode()
	p.URL = full.String()
	return p, nil
}

// named returns what store://name/prefix comes to.
func (s Stores) named(u *url.URL) (Place, error) {
	st, ok := s[u.Host]
	switch {
	case !ok:
		hint := ""
		if near := Nearest(u.Host, s.Names()); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		return Place{}, fmt.Errorf("%w %s%s", ErrNoStore, work.Quote(u.Host), hint)
	case st.URL == "":
		return Place{}, fmt.Errorf("%w %s well enough: it has no url", ErrNoStore, u.Host)
	}
	p := Place{Name: u.Host, Credentials: st.Credentials}
	for name := range u.Query() {
		if name != "prefix" {
			return p, fmt.Errorf("unknown parameter %q: of a named store the configuration says everything but the prefix", name)
		}
	}
	base, err := url.Parse(st.URL)
	if err != nil {
		return p, fmt.Errorf("stores.%s.url is not a URL", u.Host)
	}
	sub, err := prefixOf(u)
	if err != nil {
		return p, err
	}
	p.Named = namedAs(u.Host, sub)
	if base.Scheme == "file" {
		p.URL, err = below(base, sub)
		return p, err
	}
	prefix, err := prefixOf(base)
	if err != nil {
		return p, err
	}
	p.URL = withPrefix(base, prefix+sub)
	return p, nil
}

// namedAs returns the URL that names a store and what lies in it.
func namedAs(name, prefix string) string {
	return (&url.URL{Scheme: work.StoreScheme, Host: name, Path: "/" + prefix}).String()
}

// inside returns the prefix of a URL as seen from a store's; "", all of the
// store, if it does not lie inside.
func inside(base, u *url.URL) string {
	if base.Scheme != u.Scheme || base.Host != u.Host {
		return ""
	}
	above, aerr := prefixOf(base)
	prefix, err := prefixOf(u)
	rest, ok := strings.CutPrefix(prefix, above)
	if aerr != nil || err != nil || !ok {
		return ""
	}
	return rest
}

// prefixOf reads the prefix that a URL names as its path or as a parameter.
func prefixOf(u *url.URL) (string, error) {
	folder, raw := strings.TrimPrefix(u.Path, "/"), u.Query().Get("prefix")
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

// withPrefix returns the URL of a bucket with another prefix.
func withPrefix(base *url.URL, prefix string) string {
	u, q := *base, base.Query()
	u.RawPath = ""
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		q.Del("prefix")
		u.Path = "/" + prefix
	} else {
		q.Set("prefix", prefix)
		u.Path = ""
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// below returns the URL of a folder inside another one.
func below(base *url.URL, sub string) (string, error) {
	root := strings.TrimSuffix(path.Clean("/"+base.Path), "/") + "/"
	folder := path.Clean(root + sub)
	if folder+"/" != root && !strings.HasPrefix(folder, root) {
		return "", errors.New("its .. leads out of the named store")
	}
	u := *base
	u.Path, u.RawPath = folder, ""
	return u.String(), nil
}

// match returns the store of those which fit that a URL matches longest.
func (s Stores) match(u *url.URL, fits func(Store) bool) (name string, ok bool) {
	longest := -1
	prefix, err := prefixOf(u)
	if err != nil {
		return "", false
	}
	for _, n := range s.Names() {
		for _, text := range s[n].Match {
			m, err := url.Parse(text)
			if err != nil || m.Scheme != u.Scheme || m.Host != u.Host {
				continue
			}
			within, err := prefixOf(m)
			if err == nil && len(within) > longest && strings.HasPrefix(prefix, within) && fits(s[n]) {
				name, ok, longest = n, true, len(within)
			}
		}
	}
	return name, ok
}

// steering are the parameters that say where a request goes, or as whom.
var steering = []string{"access_id", "anonymous", "cdn", "disable_https", "domain", "endpoint", "localemu",
	"private_key_path", "profile", "protocol", "role", "storage_account", "universe_domain"}

// strange reports whether a URL goes elsewhere than the store's own, so that
// nothing of the store's credentials may be shown there.
func (st Store) strange(u *url.URL) bool {
	var home url.Values
	if base, err := url.Parse(st.URL); err == nil {
		home = base.Query()
	}
	q := u.Query()
	differs := func(name string) bool { return q.Has(name) && q.Get(name) != home.Get(name) }
	// An entry that names no region leaves it to the URL: without an endpoint,
	// every region is the same service's.
	return slices.ContainsFunc(steering, differs) || home.Has("region") && differs("region")
}
