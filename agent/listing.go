package agent

import (
	"context"
	"fmt"
	"sync"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A listing is what the target has in a range, read while it is asked for.
//
// A target that refuses to be listed for want of a right is an error: most
// often its credentials are wrong, and then every object would fail one by
// one. Whoever may only write there can have everything copied without
// comparing. One that cannot be listed by its kind leaves all keys unknown. A
// folder that is not there is an empty one: it will be made. A missing bucket
// is an error.
type listing struct {
	pages   chan []entry // closed when the listing has ended
	err     error        // why; set before
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	page    []entry
	carrier *carrier
	flight  *flight // shows that it is alive with every page
	turn    turn    // owned by read
	unknown bool    // the store cannot be listed
}

// An entry is what a comparison needs of an object.
type entry struct {
	key, etag string
	size      int64
}

// list starts to list a range of e. The listing must be closed.
func list(ctx context.Context, e *end, r work.Range, c *carrier, f *flight) *listing {
	ctx, cancel := context.WithCancel(ctx)
	l := &listing{pages: make(chan []entry, 1), cancel: cancel, carrier: c, flight: f}
	l.ended.Go(func() {
		defer close(l.pages)
		defer func() {
			if p := recover(); p != nil {
				l.err = fmt.Errorf("list %s: panic: %v", e.url, p)
			}
		}()
		l.err = l.read(ctx, e, r)
	})
	return l
}

// read lists the range. While the store refuses to be asked it waits, and goes
// on where it was.
func (l *listing) read(ctx context.Context, e *end, r work.Range) error {
	last := r.After
	err := l.turn.insist(ctx, l.carrier, l.flight, []*end{e}, func() error {
		return e.note(e.List(ctx, work.Range{After: last, Upto: r.Upto}, func(infos []storage.Info) error {
			l.turn.served()
			e.fine()
			page := make([]entry, len(infos))
			for i, in := range infos {
				if in.Key <= last && (last != "" || in.Key == "") {
					return disorder(e, last, in.Key)
				}
				page[i], last = entry{in.Key, in.ETag, in.Size}, in.Key
			}
			select {
			case l.pages <- page:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
	})
	if storage.Is(err, work.NotFound) && e.Traits().Name == "file" {
		return nil
	}
	return err
}

// find returns what stands under key. Keys must be asked for in ascending
// order.
func (l *listing) find(ctx context.Context, key string) (there entry, ok bool, err error) {
	for {
		for len(l.page) > 0 && l.page[0].key < key {
			l.page = l.page[1:]
		}
		if len(l.page) > 0 {
			return l.page[0], l.page[0].key == key, nil
		}
		select {
		case page, more := <-l.pages:
			if !more {
				return entry{}, false, l.ending()
			}
			l.page = page
			l.flight.alive()
		case <-ctx.Done():
			return entry{}, false, context.Cause(ctx)
		}
	}
}

// ending says what the end of the listing means for the keys behind it.
func (l *listing) ending() error {
	if storage.Is(l.err, work.Unsupported) {
		l.unknown = true
		return nil
	}
	return l.err
}

// close ends the listing.
func (l *listing) close() {
	l.cancel()
	l.ended.Wait()
}
