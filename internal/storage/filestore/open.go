package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A Store is a folder. Its fields never change, but for habits.
type Store struct {
	url    string
	root   string   // an existing folder, without symbolic links
	folder []string // the way from root to the store's folder

	// What the file system can do.
	xattrs   bool // keep user attributes
	inodes   bool // keep a file's inode number
	nameless bool // have files without a name
	literal  bool // tell names apart that differ in case, as far as can be seen without writing

	habits atomic.Pointer[habits] // what was found out by writing; nil before that

	skipSymlinks bool // leave them out of listings instead of failing
	skipSpecial  bool
	emptyDirs    bool // list empty folders as markers
}

var (
	_ storage.Store     = (*Store)(nil)
	_ storage.Multipart = (*Store)(nil)
	_ storage.Tagger    = (*Store)(nil)
	_ storage.Keeper    = (*Store)(nil)
	_ storage.Prober    = (*Store)(nil)
)

// Opener returns the storage.Opener of file:///folder for folders that lie in
// one of the roots. Symbolic links on the way to the folder are followed when
// the store is opened, and where they lead must lie in a root too. The folder
// need not exist; the first Put creates it.
func Opener(roots []string) storage.Opener {
	return func(_ context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
		s := &Store{url: u.Redacted()}
		if err := errors.Join(s.options(u), c.Check()); err != nil {
			return nil, &storage.Error{Op: "open", Store: s.url, Fault: work.Invalid, Err: err}
		}
		if err := s.place(filepath.Clean(u.Path), roots); err != nil {
			return nil, err
		}
		return s, nil
	}
}

// options reads everything of the URL but the path.
func (s *Store) options(u *url.URL) error {
	if u.Host != "" && u.Host != "localhost" {
		return fmt.Errorf("%q stands where a host would; write file:///folder with three slashes", u.Host)
	}
	if !strings.HasPrefix(u.Path, "/") || strings.IndexByte(u.Path, 0) >= 0 {
		return errors.New("not an absolute path; write for example file:///data/folder")
	}
	if err := storage.CheckQuery(u, "symlinks", "special", "empty_dirs"); err != nil {
		return err
	}
	q := u.Query()
	for _, p := range []struct {
		name, off, on string
		set           *bool
	}{
		{"symlinks", "fail", "skip", &s.skipSymlinks},
		{"special", "fail", "skip", &s.skipSpecial},
		{"empty_dirs", "skip", "list", &s.emptyDirs},
	} {
		switch v := q.Get(p.name); v {
		case "", p.off:
		case p.on:
			*p.set = true
		default:
			return fmt.Errorf("%s=%s: use %s or %s", p.name, v, p.off, p.on)
		}
	}
	return nil
}

// place finds the root that a folder lies in and the way from there to it.
func (s *Store) place(folder string, roots []string) error {
	real, err := resolve(folder)
	if err != nil {
		return s.fail("open", "", err)
	}
	for _, root := range roots {
		root, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue // a root that is not there allows nothing
		}
		rel, err := filepath.Rel(root, real)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue
		}
		s.root = root
		if rel != "." {
			s.folder = strings.Split(rel, "/")
		}
		s.probe()
		return nil
	}
	return &storage.Error{Op: "open", Store: s.url, Fault: work.Denied,
		Err:  fmt.Errorf("folder %s lies in no root that this agent may use", work.Quote(real)),
		Hint: "the agent's roots are: " + strings.Join(roots, ", ")}
}

// resolve follows the symbolic links of a path, the end of which may be missing.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	parent, name := filepath.Split(path)
	if !errors.Is(err, fs.ErrNotExist) || name == "" {
		return "", err
	}
	if real, err = resolve(filepath.Clean(parent)); err != nil {
		return "", err
	}
	return filepath.Join(real, name), nil
}

// probe finds out what the file system of the store's folder can do, or that
// of what is there of the way to it.
func (s *Store) probe() {
	s.inodes, s.nameless = true, canName()
	for way := s.folder; ; way = way[:len(way)-1] {
		dir, err := (&Store{root: s.root, folder: way}).readableDir(nil, false)
		if err == nil {
			defer dir.Close()
			_, err = unix.Fgetxattr(int(dir.Fd()), attribute, nil)
			s.xattrs = err == nil || errors.Is(err, noAttribute)
			s.inodes = keepsInodes(dir)
			s.literal = len(way) == len(s.folder) && isLiteral(dir)
			return
		}
		if len(way) == 0 {
			return
		}
	}
}

// Traits implements storage.Store.
func (s *Store) Traits() storage.Traits {
	return storage.Traits{
		Name: "file",
		Meta: storage.MetaTraits{Headers: s.xattrs, User: s.xattrs, Tags: s.xattrs, ModTime: true},
	}
}

// Close implements storage.Store.
func (s *Store) Close() error { return nil }
