package filestore

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
)

// The label of an upload ends its file: the name that it will have, then the
// sizes of object and parts, the length of the name and a mark.
const (
	labelFoot = 24
	labelMark = 0x7472706c // "trpl"
	maxLabel  = maxName + labelFoot
)

func newLabel(u storage.Upload, name string) []byte {
	b := []byte(name)
	b = binary.BigEndian.AppendUint64(b, uint64(u.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(u.Part))
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	return binary.BigEndian.AppendUint32(b, labelMark)
}

// readLabel returns the upload that a file holds, without key and ID, and the
// name it will have. The name is empty if the file holds no upload.
func readLabel(f *os.File, size int64) (u storage.Upload, name string, err error) {
	var foot [labelFoot]byte
	if size < labelFoot {
		return u, "", nil
	}
	if _, err := f.ReadAt(foot[:], size-labelFoot); err != nil {
		return u, "", err
	}
	u.Size = int64(binary.BigEndian.Uint64(foot[:]))
	u.Part = int64(binary.BigEndian.Uint64(foot[8:]))
	long := int64(binary.BigEndian.Uint32(foot[16:]))
	if binary.BigEndian.Uint32(foot[20:]) != labelMark || u.Size < 1 || u.Size > size || u.Part < 1 ||
		entryAt(u, parts(u)+1)+long+labelFoot != size {
		return u, "", nil
	}
	b := make([]byte, long)
	_, err = f.ReadAt(b, size-labelFoot-long)
	return u, string(b), err
}

// Pending implements storage.Multipart.
func (s *Store) Pending(ctx context.Context, key string) ([]storage.Upload, error) {
	found, err := s.pending(ctx, key)
	if err != nil {
		return nil, s.fail("list uploads", key, err)
	}
	return found, nil
}

func (s *Store) pending(ctx context.Context, key string) ([]storage.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	way, name, err := split(key)
	if err != nil {
		return nil, err
	}
	dir, err := s.readableDir(way, false)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var found []storage.Upload
	for {
		names, end := dir.Readdirnames(1024)
		for _, temp := range names {
			id := strings.TrimSuffix(strings.TrimPrefix(temp, ourPrefix), ourSuffix)
			if !isOurs(temp) || !idSyntax.MatchString(id) {
				continue
			}
			untouched, err := unbegun(dir, temp, name)
			if err != nil {
				return nil, err
			}
			if untouched {
				found = append(found, storage.Upload{Key: key, ID: id})
			}
		}
		if end == io.EOF {
			return found, nil
		}
		if end != nil {
			return nil, end
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// unbegun reports whether an unfinished file is an upload of name without any
// part.
func unbegun(dir *os.File, temp, name string) (bool, error) {
	f, err := openat(dir, temp, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := fstat(f)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, err
	}
	u, named, err := readLabel(f, st.Size)
	if err != nil || named != name || name == "" {
		return false, ignoreEnd(err)
	}
	var entry [entrySize]byte
	for n := 1; n <= parts(u); n++ {
		if _, err := f.ReadAt(entry[:], entryAt(u, n)); err != nil || entry != [entrySize]byte{} {
			return false, ignoreEnd(err)
		}
	}
	return true, nil
}

// ignoreEnd leaves out the error of a file that was cut off meanwhile, for then
// it is no upload any more.
func ignoreEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
