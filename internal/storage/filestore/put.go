package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Put implements storage.Store. When it returns without error, the object
// outlives a crash of the machine.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	way, name, err := split(key)
	switch {
	case err != nil:
	case size < 0:
		err = problemf(work.Invalid, "size %d", size)
	case name == "":
		return s.putMarker(ctx, key, way, body, size, opts)
	default:
		var in storage.Info
		if in, err = s.putFile(ctx, key, way, name, body, size, opts); err == nil {
			return in, nil
		}
	}
	return storage.Info{}, s.fail("put", key, err)
}

func (s *Store) putFile(ctx context.Context, key string, way []string, name string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	dir, wary, err := s.target(key, way)
	if err != nil {
		return storage.Info{}, err
	}
	defer dir.Close()
	d, err := s.newDraft(dir)
	if err != nil {
		return storage.Info{}, err
	}
	d.wary = wary
	defer d.discard()
	sums, err := receive(ctx, d.f, body, size, opts.Sums)
	if err != nil {
		return storage.Info{}, err
	}
	return s.publish(key, d, name, sums, opts)
}

// publish gives a written draft its times, its record and its name.
func (s *Store) publish(key string, d *draft, name string, sums storage.Sums, opts storage.PutOptions) (storage.Info, error) {
	meta := opts.Meta
	if !meta.ModTime.IsZero() {
		if err := d.setModTime(meta.ModTime); err != nil {
			return storage.Info{}, fmt.Errorf("set the modification time: %w", err)
		}
	}
	st, err := fstat(d.f)
	if err != nil {
		return storage.Info{}, err
	}
	q := record{Sums: sums, Meta: meta}.encode(key)
	must := len(q) > len(record{Sums: sums}.encode(key))
	q.Set(fieldBound, bound(&st))
	if err := s.setAttributes(d.f, q, must); err != nil {
		return storage.Info{}, err
	}
	if err := d.f.Sync(); err != nil {
		return storage.Info{}, err
	}
	if err := s.name(d, name, opts.If); err != nil {
		return storage.Info{}, err
	}
	in, err := s.info(key, d.f, &st)
	if err != nil {
		return storage.Info{}, err
	}
	in.Sums = sums // counted on the way to the file
	return outer(in), nil
}

// buffers are for bytes on their way to a file.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// receive writes exactly size bytes of body to w and returns their checksums,
// of which CRC32C is always one.
func receive(ctx context.Context, w io.Writer, body io.Reader, size int64, want storage.Sums) (storage.Sums, error) {
	buf := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buf)
	digest := storage.NewDigest(storage.CRC32C | want.Algos())
	for left := size; ; {
		if err := ctx.Err(); err != nil {
			return storage.Sums{}, err
		}
		n, err := body.Read(buf[:min(int64(len(buf)), left+1)]) // one more, to notice a long body
		if int64(n) > left {
			return storage.Sums{}, problemf(work.Corrupt, "body is longer than %d bytes", size)
		}
		digest.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return storage.Sums{}, err
		}
		left -= int64(n)
		switch {
		case err == io.EOF && left > 0:
			return storage.Sums{}, &problem{fault: work.Corrupt, cause: io.ErrUnexpectedEOF,
				text: fmt.Sprintf("body ended after %d of %d bytes", size-left, size)}
		case err == io.EOF:
			sums := digest.Sums()
			if _, differ := want.Compare(sums); differ != 0 {
				return storage.Sums{}, problemf(work.Corrupt, "%s of the body is not the expected one", differ)
			}
			return sums, nil
		case err != nil:
			return storage.Sums{}, fmt.Errorf("read the body: %w", err)
		}
	}
}

// putMarker stores an empty object that stands for a folder.
func (s *Store) putMarker(ctx context.Context, key string, way []string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := func() (in storage.Info, err error) {
		if size > 0 {
			return in, unkept("a key that ends in / is a folder here and holds no bytes")
		}
		if err := s.keeps(key); err != nil {
			return in, err
		}
		if _, err := receive(ctx, io.Discard, body, 0, opts.Sums); err != nil {
			return in, err
		}
		dir, _, err := s.target(key, way)
		if err != nil {
			return in, err
		}
		defer dir.Close()
		if err := s.meetsMarker(key, dir, opts.If); err != nil {
			return in, err
		}
		q := record{Meta: opts.Meta}.encode(key)
		if opts.Meta.ModTime.IsZero() {
			opts.Meta.ModTime = time.Now()
		}
		q.Set(fieldMark, "1")
		q.Set(fieldModified, opts.Meta.ModTime.UTC().Format(time.RFC3339Nano))
		if err := s.setAttributes(dir, q, true); err != nil {
			return in, err
		}
		if err := dir.Sync(); err != nil {
			return in, err
		}
		in, _, err = s.marker(key, dir)
		return outer(in), err
	}()
	if err != nil {
		return storage.Info{}, s.fail("put", key, err)
	}
	return in, nil
}

// Delete implements storage.Store. Folders stay, but for a marker's own when
// nothing is in it.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.live(ctx, "delete", key); err != nil {
		return err
	}
	way, name, err := split(key)
	if err == nil {
		err = s.remove(way, name)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return s.fail("delete", key, err)
	}
	return nil
}

func (s *Store) remove(way []string, name string) error {
	if name == "" {
		return s.removeMarker(way)
	}
	dir, err := s.readableDir(way, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := lstat(dir, name)
	if err != nil {
		return err
	}
	if _, err := s.learn(); err != nil { // to remove is to write
		return err
	}
	if err := s.exact(way, dir, name, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return nil // no object has this key
	case unix.S_IFREG:
	default:
		return inTheWay(dir, name, unix.EINVAL)
	}
	if err := unlink(dir, name); err != nil {
		return err
	}
	return dir.Sync()
}

func (s *Store) removeMarker(way []string) error {
	dir, err := s.readableDir(way, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := s.learn(); err != nil {
		return err
	}
	if err := s.exact(way, nil, "", nil); err != nil {
		return err
	}
	_, is, err := s.marker("", dir)
	if err != nil || !is {
		return err
	}
	err = retry(func() error { return unix.Fremovexattr(int(dir.Fd()), attribute) })
	if err != nil && !errors.Is(err, noAttribute) {
		return err
	}
	parent, err := s.openDir(way[:len(way)-1], false)
	if err != nil {
		return err
	}
	defer parent.Close()
	err = rmdir(parent, way[len(way)-1])
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return dir.Sync()
}
