package cli

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What is wrong with a command line is said exactly: what, why, what next.
func TestWrongWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"unknown command", []string{"coppy"}, ExitUsage,
			"tranship: unknown command \"coppy\" for tranship\n  did you mean tranship copy?\n"},
		{"unknown command, nothing like it", []string{"teleport"}, ExitUsage,
			"tranship: unknown command \"teleport\" for tranship\n  see tranship --help\n"},
		{"unknown command of a group", []string{"job", "watsh"}, ExitUsage,
			"tranship: unknown command \"watsh\" for tranship job\n  did you mean tranship job watch?\n"},
		{"unknown flag", []string{"copy", "--verfy", "size", "a", "b"}, ExitUsage,
			"tranship: tranship copy: unknown flag: --verfy\n  did you mean --verify?\n"},
		{"unknown short flag", []string{"job", "ls", "-x"}, ExitUsage,
			"tranship: tranship job ls: unknown shorthand flag: 'x' in -x\n  see tranship job ls --help\n"},
		{"flag of another type", []string{"copy", "--streams", "many", "a", "b"}, ExitUsage,
			"tranship: tranship copy: invalid argument \"many\" for \"--streams\" flag: strconv.ParseInt: parsing \"many\": invalid syntax\n  see tranship copy --help\n"},
		{"flag without a value", []string{"copy", "--streams"}, ExitUsage,
			"tranship: tranship copy: flag needs an argument: --streams\n  see tranship copy --help\n"},
		{"no argument", []string{"copy"}, ExitUsage,
			"tranship: tranship copy: SOURCE is missing\n  usage: tranship copy SOURCE TARGET [flags]\n"},
		{"one argument", []string{"copy", "a"}, ExitUsage,
			"tranship: tranship copy: TARGET is missing\n  usage: tranship copy SOURCE TARGET [flags]\n"},
		{"too many arguments", []string{"copy", "a", "b", "c"}, ExitUsage,
			"tranship: tranship copy: \"c\" is one argument too many\n  usage: tranship copy SOURCE TARGET [flags]\n"},
		{"argument of a command without", []string{"up", "now"}, ExitUsage,
			"tranship: tranship up: \"now\" is one argument too many\n  usage: tranship up [flags]\n"},
		{"empty store", []string{"copy", "", "b"}, ExitUsage,
			"tranship: SOURCE is empty\n  write for example s3://bucket/prefix or ./folder\n"},
		{"secret in a URL", []string{"copy", "s3://key:hunter2@b/", dir}, ExitUsage,
			"tranship: SOURCE: a store URL must not hold credentials, such as a user before the @: they belong to the agents, in their configuration's stores or their environment\n  see tranship copy --help\n"},
		{"same store twice", []string{"copy", "/a/b", "file:///a/b/"}, ExitUsage,
			"tranship: source and target are the same: file:///a/b\n  name two different stores\n"},
		{"target in the source", []string{"copy", "/a/b", "/a/b/c"}, ExitUsage,
			"tranship: the target file:///a/b/c lies in the source file:///a/b\n  name a target outside of the source\n"},
		{"not a level", []string{"copy", "--verify", "hope", "/a", "/b"}, ExitUsage,
			"tranship: --verify: unknown verification level \"hope\": use size, etag, checksum or readback\n  see tranship copy --help\n"},
		{"not a comparison", []string{"copy", "--compare", "vibes", "/a", "/b"}, ExitUsage,
			"tranship: --compare: unknown comparison \"vibes\": use content, size or none\n  see tranship copy --help\n"},
		{"not a size", []string{"copy", "--split-size", "big", "/a", "/b"}, ExitUsage,
			"tranship: --split-size: \"big\" is not a size; write for example 64MiB\n  see tranship copy --help\n"},
		{"small split", []string{"copy", "--split-size", "5MiB", "/a", "/b"}, ExitUsage,
			"tranship: --split-size: 5MiB is less than 8MiB\n  larger objects travel in parts; leave it out for the default\n"},
		{"not a storage class", []string{"copy", "--storage-class", "COLD", "/a", "/b"}, ExitUsage,
			"tranship: --storage-class: storage class rule \"COLD\": write keep, or FROM=TO pairs such as STANDARD_IA=NEARLINE,*=STANDARD\n  see tranship copy --help\n"},
		{"not a field", []string{"copy", "--carry", "acl=drop", "/a", "/b"}, ExitUsage,
			"tranship: --carry: unknown field \"acl\": use headers, metadata, tags, class, mtime, keys, archived\n  see tranship copy --help\n"},
		{"not a policy", []string{"copy", "--carry", "tags=lose", "/a", "/b"}, ExitUsage,
			"tranship: --carry: unknown policy \"lose\" for tags: use fail, skip or drop\n  see tranship copy --help\n"},
		{"keys dropped", []string{"copy", "--carry", "keys=drop", "/a", "/b"}, ExitUsage,
			"tranship: --carry: nothing can be dropped from keys: use fail or skip\n  see tranship copy --help\n"},
		{"less than no objects", []string{"copy", "--dry-run", "--inspect", "-1", "/a", "/b"}, ExitUsage,
			"tranship: --inspect: -1 is less than 0\n  0 looks at none\n"},
		{"no attempts", []string{"copy", "--max-attempts", "0", "/a", "/b"}, ExitUsage,
			"tranship: --max-attempts: 0 is less than 1\n  1 means no second try\n"},
		{"not a priority", []string{"copy", "--priority", "asap", "/a", "/b"}, ExitUsage,
			"tranship: unknown priority \"asap\"\n  use hi, norm or lo\n"},
		{"not a site", []string{"copy", "--at", "a.b", "/a", "/b"}, ExitUsage,
			"tranship: --at: site \"a.b\": a name is 1 to 40 letters, digits, - or _ and begins with a letter or digit\n  see tranship copy --help\n"},
		{"not a format", []string{"job", "ls", "-o", "jsn"}, ExitUsage,
			"tranship: tranship job ls: invalid argument \"jsn\" for \"-o, --output\" flag: did you mean json?\n  see tranship job ls --help\n"},
		{"unknown format", []string{"job", "ls", "-o", "parquet"}, ExitUsage,
			"tranship: tranship job ls: invalid argument \"parquet\" for \"-o, --output\" flag: use one of table, tsv, json, ndjson\n  see tranship job ls --help\n"},
		{"not a job", []string{"job", "show", "seven"}, ExitUsage,
			"tranship: \"seven\" is not the number of a job\n  tranship job ls lists them\n"},
		{"not a fault", []string{"job", "retry", "7", "--fault", "bad_luck"}, ExitUsage,
			"tranship: unknown fault \"bad_luck\"\n  use transient, throttled, not_found, denied, changed, corrupt, unsupported, invalid or internal\n"},
		{"not a state", []string{"job", "ls", "--state", "happy"}, ExitUsage,
			"tranship: unknown state \"happy\"\n  use running, paused, succeeded, incomplete, failed or canceled\n"},
		{"not an outcome", []string{"job", "objects", "7", "--outcome", "lost"}, ExitUsage,
			"tranship: unknown outcome \"lost\"\n  use copied, skipped or failed\n"},
		{"both", []string{"job", "objects", "7", "--outcome", "failed", "--open"}, ExitUsage,
			"tranship: --open and --outcome exclude each other\n  use one of them\n"},
		{"two keys", []string{"job", "attempts", "7", "a", "--key64", "YQ=="}, ExitUsage,
			"tranship: --key64 and KEY exclude each other\n  use one of them\n"},
		{"not base64", []string{"job", "attempts", "7", "--key64", "a b"}, ExitUsage,
			"tranship: --key64: \"a b\" is not base64\n  write it as tranship job failures -o json does\n"},
		{"no job to show attempts of", []string{"job", "attempts"}, ExitUsage,
			"tranship: tranship job attempts: JOB is missing\n  usage: tranship job attempts JOB [KEY] [flags]\n"},
		{"a third argument", []string{"job", "attempts", "7", "a", "b"}, ExitUsage,
			"tranship: tranship job attempts: \"b\" is one argument too many\n  usage: tranship job attempts JOB [KEY] [flags]\n"},
		{"not a server", []string{"job", "ls", "--server", "localhost:8480"}, ExitUsage,
			"tranship: server \"localhost:8480\" is neither the URL nor the name of a coordinator\n  tranship context ls lists those that have a name; else write for example http://127.0.0.1:8480\n"},
		{"no name of a token", []string{"token", "create"}, ExitUsage,
			"tranship: tranship token create: NAME is missing\n  usage: tranship token create NAME [flags]\n"},
		{"not a scope", []string{"token", "create", "ci", "--scope", "root"}, ExitUsage,
			"tranship: --scope: unknown scope \"root\": use read, operate or admin\n  see tranship token create --help\n"},
		{"not a life", []string{"token", "create", "ci", "--expires", "soon"}, ExitUsage,
			"tranship: --expires: \"soon\" is not a time of a minute or more\n  write for example 12h, 30d or never\n"},
		{"no objects", []string{"demo", "--objects", "0"}, ExitUsage,
			"tranship: --objects: 0 is less than 1\n  write for example --objects 5000\n"},
		{"nothing to migrate", []string{"migrate"}, ExitUsage,
			"tranship: no database: set postgres.url or TRANSHIP_DATABASE_URL\n  a private Postgres is migrated by whoever starts it\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantStatus(t, tt.status, tt.args...)
			if got := w.stderr.String(); got != tt.want {
				t.Errorf("stderr is\n%swant\n%s", got, tt.want)
			}
			if got := w.stdout.String(); got != "" {
				t.Errorf("stdout is %q, want nothing", got)
			}
		})
	}
}

