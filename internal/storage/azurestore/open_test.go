package azurestore

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// someKey is a key of the form that Azure's have.
const someKey = "c2VjcmV0c2VjcmV0"

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		env       map[string]string
		want      string
	}{
		{"no account", "azblob://box", nil, "AccountName"},
		{"no container", "azblob://?storage_account=abc", nil, "no container"},
		{"unknown parameter", "azblob://box?storage_acount=abc", nil, "unknown parameter"},
		{"prefix that Azure would change", "azblob://box/a%5Cb?storage_account=abc", nil, "backslash"},
		{"token to another endpoint", "azblob://box?domain=example.org",
			map[string]string{"AZURE_STORAGE_ACCOUNT": "abc", "AZURE_STORAGE_SAS_TOKEN": "sig=hush"}, "may the URL name the endpoint"},
		{"login to another endpoint", "azblob://box?storage_account=abc&domain=example.org", nil, "may the URL name the endpoint"},
		{"connection string and endpoint", "azblob://box?domain=example.org",
			map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=abc;AccountKey=" + someKey}, "names the endpoint already"},
		{"key that is none", "azblob://box", map[string]string{"AZURE_STORAGE_ACCOUNT": "abc", "AZURE_STORAGE_KEY": "hush!"}, "not base64"},
		{"connection string that is none", "azblob://box?storage_account=abc",
			map[string]string{"AZURE_STORAGE_CONNECTION_STRING_ABC": "hush"}, "cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, err := storage.Drivers{"azblob": Open}.Open(t.Context(), tt.raw, storage.Credentials{})
			if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("Open = %v, want it refused for %q, without the secret", err, tt.want)
			}
		})
	}
}

// An account is pasted into the host that an identity's token is sent to.
func TestAccountThatNamesAHost(t *testing.T) {
	for _, account := range []string{"evil.example/x", "x@evil.example/", "evil.example#", "evil.example?", "evil.example:443/", "evil.example", "ab",
		"ABC", "a_b_c", "abc-tertiary", "abc\n", "abcdefghijklmnopqrstuvwxy", "127.0.0.1", "%2e%2e"} {
		u := &url.URL{Scheme: "azblob", Host: "box", RawQuery: url.Values{"storage_account": {account}}.Encode()}
		for what, c := range map[string]storage.Credentials{"the machine's login": {}, "a managed identity": storage.NewCredentials(map[string]string{"client_id": "c"})} {
			s, err := Open(t.Context(), u, c)
			if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), "not the name of an account") {
				t.Errorf("%q with %s: Open = %v, %v, want it refused", account, what, s, err)
			}
		}
	}
	s := openURL(t, "azblob://box?storage_account=home-secondary")
	if got := s.container.URL(); got != "https://home-secondary.blob.core.windows.net/box" {
		t.Errorf("the copy in another region is at %s", got)
	}
}

// A domain that is more than a host leads elsewhere than where it seems to.
func TestDomainThatNamesAHost(t *testing.T) {
	for _, domain := range []string{"@evil.example", "evil.example/x", "evil.example#", "evil.example?x", "blob.core.windows.net@evil.example", "127.0.0.1:1@evil.example"} {
		q := url.Values{"storage_account": {"home"}, "domain": {domain}}
		u := &url.URL{Scheme: "azblob", Host: "box", RawQuery: q.Encode()}
		s, err := Open(t.Context(), u, storage.NewCredentials(map[string]string{"client_id": "c"}))
		if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), "not the host") {
			t.Errorf("%q: Open = %v, %v, want it refused", domain, s, err)
		}
	}
}

