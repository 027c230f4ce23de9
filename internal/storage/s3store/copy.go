package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	maxCopy     = 5 << 30 // bytes of one CopyObject
	copyStreams = 4       // parts of one object that the server copies at once
)

// CopyFrom lets the server copy, if src is a store of the same service under
// the same identity. Metadata and tags go along, also what Meta does not tell
// of; the storage class is opts.Meta.Class.
func (s *Store) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	out, err := s.copyFrom(ctx, key, src, in, opts)
	return out, s.fail("copy to", key, err)
}

func (s *Store) copyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	class := opts.Meta.Class
	from, ok := src.(*Store)
	if !ok || from.client != s.client {
		return storage.Info{}, refuse(work.Unsupported, "the stores are not of one service and identity")
	}
	if err := s.keeps(ctx, key); err != nil {
		return storage.Info{}, err
	}
	if _, lost := s.Fit(storage.Meta{Class: class}); len(lost) > 0 {
		return storage.Info{}, misfit(work.FieldClass, "S3 cannot hold the storage class: %s", lost[0].Why)
	}
	if in.Size > s.client.maxCopy {
		return s.copyParts(ctx, key, from, in, opts)
	}
	h := from.asSource(in)
	if old := in.Meta.Class; class == "" && old != "" && old != standard && !s.client.amazon {
		class = standard // without a word, some servers keep the source's
	}
	if class != "" {
		h[storageClass] = []string{class}
	}
	s.encrypt.write(h)
	answer, body, err := s.under(ctx, opts.If, &s.unconditional.copy,
		&request{method: http.MethodPut, key: s.prefix + key, header: h, wait: thinking})
	if err != nil {
		return storage.Info{}, s.refused(from.unless(ctx, in, err), storage.Meta{Class: class}, h)
	}
	var result answerXML
	if err := decode(body, &result); err != nil {
		return storage.Info{}, err
	}
	out := result.info(key, in.Size, answer)
	if both, _ := out.Sums.Compare(in.Sums); both != 0 {
		return out, nil // the checksum tells more than the size
	}
	return s.look(ctx, key)
}

// unless finds out which condition of a copy was not met, for which servers have
// one word: it was that of the source, s, unless in still stands there. Where the
// source cannot be looked at, that is the error: nothing is known of either.
func (s *Store) unless(ctx context.Context, in storage.Info, err error) error {
	var lost *clash
	if !errors.As(err, &lost) || in.ETag == "" {
		return err
	}
	now, failed := s.Stat(ctx, in.Key)
	switch {
	case faultOf(failed) == work.NotFound:
		return lost.err
	case failed != nil:
		return failed
	case now.ETag != in.ETag:
		return refuse(work.SrcChanged, "its version is now %q, was %q: %v", now.ETag, in.ETag, lost.err)
	}
	return err
}

// asSource returns the headers that name an object as the source of a copy.
func (s *Store) asSource(in storage.Info) http.Header {
	h := http.Header{"X-Amz-Copy-Source": {escapePath(s.bucket + "/" + s.prefix + in.Key)}}
	if in.ETag != "" {
		h["X-Amz-Copy-Source-If-Match"] = []string{quote(in.ETag)}
	}
	return h
}

// copyParts copies an object that is too big for one request.
func (s *Store) copyParts(ctx context.Context, key string, from *Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	now, err := from.Stat(ctx, in.Key)
	if err != nil {
		return storage.Info{}, err
	}
	if in.ETag != "" && now.ETag != in.ETag {
		return storage.Info{}, refuse(work.SrcChanged, "its version is now %q, was %q", now.ETag, in.ETag)
	}
	now.Meta.Class = opts.Meta.Class
	// Not every server counts the tags of an object. Who may not read them may
	// well copy an object that has none.
	if now.Meta.Tags, err = from.Tags(ctx, in.Key); err != nil && !(storage.Is(err, work.Denied) && now.TagCount == 0) {
		return storage.Info{}, err
	}
	limits := s.Limits()
	part := max(s.client.copyPart, (now.Size+int64(limits.MaxParts)-1)/int64(limits.MaxParts))
	u, err := s.begin(ctx, key, now.Size, part, now.Meta, nil)
	if err != nil {
		return storage.Info{}, err
	}
	parts := make([]storage.Part, (now.Size+part-1)/part)
	group, copying := errgroup.WithContext(ctx)
	group.SetLimit(copyStreams)
	for i := range parts {
		group.Go(func() (err error) {
			parts[i], err = s.copyPart(copying, u, i+1, from, now)
			return err
		})
	}
	var out storage.Info
	if err = group.Wait(); err == nil {
		out, err = s.commit(ctx, u, parts, storage.PutOptions{If: opts.If})
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
		defer cancel()
		if left := s.Abort(ctx, u); left != nil {
			err = fmt.Errorf("%w; also: %v", err, left)
		}
		return storage.Info{}, err
	}
	return out, nil
}

func (s *Store) copyPart(ctx context.Context, u storage.Upload, n int, from *Store, in storage.Info) (storage.Part, error) {
	_, id, err := idOf(u)
	if err != nil {
		return storage.Part{}, err
	}
	first := int64(n-1) * u.Part
	size := min(u.Part, u.Size-first)
	h := from.asSource(in)
	h["X-Amz-Copy-Source-Range"] = []string{fmt.Sprintf("bytes=%d-%d", first, first+size-1)}
	_, body, err := s.roundTrip(ctx, &request{
		method: http.MethodPut, key: s.prefix + u.Key,
		query:  "partNumber=" + strconv.Itoa(n) + "&uploadId=" + escapeQuery(id),
		header: h, wait: thinking,
	})
	if err != nil {
		return storage.Part{}, fmt.Errorf("part %d: %w", n, err)
	}
	var result answerXML
	if err := decode(body, &result); err != nil {
		return storage.Part{}, err
	}
	return storage.Part{N: n, Size: size, Tag: unquote(result.ETag)}, nil
}
