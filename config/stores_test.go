package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestStoresResolve(t *testing.T) {
	t.Parallel()
	s := Stores{
		"old":   {URL: "s3://photos/base?region=eu-west-1&endpoint=https://one", Match: []string{"s3://photos", "s3://archive/2020/"}, Credentials: map[string]string{"profile": "old"}},
		"inner": {Match: []string{"s3://photos/videos"}, Credentials: map[string]string{"profile": "inner"}},
		"raw":   {URL: "s3://logs?prefix=app-"},
		"disk":  {URL: "file:///srv/data?symlinks=skip", Match: []string{"file:///srv/data"}},
		"bare":  {Site: "paris"},
	}
	tests := []struct{ raw, name, url, wrong string }{
		{"store://old", "old", "s3://photos/base/?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"store://old/", "old", "s3://photos/base/?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"store://old/2020", "old", "s3://photos/base/2020/?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"store://old/a%20b%3F/", "old", "s3://photos/base/a%20b%3F/?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"store://old/../up/", "old", "s3://photos/base/../up/?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""}, // a key is bytes
		{"store://old?prefix=20", "old", "s3://photos?endpoint=https%3A%2F%2Fone&prefix=base%2F20&region=eu-west-1", ""},
		{"store://raw/x/", "raw", "s3://logs/app-x/", ""},
		{"store://raw", "raw", "s3://logs?prefix=app-", ""},
		{"store://disk/a/b/", "disk", "file:///srv/data/a/b?symlinks=skip", ""},
		{"store://disk/", "disk", "file:///srv/data?symlinks=skip", ""},
		{"store://disk/a/../../data", "disk", "file:///srv/data?symlinks=skip", ""},
		{"store://disk/..", "", "", "leads out"},
		{"store://disk/../data2", "", "", "leads out"},
		{"store://old/?region=us-east-1", "", "", "everything but the prefix"},
		{"store://ole/", "", "", "does not know the store ole; did you mean old?"},
		{"store://bare/", "", "", "it has no url"},
		{"s3://photos/x", "old", "s3://photos/x?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"s3://photos/x?region=eu-west-1&kmskeyid=k", "old", "s3://photos/x?endpoint=https%3A%2F%2Fone&kmskeyid=k&region=eu-west-1", ""},
		{"s3://photos/x?endpoint=https://one", "old", "s3://photos/x?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"s3://photos/x?endpoint=https://evil", "", "s3://photos/x?endpoint=https://evil", ""},
		{"s3://photos/x?disable_https=true", "", "s3://photos/x?disable_https=true", ""},
		{"s3://photos/x?profile=other", "", "s3://photos/x?profile=other", ""},
		{"s3://photos/videos/x", "inner", "s3://photos/videos/x", ""},
		{"s3://photos/videos2", "old", "s3://photos/videos2?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"s3://photos?prefix=videos/a", "inner", "s3://photos?prefix=videos/a", ""},
		{"s3://archive/2020/1", "old", "s3://archive/2020/1?endpoint=https%3A%2F%2Fone&region=eu-west-1", ""},
		{"s3://archive/2021", "", "s3://archive/2021", ""},
		{"s3://photos2", "", "s3://photos2", ""},
		{"gs://photos", "", "gs://photos", ""},
		{"file:///srv/data/x", "disk", "file:///srv/data/x?symlinks=skip", ""},
		{"file:///srv/data2", "", "file:///srv/data2", ""},
	}
	for _, tt := range tests {
		p, err := s.Resolve(tt.raw)
		if tt.wrong != "" && err != nil {
			if !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("Resolve(%s): %v, want %q", tt.raw, err, tt.wrong)
			}
			if unknown := strings.Contains(tt.wrong, "know") || strings.Contains(tt.wrong, "no url"); unknown != errors.Is(err, ErrNoStore) {
				t.Errorf("Resolve(%s): %v is ErrNoStore: %v, want %v", tt.raw, err, !unknown, unknown)
			}
			continue
		}
		if err != nil || p.Name != tt.name || p.URL != tt.url || !maps.Equal(p.Credentials, s[p.Name].Credentials) {
			t.Errorf("Resolve(%s) = %+v, %v, want %s of %q", tt.raw, p, err, tt.url, tt.name)
		}
	}
	if got := s.Names(); !slices.IsSorted(got) || len(got) != len(s) {
		t.Errorf("Names() = %v", got)
	}
}

// A region is a part of where requests go: another one than the entry's gets
// nothing of its credentials.
func TestRegionThatIsNotTheEntrys(t *testing.T) {
	t.Parallel()
	s := Stores{
		"fixed": {URL: "s3://fixed?region=eu-west-1", Match: []string{"s3://fixed"}, Credentials: map[string]string{"profile": "p"}},
		"open":  {Match: []string{"s3://open"}, Credentials: map[string]string{"profile": "p"}},
	}
	for raw, want := range map[string]string{
		"s3://fixed/x": "fixed", "s3://fixed/x?region=eu-west-1": "fixed",
		"s3://fixed/x?region=us-east-1": "", "s3://fixed/x?region=": "", "s3://fixed/x?region=eu-west-1.evil": "",
		"s3://open/x?region=us-east-1": "open",
	} {
		p, err := s.Resolve(raw)
		if err != nil || p.Name != want || (len(p.Credentials) > 0) != (want != "") {
			t.Errorf("Resolve(%s) = %+v, %v, want the store %q", raw, p, err, want)
		}
	}
}

// Whoever knows a store by its name must find it in whatever a job calls it.
func TestStoresResolveToNames(t *testing.T) {
	t.Parallel()
	s := Stores{
		"old":  {URL: "s3://photos/base?region=eu-west-1", Match: []string{"s3://photos", "s3://archive"}},
		"disk": {URL: "file:///srv/data", Match: []string{"file:///srv/data"}},
		"bare": {Match: []string{"gs://photos"}},
	}
	for raw, want := range map[string]string{
		"store://old":              "store://old/",
		"store://old/2020/":        "store://old/2020/",
		"store://old?prefix=20":    "store://old/20",
		"s3://photos/base/2020/":   "store://old/2020/",
		"s3://photos?prefix=base/": "store://old/",
		"s3://photos/":             "store://old/", // above it
		"s3://archive/base/2020/":  "store://old/", // beside it
		"file:///srv/data/x":       "store://disk/x/",
		"gs://photos/2020/":        "store://bare/",
		"s3://photos?endpoint=x":   "",
		"s3://others":              "",
	} {
		if p, err := s.Resolve(raw); err != nil || p.Named != want {
			t.Errorf("Resolve(%s) is named %q, %v, want %q", raw, p.Named, err, want)
		}
	}
}

func TestStoresValidate(t *testing.T) {
	t.Parallel()
	key := map[string]string{"access_key_id": "env:ID", "secret_access_key": "file:/run/key"}
	with := func(scheme string, pairs ...string) Stores {
		c := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i]] = pairs[i+1]
		}
		return Stores{"a": {URL: scheme + "://b", Credentials: c}}
	}
	tests := []struct {
		name   string
		stores Stores
		want   string // part of the error; empty: none
	}{
		{"whole", Stores{"a-1": {URL: "s3://b/c?region=x", Match: []string{"s3://b", "s3://c/d"}, Site: "ireland", Credentials: key}}, ""},
		{"site alone", Stores{"a": {Site: "ireland"}}, ""},
		{"session", with("s3", "access_key_id", "env:A", "secret_access_key", "credential:b", "session_token", "env:C"), ""},
		{"profile", with("s3", "profile", "old"), ""},
		{"key file", with("gs", "credentials_json", "file:/etc/key.json"), ""},
		{"login", with("azblob", "tenant_id", "t", "client_id", "c", "client_secret", "env:S"), ""},
		{"managed identity", with("azblob", "client_id", "c"), ""},
		{"name", Stores{"a.b": {Site: "x"}}, `stores.a.b: store "a.b": a name is`},
		{"site that is a word", Stores{"a": {Site: "any"}}, "stores.a: site: site \"any\""},
		{"no URL", Stores{"a": {URL: "photos"}}, `stores.a: url: scheme "" is not one of azblob, file, gs, mem, s3`},
		{"no bucket", Stores{"a": {URL: "s3:///x"}}, "names no bucket"},
		{"secret in the URL", Stores{"a": {URL: "s3://id:hunter2@b"}}, "stores.a: url: holds a user before the @: secrets stand under credentials"},
		{"named by name", Stores{"a": {URL: "store://b"}}, `scheme "store"`},
		{"match with a parameter", Stores{"a": {Match: []string{"s3://b?region=x"}}}, "stores.a.match: takes no parameters"},
		{"two kinds", Stores{"a": {URL: "s3://b", Match: []string{"gs://b"}}}, "two kinds of stores"},
		{"one match of two", Stores{"a": {Match: []string{"s3://b/c"}}, "b": {Match: []string{"s3://b/c/"}}}, "stores.b.match: s3://b/c/ is that of a already"},
		{"credentials of nothing", Stores{"a": {Credentials: key}}, "for what? Give url or match"},
		{"secret itself", with("s3", "access_key_id", "env:A", "secret_access_key", "hunter2"), "stores.a: credentials.secret_access_key: a secret does not stand here"},
		{"misspelt", with("s3", "secret_acces_key", "env:A"), "credentials.secret_acces_key: unknown for s3://; did you mean secret_access_key?"},
		{"another's", with("gs", "profile", "x"), "credentials.profile: unknown for gs://; known: anonymous, credentials_json"},
		{"of a folder", Stores{"a": {URL: "file:///b", Credentials: key}}, "stores of file:// take no credentials"},
		{"half", with("s3", "access_key_id", "env:A"), "access_key_id needs secret_access_key beside it"},
		{"two at once", with("azblob", "account_key", "env:A", "sas", "env:B"), "account_key and sas exclude each other"},
		{"empty", with("s3", "profile", ""), "credentials.profile: must not be empty"},
	}
	for _, tt := range tests {
		err := tt.stores.Validate()
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: Validate() = %v, want %q", tt.name, err, tt.want)
		}
	}
	c, err := parse("f.yaml", []byte("stores:\n  old: {url: 's3://b', site: ireland, match: [s3://b], credentials: {profile: x}}\n"))
	if err != nil || c.Stores["old"].Site != "ireland" || c.Stores["old"].Credentials["profile"] != "x" || c.Validate() != nil {
		t.Errorf("parse = %+v, %v", c.Stores, err)
	}
	c.Stores["old"] = Store{URL: "nope://b"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "stores.old: url") {
		t.Errorf("Config.Validate() = %v, want it to look at stores", err)
	}
}
