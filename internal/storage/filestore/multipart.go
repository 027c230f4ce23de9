package filestore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An upload is one unfinished file beside the object to be:
//
//	content, every part in its place │ table: one entry per part │ label
//
// An entry is written after its part was synced and cleared before the part
// gets other bytes, so the table never vouches for bytes that are not there.
// A part that is sent again is usually the same; then nothing of it is touched,
// and what was recorded stays good however the repeat ends.
// Commit compares the table with what the caller knows, cuts it off and gives
// the file its name. The label says which name that will be, so that an upload
// of which nobody knows can be found.
//
// Whoever writes a part holds a lock on its range and Commit holds one on the
// whole file, and both look whether the upload still has its name once they
// have the lock. So no late writer changes an object that was committed.

// entrySize is the size of a table entry: the part's size and its CRC32C, then
// a mark that tells an entry from a hole.
const entrySize = 16

const entryMark = 0x7472616e // "tran"

// Limits implements storage.Multipart.
func (s *Store) Limits() storage.Limits {
	return storage.Limits{MinPart: 1, MaxPart: math.MaxInt64, MaxObject: math.MaxInt64, MaxParts: 1_000_000}
}

// Begin implements storage.Multipart. It takes the disk's room for the whole
// object, where the file system can.
func (s *Store) Begin(ctx context.Context, key string, size, part int64, _ storage.PutOptions) (storage.Upload, error) {
	u := storage.Upload{Key: key, ID: rand.Text(), Size: size, Part: part}
	err := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		way, name, err := split(key)
		if err != nil {
			return err
		}
		if name == "" || size < 1 || part < 1 || parts(u) > s.Limits().MaxParts {
			return problemf(work.Invalid, "%d bytes in parts of %d", size, part)
		}
		dir, wary, err := s.target(key, way)
		if err != nil {
			return err
		}
		defer dir.Close()
		if err := foreseen(dir, name, wary); err != nil {
			return err
		}
		sweep(dir, time.Now())
		f, err := openat(dir, tempName(u), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		defer f.Close()
		label := newLabel(u, name)
		end := entryAt(u, parts(u)+1)
		if err = reserve(f, end+int64(len(label))); err == nil {
			_, err = f.WriteAt(label, end)
		}
		if err != nil {
			return errors.Join(err, unlink(dir, tempName(u)))
		}
		return dir.Sync()
	}()
	if err != nil {
		return storage.Upload{}, s.fail("begin", key, err)
	}
	return u, nil
}

// foreseen fails if it can be seen already that Commit will not be able to give
// the upload its name.
func foreseen(dir *os.File, name string, wary bool) error {
	st, err := lstat(dir, name)
	switch {
	case err != nil:
		return nil // it is free; or Commit will tell
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return inTheWay(dir, name, unix.EEXIST)
	case wary:
		return spelt(dir, name)
	}
	return nil
}

// idSyntax keeps an upload's file in its folder.
var idSyntax = regexp.MustCompile(`^[A-Z0-9]+$`)

func parts(u storage.Upload) int { return int((u.Size + u.Part - 1) / u.Part) }

func tempName(u storage.Upload) string { return ourPrefix + u.ID + ourSuffix }

// extent returns where part n lies.
func extent(u storage.Upload, n int) (off, size int64) {
	off = int64(n-1) * u.Part
	return off, min(u.Part, u.Size-off)
}

func entryAt(u storage.Upload, n int) int64 { return u.Size + int64(n-1)*entrySize }

// openUpload opens an upload's file and locks n bytes of it from off.
func (s *Store) openUpload(u storage.Upload, off, n int64) (f, dir *os.File, name string, err error) {
	way, name, err := split(u.Key)
	if err != nil {
		return nil, nil, "", err
	}
	if !idSyntax.MatchString(u.ID) || u.Part < 0 || u.Size < 0 {
		return nil, nil, "", problemf(work.Invalid, "damaged upload %q", u.ID)
	}
	if dir, err = s.readableDir(way, false); err != nil {
		return nil, nil, "", err
	}
	f, err = lockUpload(dir, tempName(u), off, n)
	if err != nil {
		dir.Close()
		return nil, nil, "", err
	}
	return f, dir, name, nil
}

func lockUpload(dir *os.File, temp string, off, n int64) (*os.File, error) {
	f, err := openat(dir, temp, unix.O_RDWR, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, &problem{fault: work.NotFound, text: "no such upload", cause: err}
	}
	if err != nil {
		return nil, err
	}
	if err := claim(f, dir, temp, off, n); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// claim locks a range of an upload, and fails unless the upload then still has
// its name.
func claim(f, dir *os.File, temp string, off, n int64) error {
	err := lock(f, off, n)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return &problem{fault: work.Transient, text: "another writer holds this part of the upload", cause: err}
	}
	if err != nil {
		return err
	}
	mine, err := fstat(f)
	if err != nil {
		return err
	}
	there, err := lstat(dir, temp)
	if errors.Is(err, unix.ENOENT) || err == nil && there.Ino != mine.Ino {
		return problemf(work.NotFound, "the upload was finished or aborted meanwhile")
	}
	return err
}

// unimpaired makes sure that an upload's file still has its whole table: Commit
// cuts it off before it gives the file its name, and may have been killed in
// between. Of what is left nobody knows the parts any more. The label may be
// missing: older versions wrote none.
func unimpaired(f *os.File, u storage.Upload) error {
	st, err := fstat(f)
	if err == nil && st.Size < entryAt(u, parts(u)+1) {
		return problemf(work.NotFound, "the upload was cut off by a commit that did not end")
	}
	return err
}