// What depends on the machine is said with the words that matter.
func TestWrongWorld(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	free := freeAddress(t)
	src := tree(t, map[string]string{"a": "a"})
	conf := func(text string) string {
		return filepath.Join(tree(t, map[string]string{"tranship.yaml": text}), "tranship.yaml")
	}
	tests := []struct {
		name   string
		env    map[string]string
		args   []string
		status int
		want   []string
	}{
		{"no server", nil, []string{"job", "ls", "--server", "http://" + free}, ExitUnreachable,
			[]string{free, "refused", "TRANSHIP_SERVER"}},
		{"no server by the environment", map[string]string{"TRANSHIP_SERVER": "http://" + free}, []string{"fleet", "ls"}, ExitUnreachable,
			[]string{free, "refused"}},
		{"no server to copy with", map[string]string{"TRANSHIP_SERVER": "http://" + free}, []string{"copy", "/a", "/b"}, ExitUnreachable,
			[]string{free}},
		{"unknown scheme", nil, []string{"copy", "ftps://x/y", src}, ExitUsage, []string{"ftps", "s3", "file"}},
		{"unknown parameter", nil, []string{"copy", "s3://b?regoin=x", src}, ExitUsage, []string{"regoin", "region"}},
		{"unknown key", nil, []string{"coordinator", "--config", conf("http:\n  lisen: x\n")}, ExitUsage,
			[]string{"tranship.yaml:2:3", `unknown key "http.lisen"`, `"http.listen"`}},
		{"no configuration", nil, []string{"agent", "--config", "/no/such.yaml"}, ExitUsage, []string{"/no/such.yaml"}},
		{"configuration by the environment", map[string]string{"TRANSHIP_CONFIG": "/no/such.yaml"}, []string{"agent"}, ExitUsage,
			[]string{"/no/such.yaml"}},
		{"value out of range", nil, []string{"agent", "--config", conf("agent: {streams: -1}\n")}, ExitUsage, []string{"agent.streams"}},
		{"public page", map[string]string{"TRANSHIP_HTTP_LISTEN": "0.0.0.0:0"}, []string{"coordinator"}, ExitUsage,
			[]string{"http.listen", "0.0.0.0", "http.open", "127.0.0.1"}},
		{"public page without TLS", map[string]string{"TRANSHIP_HTTP_LISTEN": "0.0.0.0:0", "TRANSHIP_HTTP_OPEN": "false"}, []string{"coordinator"}, ExitUsage,
			[]string{"http.listen", "0.0.0.0", "http.tls.certificate", "127.0.0.1"}},
		{"no certificate", nil, []string{"up", "--config", conf("http: {listen: \"127.0.0.1:0\", tls: {certificate: /no/such.pem, key: /no/such.key}}\n")}, ExitUsage,
			[]string{"http.tls", "/no/such.pem"}},
		{"public queue", map[string]string{"TRANSHIP_NATS_LISTEN": "0.0.0.0:0"}, []string{"up"}, ExitUsage,
			[]string{"nats.listen", "nats.auth"}},
		{"public queue without a certificate", map[string]string{"TRANSHIP_NATS_LISTEN": "0.0.0.0:0", "TRANSHIP_NATS_AUTH": "keys"}, []string{"up"}, ExitUsage,
			[]string{"nats.listen", "nats.tls.certificate"}},
		{"not a database", map[string]string{"TRANSHIP_DATABASE_URL": "hunter2@x"}, []string{"coordinator"}, ExitUsage,
			[]string{"postgres.url", "postgres://"}},
		{"page's port in use", map[string]string{"TRANSHIP_HTTP_LISTEN": taken.Addr().String()}, []string{"up"}, ExitFailed,
			[]string{"http.listen", taken.Addr().String(), "in use"}},
		{"queue's port in use", map[string]string{"TRANSHIP_HTTP_LISTEN": "127.0.0.1:0", "TRANSHIP_NATS_LISTEN": taken.Addr().String()},
			[]string{"up"}, ExitFailed, []string{"nats.listen", taken.Addr().String(), "in use"}},
		{"Postgres down", map[string]string{"TRANSHIP_DATABASE_URL": "postgres://u:hunter2@" + free + "/x?sslmode=disable",
			"TRANSHIP_HTTP_LISTEN": "127.0.0.1:0", "TRANSHIP_NATS_LISTEN": "127.0.0.1:0"}, []string{"up"}, ExitUnreachable,
			[]string{"Postgres", "refused", "TRANSHIP_DATABASE_URL"}},
		{"Postgres down for migrate", map[string]string{"TRANSHIP_DATABASE_URL": "postgres://u:hunter2@" + free + "/x?sslmode=disable"},
			[]string{"migrate"}, ExitUnreachable, []string{"Postgres", "refused"}},
		{"Postgres down for copy", map[string]string{"TRANSHIP_DATABASE_URL": "postgres://u:hunter2@" + free + "/x?sslmode=disable"},
			[]string{"copy", src, "/nowhere"}, ExitUnreachable, []string{"Postgres", "refused"}},
		{"NATS down", map[string]string{"TRANSHIP_NATS_URL": "nats://u:hunter2@" + free}, []string{"agent"}, ExitUnreachable,
			[]string{"NATS", free, "TRANSHIP_NATS_URL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for k, v := range tt.env {
				w.env[k] = v
			}
			w.wantStatus(t, tt.status, tt.args...)
			for _, want := range tt.want {
				if !strings.Contains(w.stderr.String(), want) {
					t.Errorf("the error does not say %q:\n%s", want, w.stderr.String())
				}
			}
			if strings.Contains(w.stderr.String(), "hunter2") {
				t.Errorf("the error shows a secret:\n%s", w.stderr.String())
			}
		})
	}
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &program{stdout: &w.stdout, stderr: newConsole(&w.stderr), lookup: func(string) (string, bool) { return "", false }}
	var walk func(cmd *cobra.Command, path ...string)
	walk = func(cmd *cobra.Command, path ...string) {
		w := newWorld(t)
		w.wantStatus(t, ExitOK, append(path, "--help")...)
		golden(t, filepath.Join("help", strings.Join(append([]string{"tranship"}, path...), "-")+".txt"), w.stdout.String())
		if cmd.Short == "" || (cmd.RunE == nil && !cmd.HasSubCommands()) {
			t.Errorf("%s says nothing or does nothing", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			walk(c, append(path[:len(path):len(path)], c.Name())...)
		}
	}
	walk(p.root())
}

func TestVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wantStatus(t, ExitOK, "version", "-o", "json")
	for _, want := range []string{`"version": "`, `"go": "go1.`, `"os": "`} {
		if !strings.Contains(w.stdout.String(), want) {
			t.Errorf("version -o json has no %s:\n%s", want, w.stdout.String())
		}
	}
	w = newWorld(t)
	w.wantStatus(t, ExitOK, "--version")
	if !strings.HasPrefix(w.stdout.String(), "tranship version ") {
		t.Errorf("--version says %q", w.stdout.String())
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		w := newWorld(t)
		w.wantStatus(t, ExitOK, "completion", shell)
		if !strings.Contains(w.stdout.String(), "tranship") {
			t.Errorf("completion %s wrote nothing", shell)
		}
	}
}
