//go:build unix && !linux

package filestore

import (
	"os"

	"golang.org/x/sys/unix"
)

// noAttribute is the error for an attribute that a file does not have.
const noAttribute = unix.ENOATTR

// passFlags open a folder to pass through it.
const passFlags = unix.O_RDONLY | unix.O_DIRECTORY

// openStraight returns nil: this system opens folders step by step.
func openStraight(string, int) *os.File { return nil }

// canName reports that there are no nameless files.
func canName() bool { return false }

// keepsInodes reports that inode numbers are what they should be.
func keepsInodes(*os.File) bool { return true }

// openNameless returns nil: this system knows no nameless files.
func openNameless(*os.File) (*os.File, error) { return nil, nil }

// link is never called, for there are no nameless files.
func link(*os.File, *os.File, string) error { return unix.ENOTSUP }

// setTimes is never called, for there are no nameless files.
func setTimes(*os.File, []unix.Timespec) error { return unix.ENOTSUP }

// reserve sets a file's size.
func reserve(f *os.File, size int64) error { return f.Truncate(size) }

// lock locks the whole file, for as long as f stays open, for this system
// locks no ranges of open files: parts are then written one after another.
func lock(f *os.File, _, _ int64) error {
	return retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

// renameNew gives a file of a folder a name that must be free: EEXIST if it is
// not.
func renameNew(dir *os.File, from, to string) error {
	return linkNew(dir, from, to)
}

// system does not know how file systems are called here.
func system(*os.File) string { return "" }
