package filestore

import (
	"crypto/rand"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
)

// A draft is a file on its way to a name in its folder.
type draft struct {
	dir  *os.File // readable
	f    *os.File
	temp string // its name until then; empty if it has none
	wary bool   // another name may lead to the same file
}

func (s *Store) newDraft(dir *os.File) (*draft, error) {
	if s.nameless {
		if f, err := openNameless(dir); f != nil || err != nil {
			return &draft{dir: dir, f: f}, err
		}
	}
	temp := ourPrefix + rand.Text() + ourSuffix
	f, err := openat(dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o666)
	return &draft{dir: dir, f: f, temp: temp}, err
}

func (d *draft) setModTime(t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := []unix.Timespec{ts, ts}
	if d.temp == "" {
		return setTimes(d.f, times)
	}
	return retry(func() error {
		return unix.UtimesNanoAt(int(d.dir.Fd()), d.temp, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// name gives the draft its name, in place of the file that may have it, if that
// is what c asks for.
//
// A name that must be free is taken in one step, where the file system has one,
// which nearly all have. A file that is to be replaced is looked at right before:
// somebody else may still change it in between.
func (s *Store) name(d *draft, name string, c storage.Condition) error {
	if c.ETag == "" && (d.temp == "" || d.wary || c.Absent) {
		err := d.take(name)
		switch {
		case err == nil:
			return d.dir.Sync()
		case errors.Is(err, unix.EEXIST) && c.Absent:
			if err := s.meets(d, name, c); err != nil {
				return err
			}
			return clashf("something stood there a moment ago")
		case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTSUP):
		default:
			return err
		}
	}
	if d.temp == "" {
		temp := ourPrefix + rand.Text() + ourSuffix
		if err := link(d.f, d.dir, temp); err != nil {
			return err
		}
		d.temp = temp
	}
	if err := s.meets(d, name, c); err != nil {
		return err
	}
	fd, to := int(d.dir.Fd()), found(d.dir, name)
	if err := retry(func() error { return unix.Renameat(fd, d.temp, fd, to) }); err != nil {
		return err
	}
	d.temp = ""
	return d.dir.Sync()
}

// take gives the draft a name that must be free, in one step: EEXIST if it is
// not, ENOTSUP if the file system has no such step.
func (d *draft) take(name string) error {
	if d.temp == "" {
		return link(d.f, d.dir, name)
	}
	err := renameNew(d.dir, d.temp, name)
	switch {
	case err == nil:
		d.temp = ""
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return unix.ENOTSUP
	}
	return err
}

// meets looks whether the draft may have a name: only a file may be replaced,
// for renaming would also replace a symbolic link, and one that c asks for.
func (s *Store) meets(d *draft, name string, c storage.Condition) error {
	st, err := lstat(d.dir, name)
	switch {
	case errors.Is(err, unix.ENOENT) && c.ETag != "":
		return clashf("version %s is gone", c.ETag)
	case err != nil:
		return nil // renaming will tell
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return inTheWay(d.dir, name, unix.EEXIST)
	}
	if d.wary {
		if err := spelt(d.dir, name); err != nil {
			return err
		}
	}
	return meets(s.version(&st), c)
}

// meets compares the version that stands somewhere with what c asks for.
func meets(version string, c storage.Condition) error {
	switch {
	case c.Absent:
		return clashf("version %s stands there already", version)
	case c.ETag != "" && c.ETag != version:
		return clashf("version %s stands there, not %s", version, c.ETag)
	}
	return nil
}

// meetsMarker looks whether a folder may become a marker. One that merely has
// nothing in it is none yet.
func (s *Store) meetsMarker(key string, dir *os.File, c storage.Condition) error {
	if c == (storage.Condition{}) {
		return nil
	}
	in, is, err := s.marker(key, dir)
	if err != nil {
		return err
	}
	q, err := s.attributes(dir)
	switch {
	case err != nil:
		return err
	case c.Absent && !q.Has(fieldMark):
		return nil
	case !is:
		return clashf("version %s is gone", c.ETag)
	}
	return meets(in.ETag, c)
}

// discard closes the draft and removes what has no name of its own yet.
func (d *draft) discard() {
	d.f.Close()
	if d.temp != "" {
		// A file that stays behind is hidden and documented as removable.
		_ = unlink(d.dir, d.temp)
	}
}
