package azurestore

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	maxBlocks = 50_000     // of an object
	maxBlock  = 4000 << 20 // bytes
	usual     = 32 << 20   // bytes of a block, unless there would be too many
	maxWhole  = 1 << 20    // bytes of a body that is sent in one request, and kept in memory if it is a stream
)

// Put stores an object. A small body is read first, into memory unless it can be
// read again, and sent in one request with its MD5; a bigger one is streamed into blocks that become the
// object only when all is well.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.put(ctx, key, body, size, opts)
	return in, s.fail("put", key, err)
}

func (s *Store) put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if err := s.keeps(key); err != nil {
		return storage.Info{}, err
	}
	w, err := write(opts.Meta)
	switch {
	case err != nil:
		return storage.Info{}, err
	case size < 0:
		return storage.Info{}, refuse(work.Invalid, "size %d", size)
	case size > maxBlocks*maxBlock:
		return storage.Info{}, refuse(work.Unsupported, "%d bytes are too many for Azure", size)
	case size <= maxWhole:
		return s.putWhole(ctx, key, body, size, w, opts)
	}
	return s.putBlocks(ctx, key, body, size, w, opts)
}

// buffers hold small bodies.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// again returns src if it can be read twice, and otherwise a copy of its next
// size bytes. What it returns must not be read any more once free was called.
func again(ctx context.Context, src io.Reader, size int64) (body io.ReadSeeker, free func(), err error) {
	if seeker, ok := src.(io.ReadSeeker); ok {
		if _, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			return seeker, func() {}, nil
		}
	}
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	buf.Grow(int(size) + bytes.MinRead)
	if _, err := buf.ReadFrom(newBody(ctx, src, size, 0)); err != nil {
		buffers.Put(buf)
		return nil, nil, err
	}
	return bytes.NewReader(buf.Bytes()), func() { buffers.Put(buf) }, nil
}

// measure reads all of src, which must have size bytes. Its checksums are those
// of body, which is src or a copy of it, and goes back to where it began.
func measure(ctx context.Context, body io.ReadSeeker, src io.Reader, size int64, algos storage.Algos) (storage.Sums, error) {
	b := newBody(ctx, body, size, algos)
	_, err := io.Copy(io.Discard, b)
	if err == nil {
		err = atEnd(src)
	}
	if err == nil {
		if _, err = body.Seek(-size, io.SeekCurrent); err != nil {
			err = &sourceError{err}
		}
	}
	return b.finish(err)
}

func (s *Store) putWhole(ctx context.Context, key string, src io.Reader, size int64, w writing, opts storage.PutOptions) (storage.Info, error) {
	want := opts.Sums
	body, free, err := again(ctx, src, size)
	var sent storage.Sums
	if err == nil {
		defer free()
		sent, err = measure(ctx, body, src, size, storage.MD5|storage.CRC32C|want.Algos())
	}
	switch {
	case ctx.Err() != nil:
		return storage.Info{}, ctx.Err()
	case err != nil:
		return storage.Info{}, err
	}
	if err := expect(want, sent); err != nil {
		return storage.Info{}, err
	}
	b := newBody(ctx, body, size, 0)
	resp, err := s.blob(key).Upload(ctx, b, &blockblob.UploadOptions{
		HTTPHeaders: w.headers, Metadata: w.user, Tags: w.tags, Tier: w.tier,
		TransactionalValidation: blob.TransferValidationTypeMD5(sent.MD5), AccessConditions: under(opts.If),
	})
	if _, err = b.finish(err); err != nil {
		return storage.Info{}, clashed(err, opts.If)
	}
	sums, err := confirm(sent, resp.ContentMD5, resp.ContentCRC64)
	return storage.Info{Key: key, Size: size, ETag: unquote(text(resp.ETag)), Sums: sums}, err
}

// expect fails if bytes do not add up to what they must.
func expect(want, sent storage.Sums) error {
	if _, differ := want.Compare(sent); differ != 0 {
		return refuse(work.Corrupt, "the %v of the body is not the expected one", differ)
	}
	return nil
}

