package deploy

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tranship/tranship/internal/pgserver"
)

// A service is a unit that runs as systemd would run it, on a machine whose
// files lie below root.
type service struct {
	unit string
	cmd  *exec.Cmd
	said chan string // to systemd
	log  *strings.Builder
}

// startService runs what an installed unit names: as its user, with its
// environment, state folder and credentials, and somebody to notify. env is
// what a drop-in would add.
func startService(t *testing.T, root, unit string, env ...string) *service {
	t.Helper()
	path := filepath.Join(root, "usr/lib/systemd/system", unit)
	set := settings(t, path)
	uid, gid := userIn(t, root, set["User"])
	state := filepath.Join(root, "var/lib", set["StateDirectory"])
	mode, err := strconv.ParseUint(set["StateDirectoryMode"], 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	own(t, state, uid, gid, os.FileMode(mode))
	run := t.TempDir()
	own(t, run, uid, gid, 0o755)

	argv := strings.Fields(set["ExecStart"])
	for i, w := range argv {
		if filepath.IsAbs(w) {
			argv[i] = filepath.Join(root, w)
		}
	}
	s := &service{unit: unit, said: listenAsSystemd(t, filepath.Join(run, "notify")), log: &strings.Builder{}}
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "USER=" + set["User"], "HOME=" + state,
		"NOTIFY_SOCKET=" + filepath.Join(run, "notify"),
		"WATCHDOG_USEC=3000000", // more often than the unit asks for: nobody waits for 10 s here
		"CREDENTIALS_DIRECTORY=" + filepath.Join(run, "credentials"),
	}
	for line := range strings.Lines(read(t, path)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "Environment":
			s.cmd.Env = append(s.cmd.Env, strings.Replace(value, "=/", "="+root+"/", 1))
		case "LoadCredential":
			id, from, _ := strings.Cut(value, ":")
			to := filepath.Join(run, "credentials", id)
			write(t, to, read(t, filepath.Join(root, from)), 0o400)
			own(t, to, uid, gid, 0o400)
		}
	}
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", unit, s.log)
		}
	})
	return s
}

// hear waits until systemd is told something that holds want.
func (s *service) hear(t *testing.T, want string) {
	t.Helper()
	eventually(t, s.unit+" to tell systemd "+want, func() bool {
		select {
		case got := <-s.said:
			return strings.Contains(got, want)
		default:
			return false
		}
	})
}

// stop ends the service as systemctl stop does, and wants that to be in order.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.hear(t, "STOPPING=1")
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%s ended with %v, want status 0", s.unit, err)
	}
}

// listenAsSystemd hears what is told to a notify socket.
func listenAsSystemd(t *testing.T, path string) chan string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1000)
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	return said
}

// userIn looks a user up among those of the machine below root.
func userIn(t *testing.T, root, name string) (uid, gid int) {
	t.Helper()
	for line := range strings.Lines(read(t, filepath.Join(root, "etc/passwd"))) {
		f := strings.Split(line, ":")
		if f[0] != name {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		if gid, err = strconv.Atoi(f[3]); err != nil {
			t.Fatal(err)
		}
		return uid, gid
	}
	t.Fatalf("there is no user %q", name)
	return 0, 0
}

func own(t *testing.T, path string, uid, gid int, mode os.FileMode) {
	t.Helper()
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// startPostgres runs a server for the ledger, and returns its URL for any user
// of this machine: its own socket is for its owner only.
func startPostgres(t *testing.T) string {
	t.Helper()
	pg, err := pgserver.Start(context.Background(), pgserver.Options{Dir: filepath.Join(t.TempDir(), "pg"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := pg.CreateDatabase(t.Context(), "tranship"); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(pg.URL("tranship"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go forward(l, filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432"))
	return "postgres://" + u.User.String() + "@" + l.Addr().String() + "/tranship?sslmode=disable"
}

// forward joins whoever connects to l with a socket, until l is closed.
func forward(l net.Listener, socket string) {
	for {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("unix", socket)
		if err != nil {
			a.Close()
			continue
		}
		join := func(to, from net.Conn) { _, _ = io.Copy(to, from); to.Close() } // either may go at any time
		go join(a, b)
		go join(b, a)
	}
}

// asRoot skips a test that makes users and gives them files.
func asRoot(t *testing.T) {
	t.Helper()
	if me, err := user.Current(); err != nil || me.Uid != "0" {
		t.Skip("only root can install a package")
	}
}

// lines returns the lines of a text, sorted.
func lines(text string) []string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(all)
	return all
}
