package filestore

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// maxNames is how many names of one folder are held at once. A larger folder
// is read several times, each time for the next of its names in order.
const maxNames = 1 << 16

// List implements storage.Store.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	l := &lister{ctx: ctx, store: s, Range: r, fn: fn, window: maxNames}
	err := l.run()
	if l.stop != nil {
		return l.stop
	}
	if err != nil {
		e := s.fail("list", "", err)
		e.Field = "" // it is no object that cannot be held
		return e
	}
	return nil
}

// A lister walks the folders in the order of the keys' bytes, for which a
// folder counts as its name with a "/".
type lister struct {
	ctx   context.Context
	store *Store
	work.Range
	fn     func([]storage.Info) error
	window int
	page   []storage.Info
	stop   error // what fn returned
}

// errEnd ends a walk at the end of the range.
var errEnd = errors.New("end of the range")

func (l *lister) run() error {
	dir, err := l.store.readableDir(nil, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := l.walk(dir, ""); err != nil && err != errEnd {
		return err
	}
	return l.flush()
}

// walk lists what is in dir, whose keys begin with prefix.
func (l *lister) walk(dir *os.File, prefix string) error {
	for low := ""; ; {
		names, more, err := l.names(dir, prefix, low)
		if err != nil {
			return naming(prefix, err)
		}
		for _, name := range names {
			if err := l.ctx.Err(); err != nil {
				return err
			}
			if folder, ok := strings.CutSuffix(name, "/"); ok {
				err = l.enter(dir, folder, prefix+name)
			} else {
				err = l.file(dir, name, prefix+name)
			}
			if err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		low = names[len(names)-1]
	}
}

// names returns, in order, the next names of dir that are greater than low and
// may lead to keys of the range, and whether there are more. Folders have
// their "/".
func (l *lister) names(dir *os.File, prefix, low string) (names []string, more bool, err error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, false, err
	}
	high := "" // names beyond it are for another time
	cut := func(n int) {
		slices.Sort(names)
		if len(names) > n {
			names, more = slices.Clone(names[:n]), true
			high = names[n-1]
		}
	}
	for {
		entries, err := dir.ReadDir(1024)
		for _, e := range entries {
			name := e.Name()
			switch {
			case isOurs(name):
				continue
			case e.IsDir():
				name += "/"
			case !e.Type().IsRegular():
				if skip, err := l.special(prefix+name, e.Type()); skip || err != nil {
					if err != nil {
						return nil, false, err
					}
					continue
				}
			}
			if name > low && (high == "" || name < high) && l.leads(prefix, name) {
				names = append(names, name)
			}
		}
		if len(names) >= 2*l.window {
			cut(l.window)
		}
		if err == io.EOF {
			cut(l.window)
			return names, more, nil
		}
		if err != nil {
			return nil, false, err
		}
		if err := l.ctx.Err(); err != nil {
			return nil, false, err
		}
	}
}

// leads reports whether name in the folder of prefix is a key of the range or
// may be a folder with such keys.
func (l *lister) leads(prefix, name string) bool {
	key := prefix + name
	if l.Upto != "" && key > l.Upto {
		return false
	}
	return key > l.After || strings.HasSuffix(key, "/") && strings.HasPrefix(l.After, key)
}

// special decides about what is neither file nor folder: leave it out, or fail.
func (l *lister) special(key string, mode os.FileMode) (skip bool, err error) {
	p := &problem{fault: work.Unsupported}
	switch {
	case !l.leads("", key):
		return true, nil
	case mode&os.ModeSymlink != 0 && !l.store.skipSymlinks:
		p.text = work.Quote(key) + " is a symbolic link, which is not followed"
		p.hint = "add ?symlinks=skip to the URL to leave symbolic links out"
		return false, p
	case mode&os.ModeSymlink == 0 && !l.store.skipSpecial:
		p.text = work.Quote(key) + " is neither a file nor a folder"
		p.hint = "add ?special=skip to the URL to leave FIFOs, sockets and devices out"
		return false, p
	}
	return true, nil
}

// file adds a file to the page.
func (l *lister) file(dir *os.File, name, key string) error {
	st, err := lstat(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since its folder was read
	}
	if err != nil {
		return naming(key, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return naming(key, inTheWay(dir, name, unix.EINVAL))
	}
	return l.add(storage.Info{Key: key, Size: st.Size, ETag: l.store.version(&st), ModTime: modTime(&st)})
}

// enter lists a folder: its marker, if it has one, and what is in it.
func (l *lister) enter(parent *os.File, name, prefix string) error {
	dir, err := openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since its parent was read
	}
	if err != nil {
		return naming(prefix, err)
	}
	defer dir.Close()
	if prefix > l.After {
		in, ok, err := l.store.marker(prefix, dir)
		if err != nil {
			return naming(prefix, err)
		}
		if ok {
			if err := l.add(storage.Info{Key: prefix, ETag: in.ETag, ModTime: in.ModTime}); err != nil {
				return err
			}
		}
	}
	return l.walk(dir, prefix)
}

// naming says which folder or file could not be read, for a listing that
// leaves something out must say what.
func naming(key string, err error) error {
	var own *problem
	if errors.As(err, &own) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p := &problem{fault: storage.FaultOf(err), text: "the listing would be incomplete without " + work.Quote(key), cause: err}
	var no unix.Errno
	if errors.As(err, &no) {
		p.fault, p.hint, _ = fault(no)
	}
	if no == unix.EACCES {
		p.hint = "let the agent's user read it, or leave it out by choosing another folder"
	}
	return p
}

func (l *lister) add(in storage.Info) error {
	if !l.Contains(in.Key) {
		return nil
	}
	l.page = append(l.page, in)
	if len(l.page) < pageSize {
		return nil
	}
	return l.flush()
}

// flush hands the page over; fn may keep it.
func (l *lister) flush() error {
	if len(l.page) == 0 {
		return nil
	}
	page := l.page
	l.page = nil
	if len(page) == pageSize {
		l.page = make([]storage.Info, 0, pageSize) // the next will be full too
	}
	if err := l.fn(page); err != nil {
		l.stop = err
		return errEnd
	}
	return nil
}