// PutPart implements storage.Multipart. When it returns without error, the
// part outlives a crash of the machine.
func (s *Store) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, want storage.Sums) (storage.Part, error) {
	p, err := s.putPart(ctx, u, n, body, size, want)
	if err != nil {
		return storage.Part{}, s.fail("put part", u.Key, err)
	}
	return p, nil
}

func (s *Store) putPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, want storage.Sums) (storage.Part, error) {
	if u.Part < 1 || n < 1 || n > parts(u) {
		return storage.Part{}, problemf(work.Invalid, "part %d of an upload of %d bytes in parts of %d", n, u.Size, u.Part)
	}
	off, due := extent(u, n)
	if size != due {
		return storage.Part{}, problemf(work.Invalid, "part %d has %d bytes, not %d", n, size, due)
	}
	f, dir, _, err := s.openUpload(u, off, size)
	if err != nil {
		return storage.Part{}, err
	}
	defer dir.Close()
	defer f.Close()
	if err := unimpaired(f, u); err != nil {
		return storage.Part{}, err
	}
	to, err := newRewriter(f, off, entryAt(u, n))
	if err != nil {
		return storage.Part{}, err
	}
	sums, err := receive(ctx, to, body, size, want)
	if err != nil {
		return storage.Part{}, err
	}
	if err := f.Sync(); err != nil {
		return storage.Part{}, err
	}
	if _, err := f.WriteAt(newEntry(size, sums.CRC32C), entryAt(u, n)); err != nil {
		return storage.Part{}, err
	}
	return storage.Part{N: n, Size: size, Tag: hex.EncodeToString(sums.CRC32C), Sums: sums}, nil
}

func newEntry(size int64, crc []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(size))
	b = append(b, crc...)
	return binary.BigEndian.AppendUint32(b, entryMark)
}

// Commit implements storage.Multipart. Of the sums in opts, it compares the
// CRC32C, which follows from the parts'; the others would need the file to be
// read again.
func (s *Store) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.commit(ctx, u, parts, opts)
	if err != nil {
		return storage.Info{}, s.fail("commit", u.Key, err)
	}
	return in, nil
}

func (s *Store) commit(ctx context.Context, u storage.Upload, list []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	if u.Part < 1 || u.Size < 1 {
		return storage.Info{}, problemf(work.Invalid, "damaged upload of %d bytes in parts of %d", u.Size, u.Part)
	}
	f, dir, name, err := s.openUpload(u, 0, 0)
	if err != nil {
		return storage.Info{}, err
	}
	defer dir.Close()
	defer f.Close()
	if err := unimpaired(f, u); err != nil {
		return storage.Info{}, err
	}
	h, err := s.learn()
	if err != nil {
		return storage.Info{}, err
	}
	crc, err := compareTable(f, u, list)
	if err != nil {
		return storage.Info{}, err
	}
	sums := storage.Sums{CRC32C: crc}
	if _, differ := opts.Sums.Compare(sums); differ != 0 {
		return storage.Info{}, problemf(work.Corrupt, "%s of the parts together is not the expected one", differ)
	}
	return s.publishUpload(&draft{dir: dir, f: f, temp: tempName(u), wary: h.folds}, u, name, sums, opts)
}

// publishUpload cuts table and label off and gives the file its name. On an error
// the upload stays as it was, so that Commit can be called again.
func (s *Store) publishUpload(d *draft, u storage.Upload, name string, sums storage.Sums, opts storage.PutOptions) (storage.Info, error) {
	rest, err := io.ReadAll(io.NewSectionReader(d.f, u.Size, entryAt(u, parts(u)+1)-u.Size+maxLabel))
	if err != nil {
		return storage.Info{}, err
	}
	if err := d.f.Truncate(u.Size); err != nil {
		return storage.Info{}, err
	}
	in, err := s.publish(u.Key, d, name, sums, opts)
	if err != nil && d.temp != "" {
		_, undo := d.f.WriteAt(rest, u.Size)
		return storage.Info{}, errors.Join(err, undo)
	}
	return in, err
}

// compareTable checks that the parts are all, in order, and the ones that the
// upload holds, and returns the CRC32C of the whole.
func compareTable(f *os.File, u storage.Upload, list []storage.Part) ([]byte, error) {
	if len(list) != parts(u) {
		return nil, problemf(work.Invalid, "%d parts, not %d", len(list), parts(u))
	}
	var whole []byte
	var entry [entrySize]byte
	for i, p := range list {
		_, size := extent(u, i+1)
		crc, err := hex.DecodeString(p.Tag)
		if p.N != i+1 || p.Size != size || err != nil || len(crc) != 4 {
			return nil, problemf(work.Invalid, "part %d of %d bytes with tag %q stands in place %d", p.N, p.Size, p.Tag, i+1)
		}
		if _, err := f.ReadAt(entry[:], entryAt(u, p.N)); err != nil {
			return nil, fmt.Errorf("read the entry of part %d: %w", p.N, err)
		}
		if entry == [entrySize]byte{} {
			return nil, problemf(work.NotFound, "part %d is not there any more", p.N)
		}
		if string(entry[:]) != string(newEntry(size, crc)) {
			return nil, problemf(work.Corrupt, "part %d is not the one that was stored", p.N)
		}
		whole = storage.CombineCRC32C(whole, crc, size)
	}
	return whole, nil
}

// Abort implements storage.Multipart.
func (s *Store) Abort(ctx context.Context, u storage.Upload) error {
	if err := s.live(ctx, "abort", u.Key); err != nil {
		return err
	}
	f, dir, _, err := s.openUpload(u, 0, 0)
	if err == nil {
		defer dir.Close()
		defer f.Close()
		err = unlink(dir, tempName(u))
	}
	if err != nil && !storage.Is(s.fail("abort", u.Key, err), work.NotFound) {
		return s.fail("abort", u.Key, err)
	}
	return nil
}
