package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

// credentials are what stores of a scheme can be opened with, and whether it is
// a secret.
var credentials = map[string]map[string]bool{
	"s3": {"access_key_id": true, "secret_access_key": true, "session_token": true, "profile": false, "anonymous": false},
	"gs": {"credentials_json": true, "anonymous": false},
	"azblob": {"account_key": true, "sas": true, "connection_string": true,
		"tenant_id": false, "client_id": false, "client_secret": true},
	"file": {},
	"mem":  {},
}

// CredentialNames lists what stores of a scheme can be opened with, sorted.
func CredentialNames(scheme string) []string {
	return slices.Sorted(maps.Keys(credentials[scheme]))
}

// Validate reports every value that cannot be right, each with its key.
func (s Stores) Validate() error {
	var errs []error
	of := map[string]string{} // whose a match is
	for _, name := range s.Names() {
		key, st := "stores."+name, s[name]
		errs = append(errs, keyed(key, work.CheckName("store", name)), keyed(key, st.check()))
		for _, m := range st.Match {
			u, err := storeURL(m)
			if err == nil && u.RawQuery != "" {
				err = errors.New("takes no parameters")
			}
			if err != nil {
				errs = append(errs, keyed(key+".match", err))
				continue
			}
			prefix, _ := prefixOf(u) // there are no parameters
			place := u.Scheme + "://" + u.Host + "/" + prefix
			if other, taken := of[place]; taken {
				errs = append(errs, fmt.Errorf("%s.match: %s is that of %s already: one store must be meant", key, m, cmp.Or(other, name)))
			}
			of[place] = name
		}
	}
	return errors.Join(errs...)
}

// check reports what of a store cannot be right by itself.
func (st Store) check() error {
	var errs []error
	scheme, urls := "", st.Match
	if st.URL != "" {
		u, err := storeURL(st.URL)
		errs = append(errs, keyed("url", err))
		if err == nil {
			_, err = prefixOf(u)
			errs = append(errs, keyed("url", err))
		}
		urls = append([]string{st.URL}, urls...)
	}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		switch {
		case err != nil:
		case scheme == "":
			scheme = u.Scheme
		case scheme != u.Scheme:
			errs = append(errs, fmt.Errorf("%s and %s are two kinds of stores: give each a name of its own", scheme, u.Scheme))
		}
	}
	if st.Site != "" {
		errs = append(errs, keyed("site", work.CheckSite(st.Site)))
	}
	return errors.Join(append(errs, st.checkCredentials(scheme))...)
}

func (st Store) checkCredentials(scheme string) error {
	if len(st.Credentials) > 0 && scheme == "" {
		return errors.New("credentials: for what? Give url or match")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(st.Credentials)) {
		key, value := "credentials."+name, st.Credentials[name]
		secret, ok := credentials[scheme][name]
		switch {
		case !ok && len(credentials[scheme]) == 0:
			errs = append(errs, fmt.Errorf("%s: stores of %s:// take no credentials", key, scheme))
		case !ok:
			hint := "known: " + strings.Join(CredentialNames(scheme), ", ")
			if near := Nearest(name, CredentialNames(scheme)); near != "" {
				hint = "did you mean " + near + "?"
			}
			errs = append(errs, fmt.Errorf("%s: unknown for %s://; %s", key, scheme, hint))
		case secret:
			errs = append(errs, keyed(key, CheckSource(value)))
		default:
			errs = append(errs, keyed(key, notEmpty(value)))
		}
	}
	return errors.Join(append(errs, st.checkTogether(scheme))...)
}

// together are credentials that are nothing without others.
var together = map[string][][2]string{
	"s3":     {{"access_key_id", "secret_access_key"}, {"secret_access_key", "access_key_id"}, {"session_token", "access_key_id"}},
	"azblob": {{"client_secret", "client_id"}, {"client_secret", "tenant_id"}, {"tenant_id", "client_secret"}},
}

// alternatives are credentials of which one is enough, and two leave open which
// is meant.
var alternatives = map[string][]string{
	"s3":     {"access_key_id", "profile", "anonymous"},
	"gs":     {"credentials_json", "anonymous"},
	"azblob": {"account_key", "sas", "connection_string", "client_secret"},
}

func (st Store) checkTogether(scheme string) error {
	has := func(name string) bool { _, ok := st.Credentials[name]; return ok }
	for _, p := range together[scheme] {
		if has(p[0]) && !has(p[1]) {
			return fmt.Errorf("credentials: %s needs %s beside it", p[0], p[1])
		}
	}
	given := slices.DeleteFunc(slices.Clone(alternatives[scheme]), func(name string) bool { return !has(name) })
	if len(given) > 1 {
		return fmt.Errorf("credentials: %s exclude each other: give one of them", strings.Join(given, " and "))
	}
	return nil
}

// storeURL reads the URL of a store as the configuration may name it.
func storeURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL such as s3://bucket/prefix")
	}
	_, known := credentials[u.Scheme]
	switch secret := work.SecretIn(u); {
	case secret != "":
		return nil, fmt.Errorf("holds %s: secrets stand under credentials", secret)
	case !known:
		return nil, fmt.Errorf("scheme %q is not one of %s", u.Scheme, strings.Join(slices.Sorted(maps.Keys(credentials)), ", "))
	case u.Fragment != "":
		return nil, errors.New("must not hold a #: write %23")
	case u.Scheme == "file" && !filepath.IsAbs(u.Path), u.Scheme != "file" && u.Host == "":
		return nil, errors.New("names no bucket or folder: write for example s3://bucket/prefix or file:///folder")
	}
	return u, nil
}
