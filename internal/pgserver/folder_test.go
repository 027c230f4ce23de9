package pgserver

import (
	"errors"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestOddFolders: a path that is too long for a socket, and one that has what
// addresses and settings treat as special.
func TestOddFolders(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{
		"long":    strings.Repeat("long/", 30),
		"special": `a "b" 'c', d+e%20=&?`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), dir)
			s := start(t, dir)
			sockets := s.sockets.path
			if strings.HasPrefix(sockets, dir) {
				t.Errorf("the socket lies in %s", sockets)
			}
			info, err := os.Stat(sockets)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the socket's folder: %v, %v, want mode 0700", info, err)
			}
			if got := query(t, s.URL("postgres"), "SELECT 42"); got != "42" {
				t.Errorf("got %q, want 42", got)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if exists(sockets) {
				t.Error("the socket's folder is there after Stop")
			}
		})
	}
}

// TestForgottenSockets: the folder of an owner who was killed is removed, but
// nothing of anybody else's.
func TestForgottenSockets(t *testing.T) {
	t.Parallel()
	dir, foreign := t.TempDir(), t.TempDir()
	note := filepath.Join(dir, "socket.path")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(foreign, "mine"), "")
	write(note, foreign)
	forgetSocketDir(note)
	if !exists(filepath.Join(foreign, "mine")) || exists(note) {
		t.Error("a foreign file is gone, or the note is still there")
	}
	old := filepath.Join(dir, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(old, ".s.PGSQL.5432.lock"), "")
	write(note, old)
	forgetSocketDir(note)
	if exists(old) || exists(note) {
		t.Error("the folder of a dead owner's socket is still there")
	}
}

// TestHalfMadeCluster: making it was cut short.
func TestHalfMadeCluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	half := filepath.Join(dir, "data.new")
	if err := os.MkdirAll(filepath.Join(half, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil { // empty: nobody's
		t.Fatal(err)
	}
	s := start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT 42"); got != "42" {
		t.Errorf("got %q, want 42", got)
	}
	if exists(half) {
		t.Error("the half-made cluster is still there")
	}
}

func TestForeignData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "data", "precious")
	if err := os.MkdirAll(filepath.Dir(precious), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("Start on a folder with foreign data = %v, want what to do", err)
	}
	if !exists(precious) {
		t.Error("the foreign data is gone")
	}
}

// TestStartFails: the error shows what the server said, and the folder is free
// again.
func TestStartFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, NoSync: true, Settings: map[string]string{"shared_buffers": "soup"}})
	if err == nil || !strings.Contains(err.Error(), "soup") || !strings.Contains(err.Error(), dir) {
		t.Errorf("Start with a bad setting = %v, want the server's words and the folder", err)
	}
	start(t, dir)
}

func TestOtherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 9") {
		t.Errorf("Start on a cluster of version 9 = %v, want the version in it", err)
	}
}

// fake installs programs that say they are PostgreSQL of a version.
func fake(t *testing.T, dir string, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	nine := fake(t, filepath.Join(root, "9", "bin"), "9.6")
	fake(t, filepath.Join(root, "15", "bin"), "15.3 (Debian 15.3-0)")
	fake(t, filepath.Join(root, "100", "bin"), "100beta1")
	fake(t, filepath.Join(root, "broken", "bin"), "who knows")
	inPath := fake(t, filepath.Join(root, "in path"), "14.2")
	links := t.TempDir() // as some machines have: a link to one program only
	if err := os.Symlink(filepath.Join(inPath, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name  string
		path  string
		globs []string
		want  []int // versions; nil: ErrNoBinaries
	}{
		{"nothing", "", nil, nil},
		{"nothing there", "/nonexistent:relative", []string{root + "/none/*"}, nil},
		{"too old", nine, []string{root + "/9/*"}, nil},
		{"newest first", "", []string{root + "/*/bin"}, []int{100, 15}},
		{"path before the newest", links + ":" + inPath, []string{root + "/*/bin"}, []int{14, 100, 15}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found, err := installed(tt.path, tt.globs)
			if (tt.want == nil) != errors.Is(err, ErrNoBinaries) {
				t.Fatalf("installed = %v, %v", found, err)
			}
			if len(found) != len(tt.want) {
				t.Fatalf("installed = %v, want versions %v", found, tt.want)
			}
			for i, b := range found {
				if b.version != tt.want[i] || !exists(b.initdb) {
					t.Errorf("installed = %v, want versions %v", found, tt.want)
				}
			}
		})
	}
	for _, word := range []string{"apt-get install postgresql", "dnf install", "apk add", "brew install"} {
		if !strings.Contains(ErrNoBinaries.Error(), word) {
			t.Errorf("ErrNoBinaries does not say %q", word)
		}
	}
}

