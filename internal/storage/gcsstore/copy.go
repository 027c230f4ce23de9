package gcsstore

import (
	"context"
	"strconv"
	"time"

	gcs "cloud.google.com/go/storage"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// CopyFrom lets the service copy, if src is a store of the same service under
// the same identity. Metadata goes along, also what Meta does not tell of.
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
	name, err := s.check(key)
	if err != nil {
		return storage.Info{}, err
	}
	old, err := from.check(in.Key)
	if err != nil {
		return storage.Info{}, err
	}
	if err := s.checkMeta(storage.Meta{Class: class}); err != nil {
		return storage.Info{}, err
	}
	source := from.object(old)
	if in.ETag != "" {
		generation, err := strconv.ParseInt(in.ETag, 10, 64)
		if err != nil {
			return storage.Info{}, refuse(work.SrcChanged, "%q is no version of this store's", in.ETag)
		}
		source = source.Generation(generation).If(gcs.Conditions{GenerationMatch: generation})
	}
	to := s.object(name)
	if opts.If != (storage.Condition{}) {
		c, err := conditions(opts.If)
		if err != nil {
			return storage.Info{}, err
		}
		to = to.If(c)
	}
	copier := to.CopierFrom(source)
	if class != "" {
		// Whoever says anything of the new object says everything.
		a, err := s.attrs(ctx, source)
		if err != nil {
			return storage.Info{}, moved(in, err)
		}
		copier.ObjectAttrs = gcs.ObjectAttrs{
			ContentType: a.ContentType, ContentEncoding: a.ContentEncoding, ContentLanguage: a.ContentLanguage,
			ContentDisposition: a.ContentDisposition, CacheControl: a.CacheControl, Metadata: a.Metadata,
			CustomTime: a.CustomTime, StorageClass: class,
		}
	}
	out, err := s.rewrite(ctx, copier)
	if err != nil {
		return storage.Info{}, s.whose(ctx, source, in, err, opts.If)
	}
	return infoOf(key, out), nil
}

// rewrite runs a copy. The service copies for half a minute at a time and
// hands out a token to go on with, also after an error.
func (s *Store) rewrite(ctx context.Context, c *gcs.Copier) (out *gcs.ObjectAttrs, err error) {
	ctx = withPatience(ctx, 5*time.Minute)
	err = s.again(ctx, nil, func() error {
		out, err = c.Run(ctx)
		return err
	})
	return out, err
}

// moved says what an error about a pinned source means.
func moved(in storage.Info, err error) error {
	if in.ETag != "" && gone(err) {
		return refuse(work.SrcChanged, "version %s is gone: %v", in.ETag, told(err))
	}
	return err
}

// whose finds out which condition of a copy was not met, for which the service
// has one word: the source's, unless it still stands there.
func (s *Store) whose(ctx context.Context, source *gcs.ObjectHandle, in storage.Info, err error, c storage.Condition) error {
	lost := clashed(err, c)
	if !isClash(lost) {
		return moved(in, err)
	}
	if _, gone := s.attrs(ctx, source); gone != nil {
		return moved(in, gone)
	}
	return lost
}
