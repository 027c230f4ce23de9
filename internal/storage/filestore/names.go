package filestore

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/work"
)

// Some file systems take several spellings for one name: they ignore case, or
// how an accent is written. On them one key's object could replace another's,
// and a key be found that nobody stored. So before anything is written, two
// names are tried, and where one leads to the other every name is looked up in
// its folder before it is believed. That takes time in large folders, but only
// there.

// Habits are what a file system does with names, as found out by writing.
type habits struct {
	folds   bool // takes several spellings for one name
	changes bool // does not keep a name beyond ASCII as it was written
	spoils  bool // does not keep even a name of plain letters
}

// takes returns why a key cannot be kept, if that is so.
func (h *habits) takes(key string) error {
	switch {
	case h.spoils:
		return unkept("the file system changes the letters of names")
	case h.changes && strings.ContainsFunc(key, func(r rune) bool { return r >= utf8.RuneSelf }):
		return unkept("the file system changes names that are not plain ASCII")
	}
	return nil
}

// misled, if set, says which entry of a folder a name leads to. It stands for a
// file system that folds names, which a test cannot mount.
var misled func(dir *os.File, name string) string

func found(dir *os.File, name string) string {
	if misled == nil {
		return name
	}
	return misled(dir, name)
}

// target opens the folder that a key's object is to be put into, makes it if it
// is missing, and says whether names in it must be looked up.
func (s *Store) target(key string, way []string) (dir *os.File, wary bool, err error) {
	if dir, err = s.readableDir(way, true); err != nil {
		return nil, false, err
	}
	h, err := s.learn()
	if err == nil {
		err = h.takes(key)
	}
	if err == nil && h.folds {
		err = s.speltWay(way)
	}
	if err != nil {
		dir.Close()
		return nil, false, err
	}
	return dir, h.folds, nil
}

// learn finds out the habits of the store's file system, if they are not known.
// Where nothing can be tried it expects several spellings of a name, and tries
// again another time.
func (s *Store) learn() (*habits, error) {
	if h := s.habits.Load(); h != nil {
		return h, nil
	}
	root, err := s.readableDir(nil, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	h := &habits{}
	if err := scratch(root, h.try); err != nil {
		return &habits{folds: true}, nil
	}
	s.habits.Store(h)
	return h, nil
}

// The names that are tried; the others are what a folding file system takes
// for them.
const (
	triedPlain   = "Case"
	otherPlain   = "cASE"
	triedAccent  = "\u00e9"
	otherAccent1 = "e\u0301"
	otherAccent2 = "\u00c9"
)

// try finds out the habits by writing into an empty folder.
func (h *habits) try(dir *os.File) error {
	*h = habits{}
	for name, others := range map[string][]string{triedPlain: {otherPlain}, triedAccent: {otherAccent1, otherAccent2}} {
		f, err := openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if name == triedAccent && (errors.Is(err, unix.EILSEQ) || errors.Is(err, unix.EINVAL)) {
			h.changes = true // it takes no such name at all
			continue
		}
		if err != nil {
			return err
		}
		f.Close()
		for _, other := range others {
			if _, err := lstat(dir, other); err == nil {
				h.folds = true
			}
		}
	}
	names, err := entries(dir)
	if err != nil {
		return err
	}
	h.changes = h.changes || !slices.Contains(names, triedAccent)
	h.spoils = !slices.Contains(names, triedPlain)
	return nil
}

// entries reads the names of a small folder.
func entries(dir *os.File) ([]string, error) {
	f, err := readable(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// isLiteral reports whether a folder is seen to tell names apart that differ in
// case, going by one of the names that are in it.
func isLiteral(dir *os.File) bool {
	names, _ := dir.Readdirnames(64)
	for _, name := range names {
		other := respell(name)
		if other == name {
			continue
		}
		there, otherErr := lstat(dir, other)
		if here, err := lstat(dir, name); err == nil {
			return errors.Is(otherErr, unix.ENOENT) || otherErr == nil && there.Ino != here.Ino
		}
	}
	return false
}

// respell turns upper case into lower case and back.
func respell(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, strings.ToValidUTF8(name, ""))
}

// exact fails, as if nothing were there, if what a key led to bears another
// name: st is what stands at name in dir, the last folder of the way. Without
// dir, only the way is looked at.
func (s *Store) exact(way []string, dir *os.File, name string, st *unix.Stat_t) error {
	h := s.habits.Load()
	if h != nil && !h.folds || h == nil && s.literal {
		return nil
	}
	err := func() error {
		if h != nil || s.doubtful(way) {
			if err := s.speltWay(way); err != nil {
				return err
			}
		}
		if dir == nil {
			return nil
		}
		if h == nil {
			other := respell(name)
			if now, err := lstat(dir, other); other == name || err != nil || now.Ino != st.Ino {
				return nil
			}
		}
		return spelt(dir, name)
	}()
	var own *problem
	if errors.As(err, &own) && own.field == work.FieldKeys {
		return &problem{fault: work.NotFound, text: own.text, cause: unix.ENOENT}
	}
	return err
}

// doubtful reports whether the folders of a way are also found under another
// spelling.
func (s *Store) doubtful(way []string) bool {
	other := make([]string, len(way))
	for i, name := range way {
		other[i] = respell(name)
	}
	if slices.Equal(way, other) {
		return false
	}
	dir, err := s.openDir(other, false)
	if err != nil {
		return false
	}
	dir.Close()
	return true
}

// speltWay fails unless every folder of a way bears the very name.
func (s *Store) speltWay(way []string) error {
	dir, err := s.openDir(nil, false)
	if err != nil {
		return err
	}
	for _, name := range way {
		if err := spelt(dir, name); err != nil {
			dir.Close()
			return err
		}
		if dir, err = step(dir, name, false); err != nil {
			return err
		}
	}
	return dir.Close()
}

// spelt fails unless the folder has an entry of the very name. It is asked when
// the name has led to something.
func spelt(dir *os.File, name string) error {
	f, err := readable(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		if slices.Contains(names, name) {
			return nil
		}
		if err == io.EOF {
			p := unkept("the file system takes %s for another name that is there", work.Quote(name))
			p.hint = "it ignores case or how accents are written: use another file system, or other keys"
			return p
		}
		if err != nil {
			return err
		}
	}
}