func TestChooseByVersion(t *testing.T) {
	t.Parallel()
	found := []binaries{{version: 17}, {version: 15}}
	data := t.TempDir()
	if b, err := choose(found, data); b.version != 17 || err != nil {
		t.Errorf("for a new cluster: %v, %v, want the first", b.version, err)
	}
	for version, want := range map[string]int{"15": 15, "16": 0} {
		if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := choose(found, data)
		if b.version != want || (want == 0) != (err != nil) {
			t.Errorf("for a cluster of version %s: %v, %v, want %d", version, b.version, err, want)
		}
		if want == 0 && !strings.Contains(err.Error(), "install version 16") {
			t.Errorf("the error does not say what to install: %v", err)
		}
	}
}

// TestIdentities: as root, every way that this machine allows serves a folder,
// and a folder goes on being served as whom it belongs to.
func TestIdentities(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root chooses whom the server runs as")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("no user nobody: ", err)
	}
	uid, _ := strconv.Atoi(u.Uid)

	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // others must get through
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	runsAs := func(s *Server, want int) {
		t.Helper()
		if proc := filepath.Join("/proc", strconv.Itoa(s.PID())); exists(proc) && owner(proc) != want {
			t.Errorf("the server runs as user %d, want %d", owner(proc), want)
		}
	}

	// As another user, which is the way where namespaces are forbidden.
	bin, err := findBinaries(data)
	if err != nil {
		t.Fatal(err)
	}
	as := userIdentity(u)[0]
	if err := as.try(t.Context(), bin, dir); err != nil {
		t.Skip("user nobody may not run programs here: ", err)
	}
	if err := ensureCluster(t.Context(), bin, as, dir, data, true, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	runsAs(s, uid)
	query(t, s.URL("postgres"), "CREATE TABLE kept AS SELECT 42 AS n")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := owner(filepath.Join(data, "PG_VERSION")); got != uid {
		t.Errorf("the cluster belongs to user %d, want %d", got, uid)
	}

	// As root, whom it belongs to from now on.
	root := identity{name: "root", uid: 0, gid: 0}
	if err := root.own(data); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT n FROM kept"); got != "42" {
		t.Errorf("as root n = %q, want 42", got)
	}
	runsAs(s, 0)
}

// TestNoWayToRun: the error names each way that was tried.
func TestNoWayToRun(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user runs the server as itself")
	}
	bin := binaries{postgres: filepath.Join(t.TempDir(), "gone")}
	_, err := chooseIdentity(t.Context(), bin, t.TempDir(), "none")
	if err == nil || !strings.Contains(err.Error(), "user namespace") || !strings.Contains(err.Error(), "user nobody") {
		t.Errorf("chooseIdentity = %v, want each way that failed", err)
	}
}

func TestLogIsPutAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "postgres.log")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, largestLog+1); err != nil {
		t.Fatal(err)
	}
	f, from, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if from != 0 || !exists(name+".old") {
		t.Errorf("the new log begins at %d, the old one is kept: %v", from, exists(name+".old"))
	}
	if _, err := f.WriteString("last words\n"); err != nil {
		t.Fatal(err)
	}
	if got := logTail(dir, from); got != "last words" {
		t.Errorf("logTail = %q", got)
	}
}
