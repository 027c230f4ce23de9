package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoBinaries means that no usable PostgreSQL is installed. Its text says
// how to get one.
var ErrNoBinaries = errors.New(`no PostgreSQL server is installed (looked for "postgres" and "initdb" in PATH and the usual folders); install one:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql
  macOS            brew install postgresql
or use a server that runs already: set TRANSHIP_DATABASE_URL`)

// oldest is the first major version that works.
const oldest = 14

// folders are where packages put the server when it is not in PATH.
var folders = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/pgsql-*/bin",                  // PostgreSQL's own RPMs
	"/usr/libexec/postgresql*",          // Alpine
	"/usr/local/pgsql/bin",              // from source
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew, Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/lib/postgresql/bin",
	"/usr/bin", "/usr/local/bin",
}

// binaries are the programs of one installation.
type binaries struct {
	postgres, initdb string
	version          int // major
}

// findBinaries returns the installation to serve the cluster in data with: the
// one of its own major version if there is a cluster, else the first in PATH,
// else the newest.
func findBinaries(data string) (binaries, error) {
	found, err := installed(os.Getenv("PATH"), folders)
	if err != nil {
		return binaries{}, err
	}
	return choose(found, data)
}

// choose picks the installation that fits the cluster in data.
func choose(found []binaries, data string) (binaries, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return found[0], nil
	}
	if err != nil {
		return binaries{}, fmt.Errorf("read the version of the cluster: %w", err)
	}
	version := strings.TrimSpace(string(text))
	var have []string
	for _, b := range found {
		if strconv.Itoa(b.version) == version {
			return b, nil
		}
		have = append(have, strconv.Itoa(b.version))
	}
	return binaries{}, fmt.Errorf("the cluster in %s was made by PostgreSQL %s, and only %s is installed: "+
		"install version %s beside it, or move the folder with pg_upgrade or pg_dump, or begin with an empty folder",
		data, version, strings.Join(have, ", "), version)
}

// installed lists what is installed, best first.
func installed(path string, globs []string) ([]binaries, error) {
	var dirs []string
	for _, dir := range filepath.SplitList(path) {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	inPath := len(dirs)
	for _, g := range globs {
		more, err := filepath.Glob(g)
		if err != nil {
			return nil, fmt.Errorf("look for PostgreSQL in %s: %w", g, err)
		}
		dirs = append(dirs, more...)
	}

	var found, others []binaries
	var tooOld []string
	seen := map[string]bool{}
	for i, dir := range dirs {
		b, ok := installation(dir, seen)
		switch {
		case !ok:
		case b.version < oldest:
			tooOld = append(tooOld, fmt.Sprintf("%s is version %d", b.postgres, b.version))
		case i < inPath:
			found = append(found, b)
		default:
			others = append(others, b)
		}
	}
	slices.SortStableFunc(others, func(a, b binaries) int { return b.version - a.version })
	found = append(found, others...)
	switch {
	case len(found) > 0:
		return found, nil
	case len(tooOld) > 0:
		return nil, fmt.Errorf("PostgreSQL %d or newer is needed, and %s: %w", oldest, strings.Join(tooOld, ", "), ErrNoBinaries)
	}
	return nil, ErrNoBinaries
}

// installation looks at one folder. PATH may hold links to single programs,
// so the programs' own folder is the one that counts.
func installation(dir string, seen map[string]bool) (binaries, bool) {
	postgres, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil || seen[postgres] {
		return binaries{}, false
	}
	seen[postgres] = true
	b := binaries{postgres: postgres, initdb: filepath.Join(filepath.Dir(postgres), "initdb")}
	if info, err := os.Stat(b.initdb); err != nil || info.IsDir() {
		return binaries{}, false
	}
	b.version, err = majorVersion(postgres)
	return b, err == nil
}

var versionText = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

func majorVersion(postgres string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, postgres, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", postgres, err)
	}
	m := versionText.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("ask %s for its version: it says %q", postgres, out)
	}
	return strconv.Atoi(string(m[1]))
}
