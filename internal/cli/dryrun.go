package cli

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A dryTally is how much of a copy would be treated alike.
type dryTally struct {
	Action  string `json:"action"` // copy, skip or compare
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Why     string `json:"why"`
}

// copyDryRun counts what would be copied, from the two listings alone.
func (p *program) copyDryRun(ctx context.Context, o *copyOrder) error {
	cfg, err := p.alone(o.data)
	if err != nil {
		return err
	}
	known := drivers(cfg.Agent.Roots)
	if err := checkStores(ctx, known, o.source, o.target); err != nil {
		return err
	}
	source, err := known.Open(ctx, o.source)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := known.Open(ctx, o.target)
	if err != nil {
		return err
	}
	defer target.Close()
	tallies, err := compareListings(ctx, source, target, o.options.Compare)
	if err != nil {
		return err
	}
	return writeRows(p.stdout, o.out, each(tallies), []column[dryTally]{
		plain("action", func(t dryTally) string { return t.Action }),
		countColumn("objects", func(t dryTally) int64 { return t.Objects }),
		bytesColumn("bytes", func(t dryTally) int64 { return t.Bytes }),
		plain("why", func(t dryTally) string { return t.Why }),
	})
}

// compareListings goes through both listings side by side; both ascend.
func compareListings(ctx context.Context, source, target storage.Store, how work.Compare) ([]dryTally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	absent := dryTally{Action: "copy", Why: "not at the target"}
	differs := dryTally{Action: "copy", Why: "another size at the target"}
	again := dryTally{Action: "copy", Why: "everything is copied anew"}
	unsure := dryTally{Action: "compare", Why: "same size; the content decides"}
	same := dryTally{Action: "skip", Why: "the same at the target"}

	next, stop := iter.Pull2(listed(ctx, target))
	defer stop()
	there, err, more := next()
	for obj, serr := range listed(ctx, source) {
		if serr != nil {
			return nil, serr
		}
		for more && err == nil && there.Key < obj.Key {
			there, err, more = next()
		}
		if more && err != nil && !storage.Is(err, work.NotFound) { // a target that is not there yet is empty
			return nil, err
		}
		t := &absent
		if more && err == nil && there.Key == obj.Key {
			switch {
			case how == work.CompareNone:
				t = &again
			case there.Size != obj.Size:
				t = &differs
			case how == work.CompareSize || sameETag(source, target, obj, there):
				t = &same
			default:
				t = &unsure
			}
		}
		t.Objects++
		t.Bytes += obj.Size
	}
	none := func(t dryTally) bool { return t.Objects == 0 }
	return slices.DeleteFunc([]dryTally{absent, differs, again, unsure, same}, none), nil
}

// sameETag reports whether both ends vouch for the same content.
func sameETag(source, target storage.Store, a, b storage.Info) bool {
	return source.Traits().ETagIsMD5 && target.Traits().ETagIsMD5 && len(a.ETag) == 32 && a.ETag == b.ETag
}

// errEnough ends a listing whose reader wants no more.
var errEnough = errors.New("enough")

// listed returns a store's listing as it comes. It reads on in another
// goroutine, because a store may call back from anywhere; that goroutine has
// ended when the loop over the listing has.
func listed(ctx context.Context, s storage.Store) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pages, failed := make(chan []storage.Info), make(chan error, 1)
		go func() {
			defer close(pages)
			failed <- s.List(ctx, work.Range{}, func(page []storage.Info) error {
				select {
				case pages <- append([]storage.Info(nil), page...):
					return nil
				case <-ctx.Done():
					return errEnough
				}
			})
		}()
		defer func() {
			cancel()
			for range pages { // until the goroutine has closed it
			}
		}()
		for page := range pages {
			for _, o := range page {
				if !yield(o, nil) {
					return
				}
			}
		}
		if err := <-failed; err != nil {
			yield(storage.Info{}, err)
		}
	}
}
