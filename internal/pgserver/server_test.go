package pgserver

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
)

// ownerDir, when set, makes the test binary an owner of a server on that
// folder which lives until it is killed.
const ownerDir = "PGSERVER_TEST_OWNER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerDir); dir != "" {
		ownForEver(dir)
		return
	}
	m.Run()
}

// ownForEver tells its parent the server's address and waits to be killed. It
// ends with its parent too.
func ownForEver(dir string) {
	s, err := Start(context.Background(), quick(dir))
	if err != nil {
		io.WriteString(os.Stdout, "error: "+err.Error()+"\n")
		return
	}
	io.WriteString(os.Stdout, s.URL("postgres")+"\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// quick does not wait for the disk, but loses nothing when processes are
// killed.
func quick(dir string) Options {
	return Options{Dir: dir, NoSync: true, Settings: map[string]string{"synchronous_commit": "on", "full_page_writes": "on"}}
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := Start(ctx, quick(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func query(t *testing.T, url, q string) string {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out sql.NullString
	if err := db.QueryRowContext(t.Context(), q).Scan(&out); err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatalf("%s: %v", q, err)
	}
	return out.String
}

func TestStartStopRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	if s.PID() <= 0 {
		t.Errorf("PID() = %d", s.PID())
	}
	for range 2 { // the second finds it there
		if err := s.CreateDatabase(t.Context(), `odd "name" + more`); err != nil {
			t.Fatal(err)
		}
	}
	query(t, s.URL(`odd "name" + more`), "CREATE TABLE kept AS SELECT 42 AS n")
	for setting, want := range map[string]string{"listen_addresses": "", "fsync": "off", "server_encoding": "UTF8", "data_checksums": "on"} {
		if got := query(t, s.URL("postgres"), "SHOW "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	info, err := os.Stat(s.sockets.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder: %v, %v, want mode 0700", info.Mode(), err)
	}

	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}
	if err := s.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}

	s = start(t, dir)
	if got := query(t, s.URL(`odd "name" + more`), "SELECT n FROM kept"); got != "42" {
		t.Errorf("after a restart n = %q, want 42", got)
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	_, err := Start(t.Context(), Options{Dir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second Start = %v, want ErrInUse and the folder's name", err)
	}
	if got := query(t, s.URL("postgres"), "SELECT 1"); got != "1" {
		t.Errorf("the first owner's server says %q after the attempt", got)
	}
}

// owner starts a process that owns a server on dir.
func ownerProcess(t *testing.T, dir string) (cmd *exec.Cmd, url string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), ownerDir+"="+dir)
	stdin, err := cmd.StdinPipe() // held open until the owner is killed
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	var line strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(line.String(), "\n"); {
		if _, err := stdout.Read(b); err != nil {
			t.Fatalf("the owner says %q, then %v", line.String(), err)
		}
		line.Write(b)
	}
	url = strings.TrimSpace(line.String())
	if strings.HasPrefix(url, "error") {
		t.Fatal(url)
	}
	return cmd, url
}

func TestOwnerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, url := ownerProcess(t, dir)
	query(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	_, err := Start(t.Context(), Options{Dir: dir})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("Start beside another process = %v, want ErrInUse", err)
	}
	// The server cannot hear the death signal: it is an orphan at the next start.
	data := filepath.Join(dir, "data")
	if err := syscall.Kill(postmaster(data), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(serving(data)) == 0 {
		t.Error("the stopped server is gone: the test shows nothing")
	}
	s := start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT n FROM kept"); got != "42" {
		t.Errorf("after the owner's death n = %q, want 42", got)
	}
}

func TestServerEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	if serving(t.TempDir()) == nil && deathSignal().Setpgid {
		t.Skip("no death signal on this system")
	}
	dir := t.TempDir()
	cmd, _ := ownerProcess(t, dir)
	data := filepath.Join(dir, "data")
	if len(serving(data)) == 0 {
		t.Fatal("no process serves the cluster of a running server")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if gone, err := allGone(t.Context(), data, time.Minute); !gone || err != nil {
		t.Errorf("the server outlives its owner: %v, %v", serving(data), err)
	}
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	query(t, s.URL("postgres"), "CREATE TABLE kept AS SELECT 42 AS n")
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("Done stays open though the server was killed")
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop a server that is dead: %v", err)
	}
	// Its pid file stays. That number may be anybody's by now: here, ours.
	pid := filepath.Join(dir, "data", pidFile)
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	if got := query(t, s.URL("postgres"), "SELECT n FROM kept"); got != "42" {
		t.Errorf("after the server's death n = %q, want 42", got)
	}
}
