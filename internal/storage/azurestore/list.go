package azurestore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	pageSize = 1000 // objects that a caller is given at once
	askFor   = 5000 // objects that the service is asked for at once
)

// learnt is what a store has found out about its service.
type learnt struct {
	asked  sync.Mutex // held while the service is asked
	starts *bool      // listings can start anywhere; nil: not known yet
}

// errIgnored means that the service began a listing at its start although it
// was asked to begin elsewhere.
var errIgnored = errors.New("the service lists from the start only")

// List reads the keys of a range page by page. It starts where the range does
// if the service can; if not, it reads and skips all keys before, which costs a
// request for every 5000 of them.
//
// An object whose key is the store's prefix itself, as the consoles of some
// stores leave behind for a folder, has no key here and is not listed; nor are
// the directories of accounts with a hierarchical namespace.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	w := &walk{store: s, r: r, fn: fn}
	if r.After != "" && ordinary(s.prefix+r.After) {
		can, err := s.startable(ctx)
		if err != nil {
			return s.fail("list", "", err)
		}
		w.jump = can
	}
	err := w.run(ctx)
	if errors.Is(err, errIgnored) {
		s.setStarts(false)
		w = &walk{store: s, r: r, fn: fn}
		err = w.run(ctx)
	}
	if w.theirs != nil {
		return w.theirs
	}
	return s.fail("list", "", err)
}

// ordinary reports whether the order of keys against this one is the same by
// bytes and by the characters of UTF-16, the two orders that services are known
// to list in. It is, unless the key holds characters from U+D000 on.
func ordinary(key string) bool {
	return strings.IndexFunc(key, func(c rune) bool { return c >= 0xd000 }) < 0
}

// A walk is one listing under way.
type walk struct {
	store *Store
	r     work.Range
	fn    func([]storage.Info) error

	jump   bool // begin at r.After, and end where the prefix does
	last   string
	begun  bool
	theirs error // what fn returned
}

func (w *walk) run(ctx context.Context) error {
	if w.jump {
		// Without a prefix, so that there is no doubt what the start is
		// relative to.
		ctx = context.WithValue(ctx, startKey{}, w.store.prefix+w.r.After)
	}
	for marker := ""; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := w.page(ctx, marker)
		if err != nil {
			return err
		}
		for found := p.found; len(found) > 0; found = found[min(pageSize, len(found)):] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if w.theirs = w.fn(found[:min(pageSize, len(found))]); w.theirs != nil {
				return w.theirs
			}
		}
		if marker = p.next; p.past || marker == "" {
			return nil
		}
	}
}

// take turns the items of a page into what the service says of objects in the
// range, and reports whether the listing is past its end.
func (w *walk) take(items []*container.BlobItem) (found []storage.Info, past bool, err error) {
	found = make([]storage.Info, 0, len(items))
	for _, item := range items {
		if item == nil || item.Name == nil || item.Properties == nil {
			return nil, false, fmt.Errorf("%w: an object without a name or properties", errPage)
		}
		full := *item.Name
		if w.begun && full <= w.last {
			return nil, false, fmt.Errorf("%w: %s after %s", errOrder, work.Quote(full), work.Quote(w.last))
		}
		if w.jump && !w.begun && full < w.store.prefix+w.r.After {
			return nil, false, errIgnored
		}
		w.begun, w.last = true, full
		key, ok := strings.CutPrefix(full, w.store.prefix)
		switch {
		case !ok && w.jump:
			return found, true, nil
		case !ok:
			return nil, false, fmt.Errorf("%w: key %s in a listing of prefix %s", errPage, work.Quote(full), work.Quote(w.store.prefix))
		case w.r.Upto != "" && key > w.r.Upto && ordinary(w.store.prefix+w.r.Upto):
			return found, true, nil
		case key == "" || !w.r.Contains(key) || text(item.Properties.ResourceType) == "directory":
			continue
		}
		found = append(found, listed(key, item.Properties))
	}
	return found, false, nil
}

func listed(key string, p *container.BlobProperties) storage.Info {
	in := storage.Info{Key: key, ETag: unquote(text(p.ETag)), Archived: archived(text(p.AccessTier), text(p.ArchiveStatus))}
	if p.ContentLength != nil {
		in.Size = *p.ContentLength
	}
	if p.LastModified != nil {
		in.ModTime = *p.LastModified
	}
	if p.TagCount != nil {
		in.TagCount = int(*p.TagCount)
	}
	in.Meta.Class = text(p.AccessTier)
	return in
}

// startable reports whether the service can begin a listing at a key. It is
// asked once, to begin with the first key there is; if that key is the first
// of the container, a service that cannot is found out later.
func (s *Store) startable(ctx context.Context) (bool, error) {
	s.learnt.asked.Lock()
	defer s.learnt.asked.Unlock()
	if s.learnt.starts != nil {
		return *s.learnt.starts, nil
	}
	first, err := s.first(ctx, &s.prefix)
	if err != nil || first == "" || !ordinary(first) {
		return false, err
	}
	again, err := s.first(context.WithValue(ctx, startKey{}, first), nil)
	if err != nil {
		if f := faultOf(err); f != work.Invalid && f != work.Unsupported {
			return false, err
		}
		again = "" // an older service may not like to be asked
	}
	can := again == first
	s.learnt.starts = &can
	return can, nil
}

func (s *Store) setStarts(can bool) {
	s.learnt.asked.Lock()
	defer s.learnt.asked.Unlock()
	s.learnt.starts = &can
}

// first returns the first key of a listing, empty if there is none.
func (s *Store) first(ctx context.Context, prefix *string) (string, error) {
	one := int32(1)
	for pager := s.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: prefix, MaxResults: &one}); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return "", err
		}
		if page.Segment != nil && len(page.Segment.BlobItems) > 0 {
			return text(page.Segment.BlobItems[0].Name), nil
		}
	}
	return "", nil
}
