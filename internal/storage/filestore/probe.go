package filestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Probe implements storage.Prober. For a target it tries things out in a hidden
// folder that it removes again: in the store's folder or, if that is still to
// be made, in the one that it will be made in.
func (s *Store) Probe(ctx context.Context, write bool) ([]work.Fact, error) {
	facts, err := s.ask(ctx, write)
	if err != nil {
		return nil, s.fail("probe", "", err)
	}
	return facts, nil
}

func (s *Store) ask(ctx context.Context, write bool) ([]work.Fact, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := s.nearest(write)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var facts []work.Fact
	add := func(name, text string) { facts = append(facts, work.Fact{Name: name, Text: text}) }
	if name := system(dir); name != "" {
		add("file system", name)
	}
	if s.xattrs {
		add("metadata", "content headers, user metadata, tags and checksums are kept in the extended attribute "+attribute)
	} else {
		add("metadata", "not kept: the file system has no extended attributes")
	}
	if s.inodes {
		add("versions", "told apart by size, time of modification and inode")
	} else {
		add("versions", "told apart by size and time of modification: the file system may number files anew")
	}
	if !write {
		return facts, nil
	}
	err = scratch(dir, func(dir *os.File) error {
		more, err := s.tryOut(dir)
		facts = append(facts, more...)
		return err
	})
	return facts, err
}

// nearest opens the store's folder, or, if it may be missing, the last folder on
// the way to it that is there.
func (s *Store) nearest(missing bool) (*os.File, error) {
	for way := s.folder; ; way = way[:len(way)-1] {
		dir, err := (&Store{root: s.root, folder: way}).readableDir(nil, false)
		if err == nil || !missing || !errors.Is(err, unix.ENOENT) || len(way) == 0 {
			return dir, err
		}
	}
}

// scratch calls do with an empty folder in dir, and removes it.
func scratch(dir *os.File, do func(*os.File) error) error {
	name := ourPrefix + rand.Text() + ourSuffix
	if err := retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, 0o700) }); err != nil {
		return err
	}
	sub, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		err = do(sub)
		sub.Close()
	}
	return errors.Join(err, discardFolder(dir, name))
}

// discardFolder removes a folder of ours with the files in it.
func discardFolder(dir *os.File, name string) error {
	sub, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer sub.Close()
	names, err := sub.Readdirnames(-1)
	for _, left := range names {
		err = errors.Join(err, unlink(sub, left))
	}
	return errors.Join(err, rmdir(dir, name))
}

// tryOut finds out by writing into an empty folder what the file system does.
func (s *Store) tryOut(dir *os.File) ([]work.Fact, error) {
	h := &habits{}
	if err := h.try(dir); err != nil {
		return nil, err
	}
	s.habits.Store(h)
	names := "kept byte for byte"
	switch {
	case h.spoils:
		return nil, h.takes("any")
	case h.changes:
		names = "kept if they are plain ASCII; other keys are refused"
	}
	if h.folds {
		names += "; several spellings count as one name, so a key is refused if another spelling of it is there"
	}
	unfinished := "without a name until they are whole"
	f, err := s.newDraft(dir)
	if err != nil {
		return nil, err
	}
	defer f.discard()
	if f.temp != "" {
		unfinished = "named " + ourPrefix + "*" + ourSuffix + " until they are whole"
	}
	times, err := precision(f)
	if err != nil {
		return nil, err
	}
	facts := []work.Fact{
		{Name: "names", Text: names},
		{Name: "unfinished files", Text: unfinished},
		{Name: "times", Text: times},
		{Name: storage.ConditionsFact, Text: storage.ConditionsKept + ": a name that must be free is taken in one step, what is replaced is looked at right before"},
	}
	if s.xattrs {
		if err := unix.Fsetxattr(int(f.f.Fd()), attribute, []byte("t=probe"), 0); err != nil {
			facts = append(facts, work.Fact{Name: "attributes", Text: fmt.Sprintf("cannot be set here: %v", err)})
		}
	}
	return facts, s.name(f, "named", storage.Condition{})
}

// precision says how exactly a file's time of modification is kept.
func precision(d *draft) (string, error) {
	when := time.Unix(1_000_000_001, 123_456_789)
	if err := d.setModTime(when); err != nil {
		return "", fmt.Errorf("set the modification time: %w", err)
	}
	st, err := fstat(d.f)
	if err != nil {
		return "", err
	}
	switch got := modTime(&st); {
	case got.Equal(when):
		return "kept to the nanosecond", nil
	case got.Equal(when.Truncate(time.Microsecond)), got.Equal(when.Truncate(100 * time.Nanosecond)):
		return "kept to the microsecond", nil
	case got.Equal(when.Truncate(time.Second)):
		return "kept to the second", nil
	}
	return "kept no better than to some seconds", nil
}
