package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestExampleIsTheDefault(t *testing.T) {
	t.Parallel()
	got, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("Load(example.yaml) = %+v, want %+v", got, want)
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v, want nil", err)
	}
}

// Equality alone would not notice a key that the example forgot.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		var value any = tree
		ok := true
		for name := range strings.SplitSeq(key, ".") {
			inner, _ := value.(map[string]any)
			if value, ok = inner[name]; !ok {
				t.Errorf("example.yaml does not show %s", key)
				break
			}
		}
	}
	for _, v := range plainVariables {
		if !bytes.Contains(b, []byte("["+v.name+"]")) {
			t.Errorf("example.yaml does not name the variable %s", v.name)
		}
	}
	for _, v := range secretVariables {
		if want := "[" + v.name + ", credential " + v.credential + "]"; !strings.Contains(
			strings.ReplaceAll(string(b), "\n  # ", " "), want) {
			t.Errorf("example.yaml does not say %s", want)
		}
	}
}

func TestLoadOfNothingIsTheDefault(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "comments": "# nothing\n", "empty sections": "agent:\nnats:\n", "empty value": "agent:\n  grace:\n",
	} {
		got, err := parse("f.yaml", []byte(text))
		if err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("%s: parse = %+v, %v, want the default", name, got, err)
		}
	}
	if got, err := Load(""); err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf(`Load("") = %+v, %v, want the default`, got, err)
	}
}

func TestLoadReadsValues(t *testing.T) {
	t.Parallel()
	got, err := parse("f.yaml", []byte(`
data: /srv/t
postgres: {url: "postgres://u:p@h/d?sslmode=disable", connections: 5, timeout: 1m}
nats:
  signing_key: 12345
  max_store: 2GB
agent:
  memory: 4096
  grace: 1h30m
  roots: [/a, /b]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data = "/srv/t"
	want.Postgres = Postgres{URL: NewSecret("postgres://u:p@h/d?sslmode=disable"), Connections: 5, Timeout: Duration(60e9)}
	want.NATS.SigningKey = NewSecret("12345")
	want.NATS.MaxStore = 2_000_000_000
	want.Agent.Memory = 4096
	want.Agent.Grace = Duration(5400e9)
	want.Agent.Roots = []string{"/a", "/b"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parse = %+v, want %+v", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"unknown key with a neighbour", "nats:\n  ulr: x\n", `f.yaml:2:3: unknown key "nats.ulr"; did you mean "nats.url"?`},
		{"unknown key without one", "fruit: apple\n", `f.yaml:1:1: unknown key "fruit"`},
		{"unknown section", "agnet:\n  site: a\n", `f.yaml:1:1: unknown key "agnet"; did you mean "agent"?`},
		{"text for a number", "agent:\n  streams: many\n", "f.yaml:2:12: agent.streams: want a whole number"},
		{"list for a text", "data: [a, b]\n", "f.yaml:1:7: data: "},
		{"number too large", "agent:\n  streams: 99999999999999999999\n", "f.yaml:2:12: agent.streams: 99999999999999999999 is not a whole number in range"},
		{"text for a section", "http: 5\n", "f.yaml:1:7: http: want a mapping, not a int"},
		{"duration without a unit", "agent: {grace: 5}\n", `f.yaml:1:16: agent.grace: "5" is not a duration; write for example 30s or 5m`},
		{"no size", "agent:\n  memory: lots\n", `f.yaml:2:11: agent.memory: "lots" is not a size; write for example 64MiB`},
		{"size that is a list", "agent:\n  memory: [1]\n", "f.yaml:2:11: agent.memory: want a size such as 64MiB"},
		{"secret that is a mapping", "postgres:\n  url: {a: b}\n", "postgres.url"},
		{"not YAML", "data: [a\n", "f.yaml:1:7: "},
		{"key twice", "data: a\ndata: b\n", "f.yaml:2:1: "},
		{"two documents", "data: a\n---\ndata: b\n", "more than one document"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("f.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("parse(%q) = %v, want one line with %q", tt.text, err, tt.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want fs.ErrNotExist", err)
	}
}

// The decoder's own errors quote the lines around the one they are about.
func TestLoadErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	_, err := parse("f.yaml", []byte("nats:\n  token: hunter2\n  domian: x\npostgres:\n  url: postgres://u:hunter2@h/d\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("parse = %v, want an error without the secret", err)
	}
}

func TestSecretIsShownByNothing(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Postgres.URL = NewSecret("hunter2")
	c.NATS.SigningKey = NewSecret("hunter2")
	hidden := struct{ c Config }{c} // fmt may not call the methods of hidden fields

	var out bytes.Buffer
	for _, v := range []any{c, &c, c.NATS, c.NATS.SigningKey, &c.NATS.SigningKey, []Secret{c.NATS.SigningKey}, hidden, map[string]any{"a": c.NATS.SigningKey}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%c", "%U", "%p", "%10s", "%w"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		fmt.Fprintln(&out, fmt.Errorf("failed with %v", v))
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("hello", "config", c, "token", c.NATS.SigningKey, "pointer", &c.NATS.SigningKey, slog.Group("g", "t", c.NATS.SigningKey))
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(strings.ToLower(out.String()), "68756e746572") {
		t.Errorf("a secret was shown:\n%s", out.String())
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that a secret was left out")
	}
	if got := c.NATS.SigningKey.Reveal(); got != "hunter2" {
		t.Errorf("Reveal() = %q, want the text", got)
	}
	if got := fmt.Sprintf("%s%v%#v", Secret{}, Secret{}, Secret{}); got != `""` {
		t.Errorf("an empty secret prints %q, want nothing that looks set", got)
	}
}

func TestSizeIsExact(t *testing.T) {
	t.Parallel()
	for _, want := range []Size{0, 1, 1023, 1024, 1500, 64 << 20, 100_000_000, 3 << 40, 1<<62 + 1} {
		var got Size
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%d is written %q and read as %d, %v", int64(want), want, got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"copy", "coordinator", "demo", "up"}
	for word, want := range map[string]string{
		"cpoy": "copy", "copyy": "copy", "cordinator": "coordinator", "dmeo": "demo",
		"x": "", "banana": "", "pu": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
