package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockData takes the data folder for this process until the returned function
// is called or the process ends, however it ends. A folder that another
// process has is refused with that process's number.
func lockData(dir, command string) (release func(), err error) {
	// Others may pass through, but not look: a private Postgres that runs as
	// another user must reach its own folder below.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
		}
		owner, _ := io.ReadAll(io.LimitReader(f, 200)) // only makes the text better
		return nil, fail(ExitFailed,
			fmt.Errorf("the data folder %s is in use by process %s", dir, strings.TrimSpace(string(owner))),
			"give the job to that process with --server, stop it, or choose another folder with --data")
	}
	line := fmt.Sprintf("%d (tranship %s)\n", os.Getpid(), command)
	if err := errors.Join(f.Truncate(0), writeAt(f, line)); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock of the data folder: %w", err), f.Close())
	}
	return func() {
		_ = f.Truncate(0) // the lock ends with the file, whatever it holds
		_ = f.Close()
	}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// inUse reports whether a process has the data folder. It takes no lock, which
// would be in the way of one that is starting.
func inUse(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	var pid int
	if _, err := fmt.Sscanf(string(b), "%d", &pid); err != nil || pid <= 0 {
		return false
	}
	err = unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}
