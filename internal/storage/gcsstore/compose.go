package gcsstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	gcs "cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Where the XML API has no uploads, a part is an object of its own, a piece,
// in a folder that listings hide. An object in the same folder, the mark, says
// that the upload is open; it is written first and removed first. Whoever has
// stored a piece looks at the mark once more and takes the piece back if it is
// gone, so that a sweep misses none of those that were on their way.
const (
	mark        = "open"
	composeMost = 32 // objects that one request puts together
	atOnce      = 32 // requests
	sweepRounds = 3
)

// folder is the name of an upload's folder, with a slash behind it. Folders of
// one key lie side by side.
func (s *Store) folder(key, id string) string { return s.folders(key) + id + "/" }

func (s *Store) folders(key string) string {
	sum := sha256.Sum256([]byte(key))
	return s.prefix + partsFolder + hex.EncodeToString(sum[:hashLength/2]) + "-"
}

func (s *Store) beginCompose(ctx context.Context, folder string) error {
	if len(folder)+64 > maxName {
		return refuse(work.Unsupported, "the store's prefix is too long for the parts of an upload")
	}
	_, err := s.insert(ctx, folder+mark, http.NoBody, 0, storage.PutOptions{})
	return err
}

// isOpen returns nil if the upload of a folder is open.
func (s *Store) isOpen(ctx context.Context, folder string) error {
	_, err := s.attrs(ctx, s.object(folder+mark))
	if gone(err) {
		return refuse(work.NotFound, "there is no such upload any more")
	}
	return err
}

// putPiece stores a part. Its tag is its name, another one each time, so that
// a late repeat never takes the place of what a commit was told of.
func (s *Store) putPiece(ctx context.Context, folder string, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	if err := s.isOpen(ctx, folder); err != nil {
		return storage.Part{}, err
	}
	name := pieceName(n) + rand.Text()
	out, err := s.insert(ctx, folder+name, body, size, storage.PutOptions{Sums: sums})
	if err != nil {
		return storage.Part{}, err
	}
	if err := s.isOpen(ctx, folder); err != nil {
		if faultOf(err) == work.NotFound {
			err = errors.Join(err, s.remove(ctx, folder+name))
		}
		return storage.Part{}, err
	}
	return storage.Part{N: n, Size: size, Tag: name, Sums: out.info("").Sums}, nil
}

func pieceName(n int) string { return fmt.Sprintf("%05d-", n) }

// A piece is an object to be put together with others.
type piece struct {
	name       string
	generation int64
	size       int64
	crc        []byte
}

func pieceOf(a *gcs.ObjectAttrs) piece {
	return piece{a.Name, a.Generation, a.Size, binary.BigEndian.AppendUint32(nil, a.CRC32C)}
}

// is reports whether an object has the piece's content.
func (p piece) is(a *gcs.ObjectAttrs) bool {
	return a.Size == p.size && bytes.Equal(pieceOf(a).crc, p.crc)
}

// inFolder lists what begins with a name.
func (s *Store) inFolder(ctx context.Context, begin string) (map[string]piece, error) {
	all := make(map[string]piece)
	for token := ""; ; {
		p, err := s.page(ctx, query{prefix: begin, token: token, fields: ofPieces})
		if err != nil {
			return nil, err
		}
		for _, e := range p.Items {
			all[strings.TrimPrefix(e.Name, begin)] = piece{e.Name, e.Generation, e.Size, e.CRC32C}
		}
		if token = p.Next; token == "" {
			return all, nil
		}
	}
}

// commitCompose puts the pieces together, in the folder. What comes out is
// known to be right before it is copied to its name, in the place of what must
// be there, or of what was there when that began.
func (s *Store) commitCompose(ctx context.Context, u storage.Upload, name, folder string, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	there, err := s.inFolder(ctx, folder)
	if err != nil {
		return storage.Info{}, err
	}
	if _, open := there[mark]; !open {
		in, err := s.committed(ctx, u, whole(parts), refuse(work.NotFound, "there is no such upload any more"))
		if err == nil && len(there) > 0 {
			err = s.sweep(ctx, folder)
		}
		return in, err
	}
	pieces := make([]piece, len(parts))
	var want []byte
	for i, p := range parts {
		found, ok := there[p.Tag]
		switch {
		case !strings.HasPrefix(p.Tag, pieceName(p.N)):
			return storage.Info{}, refuse(work.Invalid, "%q is not the tag of part %d", p.Tag, p.N)
		case !ok:
			return storage.Info{}, refuse(work.NotFound, "part %d is not there", p.N)
		case found.size != p.Size || p.Sums.CRC32C != nil && !bytes.Equal(p.Sums.CRC32C, found.crc):
			return storage.Info{}, refuse(work.Corrupt, "part %d is not what was stored", p.N)
		}
		pieces[i] = found
		want = storage.CombineCRC32C(want, found.crc, found.size)
	}
	if _, differ := opts.Sums.Compare(storage.Sums{CRC32C: want}); differ != 0 {
		return storage.Info{}, refuse(work.Corrupt, "the parts together do not have the object's CRC32C")
	}
	for level := 1; level == 1 || len(pieces) > 1; level++ {
		if pieces, err = s.join(ctx, folder, level, pieces); err != nil {
			return storage.Info{}, err
		}
	}
	out, err := s.place(ctx, name, pieces[0], opts)
	if err != nil {
		return storage.Info{}, err
	}
	// Pieces that stay behind are seen by nobody: a commit is only done without
	// them. A repeat finds the object and goes on here.
	if err := s.sweep(ctx, folder); err != nil {
		return storage.Info{}, fmt.Errorf("the object is there, but not all of its parts could be removed: %w", err)
	}
	return infoOf(u.Key, out), nil
}