// A job's URL has the environment's key used at nobody's endpoint but Azure's
// and this machine's.
func TestKeyAtAStrangersEndpoint(t *testing.T) {
	t.Setenv("AZURE_STORAGE_KEY_HOME", someKey)
	for query, allowed := range map[string]bool{
		"":                                      true,
		"domain=127.0.0.1:1":                    true,
		"domain=localhost:1":                    true,
		"domain=[::1]:1&localemu=1":             true,
		"domain=127.0.0.1:1&protocol=http":      true,
		"domain=blob.core.chinacloudapi.cn":     true,
		"domain=z01.blob.storage.azure.net":     true,
		"domain=blob.core.windows.net&cdn=true": true,

		"protocol=http":                             false,
		"domain=example.org":                        false,
		"domain=example.org&cdn=true":               false,
		"domain=example.org&localemu=true":          false,
		"domain=127.0.0.1.example.org":              false,
		"domain=localhost.example.org":              false,
		"domain=evilblob.core.windows.net&cdn=true": false,
		"domain=10.1.2.3:1&localemu=true":           false,
	} {
		u := &url.URL{Scheme: "azblob", Host: "box", RawQuery: "storage_account=home&" + query}
		s, err := Open(t.Context(), u, storage.Credentials{})
		if allowed != (err == nil) || err != nil && !strings.Contains(err.Error(), "the agent's key is not used at") {
			t.Errorf("%s: Open = %v, want it allowed: %v", query, err, allowed)
		}
		if err == nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOpenIdentities looks where requests would go.
func TestOpenIdentities(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "home")
	t.Setenv("AZURE_STORAGE_KEY", someKey)
	t.Setenv("AZURE_STORAGE_SAS_TOKEN_OTHER", "?sig=hush")
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING_THIRD", "DefaultEndpointsProtocol=https;AccountName=third;AccountKey="+someKey+";EndpointSuffix=core.windows.net")
	for raw, want := range map[string]string{
		"azblob://box": "https://home.blob.core.windows.net/box",
		"azblob://box?domain=127.0.0.1:1&protocol=http":    "http://127.0.0.1:1/home/box",
		"azblob://box/p?storage_account=other":             "https://other.blob.core.windows.net/box?sig=hush",
		"azblob://box?storage_account=third":               "https://third.blob.core.windows.net/box",
		"azblob://box?storage_account=stranger&prefix=a/b": "https://stranger.blob.core.windows.net/box",
	} {
		s := openURL(t, raw)
		if got := s.container.URL(); got != want {
			t.Errorf("%s is %s, want %s", raw, got, want)
		}
		if stranger := strings.Contains(raw, "stranger"); stranger != (s.token != nil) {
			t.Errorf("%s: it logs in %v, want %v", raw, s.token != nil, stranger)
		}
	}
	open.mu.Lock()
	defer open.mu.Unlock()
	if p := open.pools["https://home.blob.core.windows.net"]; p == nil || p.users != 1 {
		t.Errorf("the pools are %v, want one of the account's endpoint", open.pools)
	}
}

// TestOwnCredentials has stores with credentials of their own in one process,
// whatever its environment holds.
func TestOwnCredentials(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "home")
	t.Setenv("AZURE_STORAGE_KEY", "not base64: it must not be used")
	for _, tt := range []struct {
		raw         string
		credentials map[string]string
		place       string
		login       bool
		wrong       string // part of the error; empty: none
	}{
		{"azblob://box?storage_account=one", map[string]string{"account_key": someKey}, "https://one.blob.core.windows.net/box", false, ""},
		{"azblob://box", map[string]string{"account_key": someKey}, "https://home.blob.core.windows.net/box", false, ""},
		{"azblob://box?storage_account=two", map[string]string{"sas": "?sig=hush"}, "https://two.blob.core.windows.net/box?sig=hush", false, ""},
		{"azblob://box?storage_account=two&domain=example.org", map[string]string{"sas": "sig=hush"}, "https://two.example.org/box?sig=hush", false, ""},
		{"azblob://box", map[string]string{"connection_string": "DefaultEndpointsProtocol=https;AccountName=third;AccountKey=" + someKey + ";EndpointSuffix=core.windows.net"},
			"https://third.blob.core.windows.net/box", false, ""},
		{"azblob://box?storage_account=four", map[string]string{"tenant_id": "t", "client_id": "c", "client_secret": "hush"}, "https://four.blob.core.windows.net/box", true, ""},
		{"azblob://box?storage_account=five", map[string]string{"client_id": "c"}, "https://five.blob.core.windows.net/box", true, ""},
		{"azblob://box", map[string]string{"account_key": "hush!"}, "", false, "not base64"},
		{"azblob://box", map[string]string{"connection_string": "hush"}, "", false, "cannot be read"},
		{"azblob://box", map[string]string{"key": "hush"}, "", false, "unknown credential"},
	} {
		u, err := url.Parse(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Open(t.Context(), u, storage.NewCredentials(tt.credentials))
		if tt.wrong != "" {
			if !storage.Is(err, work.Invalid) || !strings.Contains(err.Error(), tt.wrong) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: Open = %v, want it refused for %q, without the secret", tt.raw, err, tt.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.raw, err)
			continue
		}
		s := got.(*Store)
		if place := s.container.URL(); place != tt.place || (s.token != nil) != tt.login {
			t.Errorf("%s is %s, and logs in %v, want %s", tt.raw, place, s.token != nil, tt.place)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestErrorsHideTokens fails to reach a service and looks at what is said.
func TestErrorsHideTokens(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "home")
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sig=hush")
	t.Setenv("AZURE_STORAGE_DOMAIN", "127.0.0.1:1")
	t.Setenv("AZURE_STORAGE_PROTOCOL", "http")
	s := openURL(t, "azblob://box")
	_, err := s.Stat(t.Context(), "key")
	wantFault(t, "Stat", err, work.Transient)
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("Stat = %v, want an error without the token", err)
	}
}

func TestOpenerLeavesURLAlone(t *testing.T) {
	t.Setenv("AZURE_STORAGE_KEY_HOME", someKey)
	u, err := url.Parse("azblob://box/a%20b?storage_account=home")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), u, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	if u.RawQuery != "storage_account=home" || s.(*Store).prefix != "a b/" {
		t.Errorf("the URL became %s, the prefix is %q", u, s.(*Store).prefix)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
