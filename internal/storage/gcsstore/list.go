package gcsstore

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// errOrder means that a page's names do not follow each other, or those before.
var errOrder = errors.New("the service lists names out of order, so the listing may be incomplete")

// List reads the keys of a range page by page. It starts anywhere, as the
// service lists from any name on, whether or not an object has it. A page that
// fails, or cannot be the one that was asked for, is asked for again; the
// listing as a whole never is. That a listing ends is believed only when the
// service, asked for what comes from the last name on, knows none but that.
//
// An object whose key is the store's prefix itself, as consoles leave behind
// for a folder, has no key here and is not listed, nor are the parts of our
// uploads.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	w := walk{store: s, last: s.prefix + r.After}
	for ended := false; ; {
		names, more, err := w.next(ctx)
		if err != nil {
			return s.fail("list", "", err)
		}
		found := make([]storage.Info, 0, len(names))
		past := false
		for _, n := range names {
			key := strings.TrimPrefix(n.Name, s.prefix)
			if past = r.Upto != "" && key > r.Upto; past {
				break
			}
			if key != "" && key > r.After && !hidden(n.Name) {
				found = append(found, storage.Info{
					Key: key, Size: n.Size, ETag: strconv.FormatInt(n.Generation, 10), ModTime: n.Updated,
				})
			}
		}
		if len(found) > 0 {
			if err := fn(found); err != nil {
				return err
			}
		}
		if past || ended && !more && len(names) == 0 {
			return nil
		}
		ended = !more
	}
}

// A walk goes from page to page.
type walk struct {
	store *Store
	last  string // name, or where to begin
	begun bool   // last is one that was listed
	token string // of the next page; empty: it begins at last
	asked string // the first name of the pages of the token
}

// next returns the names of the next page, and whether the service says that
// there are more. A page that cannot be right is asked for anew, by the name:
// who stands between here and the service may have answered.
func (w *walk) next(ctx context.Context) (names []entry, more bool, err error) {
	for attempt := 1; ; attempt++ {
		if w.token == "" {
			any := false
			if w.asked, any = startOf(w.last); !any {
				return nil, false, ctx.Err()
			}
		}
		p, err := w.store.page(ctx, query{prefix: w.store.prefix, start: w.asked, token: w.token, fields: ofObjects})
		switch {
		case err == nil:
			names, err = w.take(p.Items)
		case !errors.Is(err, errAnswer) || errors.Is(err, errStalled):
			return nil, false, err // it was repeated, or has taken long enough
		}
		if err == nil {
			w.token = p.Next
			return names, p.Next != "", nil
		}
		w.token = ""
		if attempt == attempts || !sleep(ctx, pause(attempt, err)) {
			return nil, false, err
		}
	}
}

// take looks through the entries of a page, and leaves out the first if that is
// the last that was listed: a page that begins at a name begins with it.
func (w *walk) take(entries []entry) ([]entry, error) {
	if w.begun && w.token == "" && len(entries) > 0 && entries[0].Name == w.last {
		entries = entries[1:]
	}
	last, begun := w.last, w.begun
	for _, e := range entries {
		if begun && e.Name <= last {
			return nil, disorder(e.Name, last)
		}
		last, begun = e.Name, true
	}
	w.last, w.begun = last, begun
	return entries, nil
}