// join puts groups of pieces together to bigger ones, all at once. Their names
// follow from the level, so a repeat leaves no more behind.
func (s *Store) join(ctx context.Context, folder string, level int, pieces []piece) ([]piece, error) {
	joined := make([]piece, (len(pieces)+composeMost-1)/composeMost)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range joined {
		group.Go(func() error {
			some := pieces[i*composeMost : min((i+1)*composeMost, len(pieces))]
			var size int64
			var want []byte
			for _, p := range some {
				want = storage.CombineCRC32C(want, p.crc, p.size)
				size += p.size
			}
			name := fmt.Sprintf("%sjoin-%d-%05d", folder, level, i)
			whole, err := s.compose(ctx, some, piece{name: name, size: size, crc: want})
			joined[i] = whole
			return err
		})
	}
	return joined, group.Wait()
}

// place copies what was put together to the object's name, within the service.
func (s *Store) place(ctx context.Context, name string, whole piece, opts storage.PutOptions) (*gcs.ObjectAttrs, error) {
	for attempt := 1; ; attempt++ {
		conditions, err := s.now(ctx, name, opts.If)
		if err != nil {
			return nil, err
		}
		copier := s.object(name).If(conditions).CopierFrom(s.object(whole.name).Generation(whole.generation))
		copier.ObjectAttrs = attributes(opts.Meta)
		out, err := s.rewrite(ctx, copier)
		if faultOf(err) != work.SrcChanged {
			if err == nil && !whole.is(out) {
				err = refuse(work.Corrupt, "the server has %d bytes with another CRC32C than the parts", out.Size)
			}
			return out, err
		}
		// Another version came in between: ours, if an answer was lost.
		if now, again := s.attrs(ctx, s.object(name)); again == nil && whole.is(now) {
			return now, nil
		}
		if err := clashed(err, opts.If); isClash(err) {
			return nil, err
		}
		if attempt == attempts {
			return nil, refuse(work.Transient, "others keep writing the object: %v", told(err))
		}
	}
}

// now returns the condition that an object is what c asks for, or still is what
// it is now.
func (s *Store) now(ctx context.Context, name string, c storage.Condition) (gcs.Conditions, error) {
	if c != (storage.Condition{}) {
		return conditions(c)
	}
	now, err := s.attrs(ctx, s.object(name))
	switch {
	case err == nil:
		return gcs.Conditions{GenerationMatch: now.Generation}, nil
	case gone(err):
		return gcs.Conditions{DoesNotExist: true}, nil
	}
	return gcs.Conditions{}, err
}

// compose puts pieces together to what is wanted, and lets the service check
// what comes out.
func (s *Store) compose(ctx context.Context, pieces []piece, want piece) (piece, error) {
	sources := make([]*gcs.ObjectHandle, len(pieces))
	for i, p := range pieces {
		sources[i] = s.object(p.name).Generation(p.generation)
	}
	c := s.object(want.name).ComposerFrom(sources...)
	c.SendCRC32C, c.CRC32C = true, binary.BigEndian.Uint32(want.crc)
	var out *gcs.ObjectAttrs
	ctx = withPatience(ctx, thinking)
	err := s.again(ctx, nil, func() (err error) {
		out, err = c.Run(ctx)
		return err
	})
	if err != nil {
		return piece{}, err
	}
	if !want.is(out) {
		return piece{}, refuse(work.Corrupt, "%d bytes put together do not have the CRC32C of the parts", out.Size)
	}
	return pieceOf(out), nil
}

// sweep closes an upload and removes all that is in its folder.
func (s *Store) sweep(ctx context.Context, folder string) error {
	if err := s.remove(ctx, folder+mark); err != nil {
		return err
	}
	for range sweepRounds {
		left, err := s.inFolder(ctx, folder)
		if err != nil || len(left) == 0 {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for _, p := range left {
			group.Go(func() error { return s.remove(ctx, p.name) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// emptyFolders returns the IDs of the key's open uploads that have no piece.
func (s *Store) emptyFolders(ctx context.Context, key string) (ids []string, err error) {
	there, err := s.inFolder(ctx, s.folders(key))
	if err != nil {
		return nil, err
	}
	holds := make(map[string]int)
	for name := range there {
		id, _, _ := strings.Cut(name, "/")
		holds[id]++
	}
	for id, n := range holds {
		if _, open := there[id+"/"+mark]; open && n == 1 {
			ids = append(ids, composeID+id)
		}
	}
	return ids, nil
}
