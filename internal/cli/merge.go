package cli

import (
	"context"
	"errors"
	"iter"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A pair is a key with what stands under it at either end.
type pair struct {
	key            string
	source, target *storage.Info // nil: nothing
	over           bool          // the source's listing is at its end
}

// paired goes through two listings side by side, both of which ascend, and
// returns every key of either.
func paired(source, target iter.Seq2[storage.Info, error]) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		nextSource, stopSource := iter.Pull2(source)
		defer stopSource()
		nextTarget, stopTarget := iter.Pull2(target)
		defer stopTarget()
		src, err, moreSource := nextSource()
		if err != nil {
			yield(pair{}, err)
			return
		}
		dst, err, moreTarget := nextTarget()
		for err == nil && (moreSource || moreTarget) {
			p := pair{key: src.Key, over: !moreSource}
			if !moreSource || moreTarget && dst.Key < src.Key {
				p.key = dst.Key
			}
			if moreSource && src.Key == p.key {
				o := src
				p.source = &o
			}
			if moreTarget && dst.Key == p.key {
				o := dst
				p.target = &o
			}
			if !yield(p, nil) {
				return
			}
			if p.source != nil {
				src, err, moreSource = nextSource()
			}
			if p.target != nil && err == nil {
				dst, err, moreTarget = nextTarget()
			}
		}
		if err != nil {
			yield(pair{}, err)
		}
	}
}

// orAbsent returns the listing of a store that need not be there yet, and sets
// absent when it is not.
func orAbsent(listing iter.Seq2[storage.Info, error], absent *bool) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for o, err := range listing {
			if storage.Is(err, work.NotFound) {
				*absent = true
				return
			}
			if !yield(o, err) {
				return
			}
		}
	}
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
