package s3store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// chunk is how many bytes of a body stand in one chunk of its frame. Amazon's
// and versitygw take any from 8 KiB, MinIO up to 16 MiB.
const chunk = 1 << 20

// setTrailer makes the request carry its body's checksum behind the body, for
// the server to check: the one way to prove a body that is read only once
// without holding it in memory. There is no Content-Encoding to say that the
// body is framed: the hash's place in the signature does, and some servers
// would store it.
func setTrailer(r *request, alg *algorithm) {
	r.header["X-Amz-Decoded-Content-Length"] = []string{strconv.FormatInt(r.size, 10)}
	r.header["X-Amz-Trailer"] = []string{strings.ToLower(alg.header)}
	r.payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	t := &trailed{src: r.body, alg: alg, size: r.size}
	t.start()
	r.size = framed(r.size) + int64(len(t.foot(make([]byte, alg.length))))
	r.body = t
	if seeker, ok := t.src.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			r.body = seekable{t, at}
		}
	}
}

// framed returns how long the chunks of a body of size bytes are with their
// heads and ends.
func framed(size int64) int64 {
	n := size/chunk*int64(chunk+len(head(chunk))+len(lineEnd)) + size%chunk
	if rest := size % chunk; rest > 0 {
		n += int64(len(head(rest)) + len(lineEnd))
	}
	return n
}

const lineEnd = "\r\n"

// head begins a chunk.
func head(size int64) string { return strconv.FormatInt(size, 16) + lineEnd }

// trailers reports whether bodies that nothing is known of should have a
// trailer: where the server understands it, which is asked once per store.
//
// Some servers take a body that breaks off for a whole one and put it in the
// place of a good object, unless there is a checksum to tell them. Amazon's
// does not need it.
func (s *Store) trailers(ctx context.Context) (bool, error) {
	if s.client.amazon {
		return false, nil
	}
	s.asked.Lock()
	defer s.asked.Unlock()
	if s.trailed != nil {
		return *s.trailed, nil
	}
	knows, err := s.tryTrailer(ctx)
	if err == nil {
		s.trailed = &knows
	}
	return knows, err
}

// tryTrailer sends an object with a wrong checksum behind it. A server that
// understands refuses it; any other stores it, frame and all.
func (s *Store) tryTrailer(ctx context.Context) (bool, error) {
	key := s.prefix + probeName()
	r := &request{method: http.MethodPut, key: key, header: make(http.Header), body: strings.NewReader("1"), size: 1}
	setTrailer(r, crc32c)
	text := head(1) + "1" + lineEnd + r.body.(seekable).foot([]byte("lies"))
	r.body = strings.NewReader(text)
	answer, _, err := s.roundTrip(ctx, r)
	switch faultOf(err) {
	case work.Corrupt:
		return true, nil
	case work.Invalid, work.Unsupported:
		return false, nil
	case work.Denied:
		var api *apiError
		if errors.As(err, &api) && api.Code == "SignatureDoesNotMatch" {
			return false, nil // it does not know this way to sign
		}
		return false, err
	case "":
		s.remove(ctx, key, []string{answer.Get(versionID)})
		return false, nil
	}
	return false, err
}

// A trailed is a body in its frame.
type trailed struct {
	src  io.Reader
	alg  *algorithm
	size int64

	left int64 // of src
	in   int64 // of src, to the end of the chunk
	sum  *storage.Digest
	rest string // of the frame, to come before more of src
	done bool   // rest is the frame's end
}

// start makes t begin with the first chunk.
func (t *trailed) start() {
	t.left, t.in, t.sum, t.rest, t.done = t.size, 0, storage.NewDigest(t.alg.algo), "", false
	t.next()
}

// next begins a chunk, if src has more.
func (t *trailed) next() {
	if t.in = min(t.left, chunk); t.in > 0 {
		t.rest += head(t.in)
	}
}

// foot is the frame's end.
func (t *trailed) foot(sum []byte) string {
	return "0" + lineEnd + strings.ToLower(t.alg.header) + ":" + base64.StdEncoding.EncodeToString(sum) + lineEnd + lineEnd
}

// Read implements io.Reader.
func (t *trailed) Read(p []byte) (int, error) {
	switch {
	case t.rest != "":
		n := copy(p, t.rest)
		t.rest = t.rest[n:]
		return n, nil
	case t.done:
		return 0, io.EOF
	case t.left == 0:
		if err := atEnd(t.src); err != nil {
			return 0, err
		}
		t.rest, t.done = t.foot(t.sum.Sums().Get(t.alg.algo)), true
		return t.Read(p)
	}
	n, err := t.src.Read(p[:min(int64(len(p)), t.in)])
	_, _ = t.sum.Write(p[:n]) // never fails
	t.left -= int64(n)
	if t.in -= int64(n); t.in == 0 {
		t.rest = lineEnd
		t.next()
	}
	switch {
	case err == io.EOF && t.left > 0:
		return n, fmt.Errorf("%w: %d bytes are missing", errLength, t.left)
	case err == io.EOF:
		err = nil // the end of the frame is to come
	}
	return n, err
}

// A seekable is a trailed whose source can be read again.
type seekable struct {
	*trailed
	start int64
}

// Seek goes to the start, where it stands before it is read.
func (s seekable) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence == io.SeekEnd {
		return 0, fmt.Errorf("seek to %d", offset)
	}
	if whence == io.SeekStart {
		if _, err := s.src.(io.Seeker).Seek(s.start, io.SeekStart); err != nil {
			return 0, err
		}
		s.trailed.start()
	}
	return 0, nil
}
