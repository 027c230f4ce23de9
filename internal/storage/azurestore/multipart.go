package azurestore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An uploadID begins the names of all blocks of an upload.
type uploadID [14]byte

// A nonce tells blocks apart that were sent for the same part.
type nonce [6]byte

func newID() (id uploadID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// block names a block. All names have the same length, as the service demands.
func (id uploadID) block(n int, x nonce) string {
	name := binary.BigEndian.AppendUint32(id[:], uint32(n))
	return base64.StdEncoding.EncodeToString(append(name, x[:]...))
}

// owns reports whether a block is one of the upload's.
func (id uploadID) owns(block string) bool {
	name, err := base64.StdEncoding.DecodeString(block)
	return err == nil && len(name) == len(id)+4+len(nonce{}) && string(name[:len(id)]) == string(id[:])
}

func idOf(u storage.Upload) (id uploadID, err error) {
	b, err := hex.DecodeString(u.ID)
	if err != nil || len(b) != len(id) {
		return id, refuse(work.Invalid, "%q is not the id of an upload", u.ID)
	}
	return uploadID(b), nil
}

// A tag is what a part is called: the nonce of its block, and the checksums
// that the service confirmed of it, CRC32C first.
func tagOf(x nonce, sums storage.Sums) string {
	b := x[:]
	if sums.CRC32C != nil {
		b = append(append(b, sums.CRC32C...), sums.CRC64NVME...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseTag(tag string) (x nonce, sums storage.Sums, err error) {
	b, err := base64.RawURLEncoding.DecodeString(tag)
	if n := len(b); err != nil || n != len(x) && n != len(x)+4 && n != len(x)+12 {
		return x, sums, refuse(work.Invalid, "%q is not the tag of a part", tag)
	}
	copy(x[:], b)
	if b = b[len(x):]; len(b) > 0 {
		sums.CRC32C = b[:4]
	}
	if len(b) > 4 {
		sums.CRC64NVME = b[4:]
	}
	return x, sums, nil
}

// gone are the uploads that this store has given up, as many as it remembers.
type gone struct {
	mu   sync.Mutex
	ids  map[uploadID]bool
	next [1024]uploadID // a ring, to forget the oldest
	at   int
}

func (g *gone) add(id uploadID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ids[id] {
		return
	}
	if g.ids == nil {
		g.ids = make(map[uploadID]bool)
	}
	delete(g.ids, g.next[g.at])
	g.ids[id], g.next[g.at] = true, id
	g.at = (g.at + 1) % len(g.next)
}

func (g *gone) check(id uploadID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ids[id] {
		return refuse(work.NotFound, "the upload was given up")
	}
	return nil
}

// Limits are the service's: a part is a block.
func (s *Store) Limits() storage.Limits {
	return storage.Limits{MinPart: 1, MaxPart: maxBlock, MaxObject: maxBlocks * maxBlock, MaxParts: maxBlocks}
}

// Begin makes up a name for the blocks to come. It sends nothing.
func (s *Store) Begin(_ context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	err := s.keeps(key)
	if err == nil {
		_, err = write(opts.Meta)
	}
	if err != nil {
		return storage.Upload{}, s.fail("begin upload of", key, err)
	}
	id := newID()
	return storage.Upload{Key: key, ID: hex.EncodeToString(id[:]), Size: size, Part: part}, nil
}

// PutPart stores a part as a block of its own name, so that a part that is sent
// twice is two blocks and Commit takes the one that its tag names.
func (s *Store) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	p, err := s.putPart(ctx, u, n, body, size, sums)
	return p, s.fail(fmt.Sprintf("put part %d of", n), u.Key, err)
}

func (s *Store) putPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	id, err := idOf(u)
	switch {
	case err != nil:
		return storage.Part{}, err
	case n < 1 || n > maxBlocks || size < 1 || size > maxBlock:
		return storage.Part{}, refuse(work.Invalid, "part %d of %d bytes", n, size)
	}
	if err := s.gone.check(id); err != nil {
		return storage.Part{}, err
	}
	var x nonce
	_, _ = rand.Read(x[:]) // never fails
	said, err := s.stage(ctx, u.Key, id.block(n, x), body, size, sums)
	if err != nil {
		return storage.Part{}, err
	}
	if err := atEnd(body); err != nil {
		return storage.Part{}, err
	}
	return storage.Part{N: n, Size: size, Tag: tagOf(x, said), Sums: said}, nil
}

// Commit makes the object of the parts' blocks. It may be repeated when its
// answer was lost: the service finds the blocks in the object, too. NotFound if
// blocks are missing, because the upload was given up, or because another
// object was stored under the key meanwhile, which discards them.
func (s *Store) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.commit(ctx, u, parts, opts)
	return in, s.fail("commit upload of", u.Key, err)
}

func (s *Store) commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	id, err := idOf(u)
	if err != nil {
		return storage.Info{}, err
	}
	if err := s.gone.check(id); err != nil {
		return storage.Info{}, err
	}
	w, err := write(opts.Meta)
	if err != nil {
		return storage.Info{}, err
	}
	ids := make([]string, len(parts))
	var size int64
	var sums joined
	for i, p := range parts {
		x, said, err := parseTag(p.Tag)
		if err != nil {
			return storage.Info{}, err
		}
		if p.N != i+1 {
			return storage.Info{}, refuse(work.Invalid, "part %d stands where part %d must be", p.N, i+1)
		}
		ids[i] = id.block(p.N, x)
		size += p.Size
		sums.add(said, p.Size)
	}
	if size != u.Size || len(parts) == 0 {
		return storage.Info{}, refuse(work.Invalid, "the parts have %d bytes together, the object %d", size, u.Size)
	}
	if err := expect(opts.Sums, sums.whole()); err != nil {
		return storage.Info{}, err
	}
	in, err := s.commitBlocks(ctx, u.Key, ids, u.Size, w, opts.If)
	if codeOf(err) == "InvalidBlockList" {
		return storage.Info{}, refuse(work.NotFound, "parts of the upload are missing: it was given up, or another object was stored under the key")
	}
	in.Sums = sums.whole()
	return in, err
}

