package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	f, in, err := s.open(ctx, "stat", key)
	if err != nil {
		return storage.Info{}, err
	}
	f.Close()
	return outer(in), nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	f, in, err := s.open(ctx, "get", key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	if n < 0 {
		n = in.Size - off
	}
	switch {
	case etag != "" && etag != in.ETag:
		err = s.fail("get", key, changed(in.ETag, etag))
	case off < 0 || n < 0 || off > in.Size-n:
		err = s.fail("get", key, problemf(work.Invalid, "range of %d bytes from %d in a file of %d", n, off, in.Size))
	}
	if err != nil {
		f.Close()
		return nil, storage.Info{}, err
	}
	return &body{ctx: ctx, store: s, key: key, f: f, version: in.ETag, off: off, left: n}, outer(in), nil
}

func changed(now, was string) error {
	return problemf(work.SrcChanged, "version is %s, not %s", now, was)
}

// open opens a file, or the folder of a marker, and says what is known of it.
func (s *Store) open(ctx context.Context, op, key string) (*os.File, storage.Info, error) {
	if err := s.live(ctx, op, key); err != nil {
		return nil, storage.Info{}, err
	}
	f, in, err := s.find(key)
	if err != nil {
		return nil, storage.Info{}, s.fail(op, key, err)
	}
	return f, in, nil
}

func (s *Store) find(key string) (*os.File, storage.Info, error) {
	way, name, err := split(key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	dir, err := s.openDir(way, false)
	if err != nil {
		return nil, storage.Info{}, absent(err)
	}
	defer dir.Close()
	if name == "" {
		if err := s.exact(way, nil, "", nil); err != nil {
			return nil, storage.Info{}, err
		}
		return s.findMarker(key, dir)
	}
	// Without O_NONBLOCK, opening a FIFO would wait for its writer.
	f, err := openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		err = inTheWay(dir, name, err)
	}
	if err != nil {
		return nil, storage.Info{}, err
	}
	in, err := s.infoOfFile(key, way, f, dir, name)
	if err != nil {
		f.Close()
		return nil, storage.Info{}, err
	}
	return f, in, nil
}

func (s *Store) infoOfFile(key string, way []string, f, dir *os.File, name string) (storage.Info, error) {
	st, err := fstat(f)
	if err == nil {
		err = s.exact(way, dir, name, &st)
	}
	if err != nil {
		return storage.Info{}, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return s.info(key, f, &st)
	case unix.S_IFDIR:
		return storage.Info{}, &problem{fault: work.NotFound, text: "a folder stands there", cause: unix.ENOENT}
	}
	return storage.Info{}, inTheWay(dir, name, unix.EINVAL)
}

// absent turns "a file stands where a folder should" into "not there", which
// is what it means to a reader.
func absent(err error) error {
	if errors.Is(err, unix.ENOTDIR) {
		return &problem{fault: work.NotFound, text: "no such file", cause: err}
	}
	return err
}

// A body reads a range of one version of a file.
type body struct {
	ctx     context.Context
	store   *Store
	key     string
	f       *os.File
	version string
	off     int64
	left    int64
}

// Read implements io.Reader. The last bytes are given out only after the file
// has been found unchanged.
func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if err := b.store.live(b.ctx, "read", b.key); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.f.ReadAt(p[:min(int64(len(p)), b.left)], b.off)
	b.off += int64(n)
	b.left -= int64(n)
	if err == nil && b.left > 0 {
		return n, nil
	}
	if changed := b.check(); changed != nil {
		return 0, changed
	}
	if b.left > 0 && (err == nil || err == io.EOF) {
		err = problemf(work.Corrupt, "file ended %d bytes early", b.left)
	}
	if b.left > 0 {
		return n, b.store.fail("read", b.key, err)
	}
	return n, nil
}

// check fails if the file is no longer the version that was opened.
func (b *body) check() error {
	st, err := fstat(b.f)
	if err != nil {
		return b.store.fail("read", b.key, err)
	}
	if now := b.store.version(&st); now != b.version {
		return b.store.fail("read", b.key, changed(now, b.version))
	}
	return nil
}

// Close implements io.Closer.
func (b *body) Close() error { return b.f.Close() }

// findMarker opens a folder as the empty object that marks it.
func (s *Store) findMarker(key string, dir *os.File) (*os.File, storage.Info, error) {
	f, err := readable(dir)
	if err != nil {
		return nil, storage.Info{}, err
	}
	in, ok, err := s.marker(key, f)
	if err == nil && !ok {
		err = &problem{fault: work.NotFound, text: "the folder is not marked as an object", cause: unix.ENOENT}
	}
	if err != nil {
		f.Close()
		return nil, storage.Info{}, err
	}
	return f, in, nil
}

// marker says what is known of a folder as an object, and whether it is one.
func (s *Store) marker(key string, f *os.File) (storage.Info, bool, error) {
	q, err := s.attributes(f)
	if err != nil {
		return storage.Info{}, false, err
	}
	st, err := fstat(f)
	if err != nil {
		return storage.Info{}, false, err
	}
	in := storage.Info{Key: key, ModTime: modTime(&st)}
	switch {
	case q.Has(fieldMark):
		in.Meta = decode(q).Meta
		if t, err := time.Parse(time.RFC3339Nano, q.Get(fieldModified)); err == nil {
			in.ModTime = t
		}
	case s.emptyDirs:
		if empty, err := isEmpty(f); !empty || err != nil {
			return storage.Info{}, false, err
		}
	default:
		return storage.Info{}, false, nil
	}
	in.ETag = fmt.Sprintf("0-%d.%d-", in.ModTime.Unix(), in.ModTime.Nanosecond())
	return complete(in), true, nil
}

// isEmpty reports whether a folder holds nothing but unfinished files.
func isEmpty(f *os.File) (bool, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	for {
		names, err := f.Readdirnames(16)
		for _, name := range names {
			if !isOurs(name) {
				return false, nil
			}
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
