package filestore

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How long nobody must have written to an unfinished file before it counts as
// left behind: by a crash, or, if its label says that it is an upload, by a job
// that nobody goes on with. Jobs may be paused for days.
const (
	abandoned = 24 * time.Hour
	forgotten = 30 * 24 * time.Hour
)

// sweep removes unfinished files that nobody has touched for long, for they
// take the room of whole objects. It goes by the change time: the modification
// time of a file about to be finished is already its source's. What it cannot
// remove it leaves for another time.
func sweep(dir *os.File, now time.Time) {
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if !isOurs(name) {
				continue
			}
			st, err := lstat(dir, name)
			if err != nil {
				continue
			}
			idle := now.Sub(time.Unix(st.Ctim.Unix()))
			switch {
			case idle <= abandoned:
			case st.Mode&unix.S_IFMT == unix.S_IFDIR:
				_ = discardFolder(dir, name) // of a probe
			case idle > forgotten || !mayBeUpload(dir, name, &st):
				_ = unlink(dir, name)
			}
		}
		if err != nil {
			return
		}
	}
}

// mayBeUpload reports whether a file has the label of an upload, or cannot be
// read to find out.
func mayBeUpload(dir *os.File, name string, st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	f, err := openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	_, label, err := readLabel(f, st.Size)
	return label != "" || ignoreEnd(err) != nil
}
