package cli

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	inspectObjects = 1000 // unless the user says otherwise
	inspectStreams = 32
)

// An inspection is what looking at one object told.
type inspection struct {
	info   storage.Info
	fits   []storage.Misfit
	failed error
	gone   bool // it was deleted meanwhile
}

// inspectAll looks at objects for metadata that the target cannot hold, and
// returns how many it saw. Lost are the fields that no object can keep.
func inspectAll(ctx context.Context, source, target storage.Store, o work.Options, lost []work.Loss, objects []storage.Info, into *findings) (int64, error) {
	seen := make([]inspection, len(objects))
	looks, ctx := errgroup.WithContext(ctx)
	looks.SetLimit(inspectStreams)
	for i, obj := range objects {
		looks.Go(func() error {
			seen[i] = look(ctx, source, target, o, obj)
			return ctx.Err()
		})
	}
	if err := looks.Wait(); err != nil {
		return 0, err
	}
	always := func(m storage.Misfit) bool { // told once, for every object
		return m.Field == work.FieldMTime && slices.ContainsFunc(lost, func(l work.Loss) bool { return l.Field == m.Field })
	}
	var n int64
	for i, s := range seen {
		obj := objects[i]
		switch {
		case s.gone:
			continue
		case s.failed != nil:
			fault := string(storage.FaultOf(s.failed))
			into.add(alike{field: fieldRead, name: fault, sampled: true}, oneLine(s.failed), obj.Key, obj.Size)
		case s.info.Archived:
			into.add(alike{field: work.FieldArchived, sampled: true}, archivedWhy, obj.Key, obj.Size)
		}
		for _, m := range slices.DeleteFunc(s.fits, always) {
			into.add(alike{m.Field, m.Name, m.Why, true}, m.Why, obj.Key, obj.Size)
		}
		n++
	}
	return n, nil
}

// look asks the source about one object and fits it to the target.
func look(ctx context.Context, source, target storage.Store, o work.Options, obj storage.Info) inspection {
	info, err := source.Stat(ctx, obj.Key)
	if err != nil {
		return inspection{failed: err, gone: storage.Is(err, work.NotFound)}
	}
	var tags map[string]string
	from, tagged := source.(storage.Tagger)
	_, takes := target.(storage.Tagger)
	if tagged = tagged && takes && info.TagCount > 0; tagged {
		if tags, err = from.Tags(ctx, obj.Key); err != nil {
			return inspection{failed: err, gone: storage.Is(err, work.NotFound)}
		}
	}
	return inspection{info: info, fits: misfits(target, o, info, tags, tagged)}
}

// misfits returns what of an object's metadata the target cannot hold, once for
// each field or name. Tags that were not read are lost.
func misfits(target storage.Store, o work.Options, info storage.Info, tags map[string]string, read bool) []storage.Misfit {
	meta := info.Meta
	meta.Class = o.Class.Map(meta.Class)
	meta.Tags = tags
	_, lost := storage.Fit(target, meta)
	if info.TagCount > 0 && !read {
		lost = append(lost, storage.Misfit{Field: work.FieldTags, Why: "one of the stores has no tags that can be read and written"})
	}
	var once []storage.Misfit
	for _, m := range lost {
		if !slices.ContainsFunc(once, func(x storage.Misfit) bool { return x.Field == m.Field && x.Name == m.Name }) {
			once = append(once, m)
		}
	}
	return once
}