// confirm compares the checksums of what was sent with those that the service
// computed of what it received, and returns what the service vouches for: its
// own, and if they agree the CRC32C of what was sent, for then those bytes are
// the ones it has.
func confirm(sent storage.Sums, md5, crc64 []byte) (storage.Sums, error) {
	said := storage.Sums{MD5: md5}
	if len(crc64) == 8 {
		said.CRC64NVME = slices.Clone(crc64)
		slices.Reverse(said.CRC64NVME) // the same checksum, written the other way round
	}
	both, differ := said.Compare(sent)
	if differ != 0 {
		return storage.Sums{}, refuse(work.Corrupt, "the service received other bytes than were sent: their %v differs", differ)
	}
	if both != 0 {
		said.CRC32C = sent.CRC32C
	}
	return said, nil
}

func (s *Store) putBlocks(ctx context.Context, key string, src io.Reader, size int64, w writing, opts storage.PutOptions) (storage.Info, error) {
	want := opts.Sums
	id := newID()
	whole := storage.NewDigest(want.Algos())
	src = io.TeeReader(src, whole)
	block := max(usual, (size+maxBlocks-1)/maxBlocks)
	var ids []string
	var sums joined
	for n, left := 1, size; left > 0; n++ {
		length := min(block, left)
		left -= length
		name := id.block(n, nonce{})
		said, err := s.stage(ctx, key, name, src, length, storage.Sums{})
		if err != nil {
			return storage.Info{}, err
		}
		ids = append(ids, name)
		sums.add(said, length)
	}
	if err := atEnd(src); err != nil {
		return storage.Info{}, err
	}
	if err := expect(want, whole.Sums()); err != nil {
		return storage.Info{}, err
	}
	in, err := s.commitBlocks(ctx, key, ids, size, w, opts.If)
	if codeOf(err) == "InvalidBlockList" {
		err = refuse(work.Transient, "another writer of the same key discarded the blocks")
	}
	in.Sums = sums.whole()
	return in, err
}

// stage stores a block and returns what the service vouches for of it. A small
// block is sent again if that may help; a bigger one is streamed, and so can
// only be sent once.
func (s *Store) stage(ctx context.Context, key, name string, src io.Reader, size int64, want storage.Sums) (storage.Sums, error) {
	algos := storage.CRC32C | storage.CRC64NVME | want.Algos()
	sending := ctx
	if size <= maxWhole {
		body, free, err := again(ctx, src, size)
		if err != nil {
			return storage.Sums{}, err
		}
		defer free()
		src = body
	} else {
		sending = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	}
	opts := &blockblob.StageBlockOptions{}
	if want.MD5 != nil {
		opts.TransactionalValidation = blob.TransferValidationTypeMD5(want.MD5)
	}
	b := newBody(ctx, src, size, algos)
	resp, err := s.blob(key).StageBlock(sending, name, b, opts)
	sent, err := b.finish(err)
	if err != nil {
		return storage.Sums{}, err
	}
	if err := expect(want, sent); err != nil {
		return storage.Sums{}, err
	}
	return confirm(sent, resp.ContentMD5, resp.ContentCRC64)
}

// commitBlocks makes an object of blocks and looks that it has the right size.
func (s *Store) commitBlocks(ctx context.Context, key string, ids []string, size int64, w writing, c storage.Condition) (storage.Info, error) {
	resp, err := s.blob(key).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders: w.headers, Metadata: w.user, Tags: w.tags, Tier: w.tier, AccessConditions: under(c),
	})
	if err != nil {
		return storage.Info{}, clashed(err, c)
	}
	in := storage.Info{Key: key, Size: size, ETag: unquote(text(resp.ETag))}
	p, err := s.properties(ctx, key, in.ETag)
	if err != nil {
		return storage.Info{}, err
	}
	if *p.ContentLength != size {
		return storage.Info{}, refuse(work.Corrupt, "the service has made an object of %d bytes, not %d", *p.ContentLength, size)
	}
	return in, nil
}

// joined are the checksums of blocks put together: those that are known of
// every one.
type joined struct {
	sums storage.Sums
	some bool
}

func (j *joined) add(next storage.Sums, length int64) {
	if !j.some {
		j.sums, j.some = storage.Sums{CRC32C: next.CRC32C, CRC64NVME: next.CRC64NVME}, true
		return
	}
	join := func(all *[]byte, next []byte, combine func(first, second []byte, length int64) []byte) {
		if *all != nil && next != nil {
			*all = combine(*all, next, length)
		} else {
			*all = nil
		}
	}
	join(&j.sums.CRC32C, next.CRC32C, storage.CombineCRC32C)
	join(&j.sums.CRC64NVME, next.CRC64NVME, storage.CombineCRC64NVME)
}

func (j *joined) whole() storage.Sums { return j.sums }
