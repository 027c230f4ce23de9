package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A folderLock is the ownership of a folder. The kernel gives it up when the
// owner dies.
type folderLock struct{ file *os.File }

// lockFolder takes the ownership of dir or returns ErrInUse.
func lockFolder(dir string) (*folderLock, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the database folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer f.Close()
		owner, _ := io.ReadAll(io.LimitReader(f, 32)) // only to say who it is
		return nil, fmt.Errorf("%w: %s is served by process %s: use that one, stop it, or choose another folder",
			ErrInUse, dir, strings.TrimSpace(string(owner)))
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt0(f, fmt.Sprintf("%d\n", os.Getpid())))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the database folder %s: %w", dir, err), f.Close())
	}
	return &folderLock{f}, nil
}

func writeAt0(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// release unlocks before it closes: a child that is just being started has a
// copy of the descriptor for a moment and would hold the lock.
func (l *folderLock) release() {
	_ = syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN) // closing does it too
	_ = l.file.Close()
}

// ensureCluster makes the cluster if there is none. It is made under another
// name, so that what bears the name data is always whole.
func ensureCluster(ctx context.Context, bin binaries, as identity, dir, data string, noSync bool, log *slog.Logger) error {
	if exists(filepath.Join(data, "PG_VERSION")) {
		return as.own(data)
	}
	// Only an empty folder may be replaced: anything else is somebody's.
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no PostgreSQL cluster and is in the way: move it away: %w", data, err)
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove a half-made cluster: %w", err)
	}
	args := []string{
		"-D", fresh, "-U", superuser, "--encoding=UTF8", "--locale=C", "--data-checksums",
		"--auth-local=trust", "--auth-host=reject", "--no-instructions",
	}
	if noSync {
		args = append(args, "--no-sync")
	}
	log.InfoContext(ctx, "making a database cluster", "version", bin.version, "as", as.name)
	cmd := as.command(bin.initdb, args...)
	cmd.Dir = dir
	if out, err := runUntil(ctx, cmd); err != nil {
		return fmt.Errorf("make the cluster with %s: %w:\n%s", bin.initdb, err, out)
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("put the new cluster in place: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// port is only part of the socket's name.
const port = "5432"

// longestSocket is what a socket's address holds on Linux; elsewhere it is 103,
// and a few bytes are worth no second number.
const longestSocket = 103

// A socketDir is where the socket lies.
type socketDir struct {
	path string
	note string // the file that remembers path; empty if path is in the folder
}

// openSocketDir makes the private folder of the socket: in dir, or, where that
// is too long for a socket's address, in the folder for temporary files.
func openSocketDir(dir string, as identity) (socketDir, error) {
	s := socketDir{path: filepath.Join(dir, "socket")}
	note := filepath.Join(dir, "socket.path")
	forgetSocketDir(note)
	if usableSocketDir(s.path) {
		if err := os.MkdirAll(s.path, 0o700); err != nil {
			return s, fmt.Errorf("make the folder of the socket: %w", err)
		}
		return s, errors.Join(os.Chmod(s.path, 0o700), as.own(s.path))
	}
	var errs []error
	for _, temp := range []string{os.TempDir(), "/tmp"} {
		path, err := os.MkdirTemp(temp, "tranship-pg-") // 0700
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !usableSocketDir(path) {
			errs = append(errs, fmt.Errorf("%s is no place for a socket", path), os.Remove(path))
			continue
		}
		s = socketDir{path: path, note: note}
		return s, errors.Join(os.WriteFile(note, []byte(path), 0o600), as.own(path))
	}
	return s, fmt.Errorf("make a folder for the socket, %s being too long for one: %w", dir, errors.Join(errs...))
}

// usableSocketDir reports whether a socket can lie in dir and be addressed:
// its name must be short, and a comma would separate two hosts.
func usableSocketDir(dir string) bool {
	return len(filepath.Join(dir, ".s.PGSQL."+port)) <= longestSocket && !strings.ContainsAny(dir, ",\n")
}

// forgetSocketDir removes the folder that an owner who was killed could not
// remove, as far as it is still a folder of ours; nothing depends on it.
func forgetSocketDir(note string) {
	path, err := os.ReadFile(note)
	if err != nil {
		return
	}
	socketDir{path: string(path), note: note}.remove()
}

func (s socketDir) remove() {
	for _, name := range []string{".s.PGSQL." + port, ".s.PGSQL." + port + ".lock"} {
		_ = os.Remove(filepath.Join(s.path, name))
	}
	if s.note != "" {
		_ = os.Remove(s.path)
		_ = os.Remove(s.note)
	}
}
