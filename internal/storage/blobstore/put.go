package blobstore

import (
	"context"
	"fmt"
	"io"
	"mime"

	"gocloud.dev/blob"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// Sizes of the buffer that a driver fills before it sends.
const (
	minBuffer = 256 << 10
	maxBuffer = 8 << 20
)

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	full, err := s.check(ctx, "put", key)
	if err != nil {
		return storage.Info{}, err
	}
	if size < 0 {
		return storage.Info{}, s.fail("put", key, work.Invalid, fmt.Errorf("size %d", size))
	}
	w, err := s.writerOptions(opts.Meta, size)
	if err != nil {
		return storage.Info{}, s.fail("put", key, work.Unsupported, err)
	}
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	src := &source{ctx: ctx, cancel: cancel, r: r, size: size, left: size, want: opts.Sums, digest: storage.NewDigest(opts.Sums.Algos())}
	err = s.bucket.Upload(writing, full, src, w)
	switch {
	case src.err != nil && src.err != io.EOF:
		return storage.Info{}, s.fail("put", key, storage.FaultOf(src.err), src.err)
	case err != nil:
		return storage.Info{}, s.blame("put", key, err)
	case src.err != io.EOF:
		return storage.Info{}, s.fail("put", key, work.Internal, fmt.Errorf("the driver left %d bytes unread", src.left))
	}
	in, err := s.stat(ctx, "put", key)
	if err != nil {
		return storage.Info{}, err
	}
	if in.Size != size {
		return storage.Info{}, s.fail("put", key, work.Corrupt, fmt.Errorf("the bucket has %d bytes, not %d", in.Size, size))
	}
	return in, nil
}

func (s *Store) writerOptions(m storage.Meta, size int64) (*blob.WriterOptions, error) {
	w := &blob.WriterOptions{
		ContentType:        m.ContentType,
		ContentEncoding:    m.ContentEncoding,
		ContentLanguage:    m.ContentLanguage,
		ContentDisposition: m.ContentDisposition,
		CacheControl:       m.CacheControl,
		BufferSize:         int(min(max(size, minBuffer), maxBuffer)),
		MaxConcurrency:     1, // the caller budgets memory by the stream
	}
	if w.ContentType == "" {
		w.ContentType = "application/octet-stream" // Upload insists on one
	}
	if _, _, err := mime.ParseMediaType(w.ContentType); err != nil {
		return nil, fmt.Errorf("the driver takes no content type %q: %w", w.ContentType, err)
	}
	if s.driver.Meta.User {
		w.Metadata = m.User
	}
	return w, nil
}

// A source hands a body to a driver. Anything but the exact end of the right
// bytes cancels the write before the driver learns of it. It hides every
// method but Read, with which drivers would go round it.
type source struct {
	ctx    context.Context
	cancel func()
	r      io.Reader
	size   int64
	left   int64
	want   storage.Sums
	digest *storage.Digest
	err    error // how it ended; io.EOF if well
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.read(p)
	if err != nil && err != io.EOF {
		s.cancel()
		n = 0
	}
	s.err = err
	return n, err
}

func (s *source) read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	var extra [1]byte
	if s.left == 0 {
		p = extra[:] // a body that is too long shows here
	}
	n, err := s.r.Read(p[:min(int64(len(p)), max(s.left, 1))])
	if s.left == 0 && n > 0 {
		return 0, &storage.Error{Op: "read", Store: "the body", Fault: work.Corrupt, Err: fmt.Errorf("it is longer than %d bytes", s.size)}
	}
	s.left -= int64(n)
	s.digest.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	if s.left > 0 {
		return n, &storage.Error{Op: "read", Store: "the body", Fault: work.Corrupt,
			Err: fmt.Errorf("it ended after %d of %d bytes: %w", s.size-s.left, s.size, io.ErrUnexpectedEOF)}
	}
	if _, differ := s.want.Compare(s.digest.Sums()); differ != 0 {
		return n, &storage.Error{Op: "read", Store: "the body", Fault: work.Corrupt, Err: fmt.Errorf("its %v is not the expected one", differ)}
	}
	return n, io.EOF
}
