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
	out, err := s.copyFrom(ctx, key, src, in, opts.Meta.Class)
	return out, s.fail("copy to", key, err)
}

func (s *Store) copyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, class string) (storage.Info, error) {
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
	copier := s.object(name).CopierFrom(source)
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
		return storage.Info{}, moved(in, err)
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