// Pending implements storage.Multipart: Begin leaves nothing behind.
func (s *Store) Pending(context.Context, string) ([]storage.Upload, error) { return nil, nil }

// givenUp is the metadata of the empty object that Abort makes for a moment.
const givenUp = "tranship_aborted"

// Abort gives an upload up. Its blocks vanish with the next object stored under
// the key, or after a week. Only where there is neither an object nor anybody
// else's block under the key does Abort free them at once: by making an empty
// object of none of them and removing that.
func (s *Store) Abort(ctx context.Context, u storage.Upload) error {
	id, err := idOf(u)
	if err == nil {
		s.gone.add(id)
		err = s.free(ctx, u, id)
	}
	if faultOf(err) == work.NotFound && !noContainer(err) {
		return nil
	}
	return s.fail("abort upload of", u.Key, err)
}

func (s *Store) free(ctx context.Context, u storage.Upload, id uploadID) error {
	if err := s.keeps(u.Key); err != nil {
		return err
	}
	if err := s.sweep(ctx, u); faultOf(err) != work.NotFound || noContainer(err) {
		return err
	}
	object := s.blob(u.Key)
	list, err := object.GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if err != nil {
		return err
	}
	for _, b := range list.UncommittedBlocks {
		if !id.owns(text(b.Name)) {
			return nil
		}
	}
	if len(list.UncommittedBlocks) == 0 {
		return nil
	}
	p, err := s.container.GetProperties(ctx, nil)
	if err != nil {
		return err
	}
	for _, locked := range []*bool{p.HasImmutabilityPolicy, p.HasLegalHold, p.IsImmutableStorageWithVersioningEnabled} {
		if locked != nil && *locked {
			return nil // the empty object could not be removed
		}
	}
	made, err := object.CommitBlockList(ctx, nil, &blockblob.CommitBlockListOptions{
		Metadata: map[string]*string{givenUp: &u.ID}, AccessConditions: under(storage.Condition{Absent: true}),
	})
	if status := statusOf(err); status == http.StatusConflict || status == http.StatusPreconditionFailed {
		return s.sweep(ctx, u) // an object after all, perhaps our own, whose answer was lost
	}
	if err != nil {
		return err
	}
	return s.remove(ctx, u.Key, unquote(text(made.ETag)))
}

// sweep removes the empty object that an earlier Abort of the same upload made
// and could not remove. Any other object it leaves alone. NotFound if there is
// none.
func (s *Store) sweep(ctx context.Context, u storage.Upload) error {
	p, err := s.properties(ctx, u.Key, "")
	if err != nil {
		return err
	}
	for name, value := range p.Metadata {
		if strings.EqualFold(name, givenUp) && text(value) == u.ID && *p.ContentLength == 0 {
			return s.remove(ctx, u.Key, unquote(text(p.ETag)))
		}
	}
	return nil
}

// remove deletes one version of an object; another is left alone.
func (s *Store) remove(ctx context.Context, key, etag string) error {
	_, err := s.blob(key).Delete(ctx, &blob.DeleteOptions{AccessConditions: match(etag)})
	if faultOf(err) == work.SrcChanged {
		return nil
	}
	return err
}
