package filestore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/work"
)

// split takes a key apart into the folders on its way and its name. The name
// of a marker is empty, and its folder is the last of the way.
func split(key string) (way []string, name string, err error) {
	if key == "" {
		return nil, "", problemf(work.Invalid, "an object needs a key")
	}
	parts := strings.Split(key, "/")
	for i, part := range parts {
		switch {
		case part == "" && i == len(parts)-1 && i > 0:
			// a marker
		case part == "":
			return nil, "", unkept("a file's path has no empty part")
		case part == "." || part == "..":
			return nil, "", unkept("a file's path has no part %q", part)
		case strings.IndexByte(part, 0) >= 0:
			return nil, "", unkept("a file's name holds no NUL")
		case len(part) > maxName:
			return nil, "", unkept("a part of %d bytes is longer than a file's name can be (%d)", len(part), maxName)
		case isOurs(part):
			return nil, "", unkept("names like %s are reserved for unfinished files", part)
		}
	}
	return parts[:len(parts)-1], parts[len(parts)-1], nil
}

// maxName is the longest name, in bytes, of the usual file systems.
const maxName = 255

// The names of files that are being written.
const (
	ourPrefix = ".tranship-"
	ourSuffix = ".tmp"
)

func isOurs(name string) bool {
	return strings.HasPrefix(name, ourPrefix) && strings.HasSuffix(name, ourSuffix)
}

// openat opens what stands in a folder without following a symbolic link.
func openat(dir *os.File, name string, flags int, perm uint32) (*os.File, error) {
	var fd int
	name = found(dir, name)
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// lstat looks at what stands in a folder without following a symbolic link.
func lstat(dir *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	name = found(dir, name)
	err := retry(func() error { return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// unlink removes a file from a folder.
func unlink(dir *os.File, name string) error {
	name = found(dir, name)
	return retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) })
}

// linkNew gives a file of a folder another name, which must be free: EEXIST if
// it is not. For a moment the file has both.
func linkNew(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	if err := retry(func() error { return unix.Linkat(fd, from, fd, to, 0) }); err != nil {
		return err
	}
	return retry(func() error { return unix.Unlinkat(fd, from, 0) })
}

// rmdir removes an empty folder from a folder.
func rmdir(dir *os.File, name string) error {
	name = found(dir, name)
	return retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR) })
}

func fstat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	return st, err
}

// openDir opens the folder that way leads to below the store's folder, to pass
// through it: reading it needs readable. With create it makes the folders that
// are missing, the store's own included.
func (s *Store) openDir(way []string, create bool) (*os.File, error) {
	if dir := s.straight(way, passFlags); dir != nil {
		return dir, nil
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(s.root, passFlags|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, missing(err)
	}
	dir := os.NewFile(uintptr(fd), s.root)
	for _, name := range s.folder {
		if dir, err = step(dir, name, create); err != nil {
			return nil, missing(err)
		}
	}
	for _, name := range way {
		if dir, err = step(dir, name, create); err != nil {
			return nil, err
		}
	}
	return dir, nil
}

// straight opens the folder that way leads to in one step, if that can be done.
func (s *Store) straight(way []string, flags int) *os.File {
	if misled != nil {
		return nil
	}
	return openStraight(s.path(way), flags)
}

// path is where way leads to.
func (s *Store) path(way []string) string {
	return filepath.Join(s.root, filepath.Join(s.folder...), filepath.Join(way...))
}

// missing explains that the store's folder is not there.
func missing(err error) error {
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return &problem{fault: work.NotFound, away: true, text: "the folder does not exist", cause: err,
		hint: "check the path, and that its disk is mounted on the agent's machine"}
}

// readableDir is openDir for a folder to read or to put something into.
func (s *Store) readableDir(way []string, create bool) (*os.File, error) {
	if dir := s.straight(way, unix.O_RDONLY|unix.O_DIRECTORY); dir != nil {
		return dir, nil
	}
	pass, err := s.openDir(way, create)
	if err != nil {
		return nil, err
	}
	defer pass.Close()
	return readable(pass)
}

// readable opens once more, for reading and syncing, a folder that was opened
// to pass through.
func readable(dir *os.File) (*os.File, error) {
	return openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// step goes from a folder, which it closes, into the one called name.
func step(dir *os.File, name string, create bool) (*os.File, error) {
	defer dir.Close()
	next, err := openat(dir, name, passFlags, 0)
	if create && errors.Is(err, unix.ENOENT) {
		if err := makeDir(dir, name); err != nil {
			return nil, err
		}
		next, err = openat(dir, name, passFlags, 0)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, inTheWay(dir, name, err)
	}
	return next, err
}

// inTheWay says what stands where a folder or file should.
func inTheWay(dir *os.File, name string, cause error) error {
	p := &problem{fault: work.Unsupported, field: work.FieldKeys, cause: cause}
	st, err := lstat(dir, name)
	switch kind := uint32(st.Mode) & unix.S_IFMT; {
	case err != nil:
		return cause
	case kind == unix.S_IFDIR:
		p.text = "a folder stands at " + work.Quote(name)
		p.hint = "one name cannot be both a file and a folder"
	case kind == unix.S_IFREG:
		p.text = "a file stands at " + work.Quote(name)
		p.hint = "one name cannot be both a file and a folder"
	default:
		p.cause = unix.ELOOP // not ENOTDIR, which would pass for an absent object
		p.text = "a " + kindName(kind) + " stands at " + work.Quote(name)
		p.hint = "only files and folders are read and written; symbolic links are not followed"
	}
	return p
}

func kindName(kind uint32) string {
	switch kind {
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}

// makeDir makes a folder that outlives a crash. One that is there is no error.
func makeDir(dir *os.File, name string) error {
	name = found(dir, name)
	err := retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, 0o777) })
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	parent, err := readable(dir)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}
