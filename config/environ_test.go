package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// env is an environment for one test.
func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// account is the public key of one.
const account = "A" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// file writes a file in a folder of the test's own and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironWins(t *testing.T) {
	t.Parallel()
	c := Default()
	c.NATS.SigningKey = NewSecret("of the file")
	err := c.Environ(env(map[string]string{
		"TRANSHIP_DATA":              "/d",
		"TRANSHIP_LOG_LEVEL":         "debug",
		"TRANSHIP_LOG_FORMAT":        "json",
		"TRANSHIP_HTTP_LISTEN":       "127.0.0.1:1",
		"TRANSHIP_NATS_LISTEN":       "127.0.0.1:2",
		"TRANSHIP_HTTP_URL":          "https://t.example.org",
		"TRANSHIP_HTTP_OPEN":         "true",
		"TRANSHIP_NATS_AUTH":         "open",
		"TRANSHIP_NATS_ADVERTISE":    "tls://n.example.org:4222",
		"TRANSHIP_AGENT_NAME":        "a1",
		"TRANSHIP_SITE":              "s1",
		"TRANSHIP_STREAMS":           "7",
		"TRANSHIP_MEMORY":            "1GiB",
		"TRANSHIP_GRACE":             "9s",
		"TRANSHIP_STALL":             "8s",
		"TRANSHIP_DATABASE_URL":      "postgres://h/d",
		"TRANSHIP_NATS_URL":          "nats://h:4222",
		"TRANSHIP_NATS_SIGNING_KEY":  "t",
		"TRANSHIP_NATS_OPERATOR_KEY": "o",
		"TRANSHIP_NATS_CREDENTIALS":  "/c.creds",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data, want.Log = "/d", Log{"debug", "json"}
	want.HTTP.Listen, want.HTTP.URL, want.HTTP.Open = "127.0.0.1:1", "https://t.example.org", true
	want.NATS.Auth, want.NATS.Advertise = "open", "tls://n.example.org:4222"
	want.NATS.Listen, want.NATS.Credentials = "127.0.0.1:2", "/c.creds"
	want.Agent.Streams, want.Agent.Stall = 7, Duration(8*time.Second)
	want.Agent.Name, want.Agent.Site, want.Agent.Memory, want.Agent.Grace = "a1", "s1", 1<<30, Duration(9*time.Second)
	want.Postgres.URL, want.NATS.URL, want.NATS.SigningKey = NewSecret("postgres://h/d"), NewSecret("nats://h:4222"), NewSecret("t")
	want.NATS.OperatorKey = NewSecret("o")
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Environ made %+v, want %+v", c, want)
	}
}

func TestEnvironOfNothingChangesNothing(t *testing.T) {
	t.Parallel()
	c := Default()
	if err := c.Environ(env(map[string]string{"TRANSHIP_DATA": ""})); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("Environ made %+v, want the default", c)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"postgres-url": "postgres://u:p@h/d\n", "nats-signing-key": "of the credential\n", "nats-creds": "-----BEGIN\n",
		"nats-operator-key": "the operator's\n", "nats-system-creds": "-----BEGIN\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Default()
	err := c.Environ(env(map[string]string{
		CredentialsVariable:              folder,
		"TRANSHIP_NATS_SIGNING_KEY_FILE": file(t, "token", "of the file\n"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Postgres.URL.Reveal(); got != "postgres://u:p@h/d" {
		t.Errorf("the credential postgres-url gave %q", got)
	}
	if got := c.NATS.SigningKey.Reveal(); got != "of the file" {
		t.Errorf("the token is %q, want that of TRANSHIP_NATS_SIGNING_KEY_FILE", got)
	}
	if !c.NATS.URL.IsZero() {
		t.Error("a credential that is not there set a value")
	}
	if got := c.NATS.OperatorKey.Reveal(); got != "the operator's" {
		t.Errorf("the credential nats-operator-key gave %q", got)
	}
	if got, want := c.NATS.SystemCredentials, filepath.Join(folder, "nats-system-creds"); got != want {
		t.Errorf("nats.system_credentials = %q, want %q", got, want)
	}
	if got, want := c.NATS.Credentials, filepath.Join(folder, "nats-creds"); got != want {
		t.Errorf("nats.credentials = %q, want %q", got, want)
	}
}

func TestEnvironRefuses(t *testing.T) {
	t.Parallel()
	empty := file(t, "empty", "\n")
	tests := []struct {
		name string
		vars map[string]string
		want string
	}{
		{"no such file", map[string]string{"TRANSHIP_NATS_SIGNING_KEY_FILE": "/no/such/file"}, "TRANSHIP_NATS_SIGNING_KEY_FILE: open /no/such/file"},
		{"empty file", map[string]string{"TRANSHIP_DATABASE_URL_FILE": empty}, "is empty"},
		{"no size", map[string]string{"TRANSHIP_MEMORY": "much"}, `TRANSHIP_MEMORY: "much" is not a size`},
		{"no duration", map[string]string{"TRANSHIP_GRACE": "5"}, `TRANSHIP_GRACE: "5" is not a duration`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			if err := c.Environ(env(tt.vars)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Environ = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key    string
		change func(c *Config)
	}{
		{"data", func(c *Config) { c.Data = "" }},
		{"log.level", func(c *Config) { c.Log.Level = "loud" }},
		{"log.format", func(c *Config) { c.Log.Format = "xml" }},
		{"postgres.url", func(c *Config) { c.Postgres.URL = NewSecret("host=hunter2") }},
		{"postgres.url", func(c *Config) { c.Postgres.URL = NewSecret("postgres://u:hunter2%zz@h/d") }},
		{"postgres.url", func(c *Config) { c.Postgres.URL = NewSecret("mysql://u:hunter2@h/d") }},
		{"postgres.url", func(c *Config) { c.Postgres.URL = NewSecret("postgres://u:hunter2@h") }},
		{"postgres.connections", func(c *Config) { c.Postgres.Connections = 1 }},
		{"postgres.timeout", func(c *Config) { c.Postgres.Timeout = 0 }},
		{"nats.url", func(c *Config) { c.NATS.URL = NewSecret("hunter2:4222") }},
		{"nats.url", func(c *Config) { c.NATS.URL = NewSecret("nats://a:1,http://hunter2") }},
		{"nats.domain", func(c *Config) { c.NATS.Domain = "a.b" }},
		{"nats.listen", func(c *Config) { c.NATS.Listen = "4222" }},
		{"nats.listen", func(c *Config) { c.NATS.Listen, c.NATS.Auth = "0.0.0.0:4222", "open" }},
		{"nats.listen", func(c *Config) { c.NATS.Listen = "0.0.0.0:4222" }},
		{"nats.auth", func(c *Config) { c.NATS.Auth = "token" }},
		{"nats.advertise", func(c *Config) { c.NATS.Advertise = "nats.example.org:4222" }},
		{"nats.tls", func(c *Config) { c.NATS.TLS.Certificate = "/c.pem" }},
		{"nats.tls", func(c *Config) { c.NATS.TLS.Key = "/k.pem" }},
		{"nats.account", func(c *Config) { c.NATS.URL, c.NATS.SigningKey = NewSecret("nats://a:1"), NewSecret("hunter2") }},
		{"nats.account", func(c *Config) { c.NATS.Account, c.NATS.SigningKey = account, NewSecret("hunter2") }},
		{"nats.account", func(c *Config) {
			c.NATS.URL, c.NATS.Account, c.NATS.SigningKey = NewSecret("nats://a:1"), "U"+account[1:], NewSecret("hunter2")
		}},
		{"nats.signing_key", func(c *Config) { c.NATS.URL, c.NATS.Account = NewSecret("nats://a:1"), account }},
		{"nats.operator_key", func(c *Config) { c.NATS.OperatorKey = NewSecret("hunter2") }},
		{"nats.operator_key", func(c *Config) {
			c.NATS.URL, c.NATS.Account, c.NATS.SigningKey = NewSecret("nats://a:1"), account, NewSecret("hunter2")
			c.NATS.OperatorKey = NewSecret("hunter2")
		}},
		{"nats.replicas", func(c *Config) { c.NATS.Replicas = 2 }},
		{"nats.ack_wait", func(c *Config) { c.NATS.AckWait = 0 }},
		{"nats.max_store", func(c *Config) { c.NATS.MaxStore = 1 }},
		{"http.listen", func(c *Config) { c.HTTP.Listen = ":8480" }},
		{"http.listen", func(c *Config) { c.HTTP.Listen = "0.0.0.0:8480" }},
		{"http.listen", func(c *Config) { c.HTTP.Listen = "example.org:8480" }},
		{"http.listen", func(c *Config) { c.HTTP.Listen = "127.0.0.1:99999" }},
		{"http.listen", func(c *Config) { c.HTTP.Listen = "127.0.0.1:http" }},
		{"http.listen", func(c *Config) {
			c.HTTP.Listen, c.HTTP.Open, c.HTTP.TLS = "0.0.0.0:8480", true, TLS{Certificate: "/c", Key: "/k"}
		}},
		{"http.url", func(c *Config) { c.HTTP.URL = "tranship.example.org" }},
		{"http.url", func(c *Config) { c.HTTP.URL = "http://tranship.example.org" }},
		{"http.url", func(c *Config) { c.HTTP.URL = "https://tranship.example.org/fleet" }},
		{"http.url", func(c *Config) { c.HTTP.URL = "https://u:hunter2@tranship.example.org" }},
		{"http.tls", func(c *Config) { c.HTTP.TLS.Certificate = "/c" }},
		{"http.tls", func(c *Config) { c.HTTP.TLS.Key = "/k" }},
		{"coordinator.window", func(c *Config) { c.Coordinator.Window = 0 }},
		{"coordinator.reconcile", func(c *Config) { c.Coordinator.Reconcile = 1 }},
		{"coordinator.stalled", func(c *Config) { c.Coordinator.Stalled = Duration(time.Second) }},
		{"coordinator.stalled", func(c *Config) { c.Coordinator.Stalled = Duration(25 * time.Hour) }},
		{"agent.name", func(c *Config) { c.Agent.Name = "a b" }},
		{"agent.site", func(c *Config) { c.Agent.Site = "" }},
		{"agent.streams", func(c *Config) { c.Agent.Streams = 0 }},
		{"agent.memory", func(c *Config) { c.Agent.Memory = 1 }},
		{"agent.grace", func(c *Config) { c.Agent.Grace = -1 }},
		{"agent.stall", func(c *Config) { c.Agent.Stall = 0 }},
		{"agent.metrics", func(c *Config) { c.Agent.Metrics = "0.0.0.0:9480" }},
		{"agent.roots", func(c *Config) { c.Agent.Roots = []string{"a"} }},
	}
	for _, tt := range tests {
		c := Default()
		tt.change(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tt.key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Validate() = %v, want one complaint about %s", err, tt.key)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Validate() shows a secret: %v", err)
		}
	}
	c := Default()
	c.Data, c.Agent.Site = "", ""
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("Validate() of two mistakes = %v, want both", err)
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *Config){
		"databases":       func(c *Config) { c.Postgres.URL = NewSecret("postgresql://u:p@h:5/d?sslmode=require") },
		"a socket":        func(c *Config) { c.Postgres.URL = NewSecret("postgres:///tranship?host=/run/postgresql") },
		"several servers": func(c *Config) { c.NATS.URL = NewSecret("nats://a:1, tls://b:2") },
		"any port":        func(c *Config) { c.NATS.Listen, c.HTTP.Listen = "127.0.0.1:0", "localhost:0" },
		"IPv6":            func(c *Config) { c.HTTP.Listen = "[::1]:8480" },
		"public with keys and a certificate": func(c *Config) {
			c.NATS.Listen, c.NATS.TLS = "0.0.0.0:4222", TLS{Certificate: "/c.pem", Key: "/k.pem"}
		},
		"keys elsewhere": func(c *Config) {
			c.NATS.URL, c.NATS.Account, c.NATS.SigningKey = NewSecret("nats://a:1"), account, NewSecret("SA")
			c.NATS.SystemCredentials, c.NATS.OperatorKey = "/s.creds", NewSecret("SO")
		},
		"public, not in use": func(c *Config) { c.NATS.Listen, c.NATS.URL = "0.0.0.0:4222", NewSecret("nats://a:1") },
		"a name":             func(c *Config) { c.Agent.Name = "host-1" },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: Validate() = %v, want nil", name, err)
		}
	}
}
