package gcsstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	gcs "cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const pageSize = 1000

// listed is what a listing asks for of each object.
var listed = []string{"Name", "Size", "Generation", "Updated"}

// List reads the keys of a range page by page. It starts anywhere, as the
// service lists from any name on, whether or not an object has it. A page that
// fails is asked for again; the listing as a whole never is.
//
// An object whose key is the store's prefix itself, as consoles leave behind
// for a folder, has no key here and is not listed, nor are the parts of our
// uploads.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	start, any := startOf(s.prefix + r.After)
	if !any {
		return s.fail("list", "", ctx.Err())
	}
	query := &gcs.Query{Prefix: s.prefix, StartOffset: start, Projection: gcs.ProjectionNoACL}
	if err := query.SetAttrSelection(listed); err != nil {
		return s.fail("list", "", err)
	}
	last, token := "", ""
	for begun := false; ; {
		names, next, err := s.page(ctx, query, token)
		if err != nil {
			return s.fail("list", "", err)
		}
		found := make([]storage.Info, 0, len(names))
		past := false
		for _, a := range names {
			key, ok := strings.CutPrefix(a.Name, s.prefix)
			if !ok || begun && key <= last {
				return s.fail("list", "", refuse(work.Unsupported, "the server lists %s after %s, so the listing may be incomplete",
					work.Quote(a.Name), work.Quote(s.prefix+last)))
			}
			last, begun = key, true
			if past = r.Upto != "" && key > r.Upto; past {
				break
			}
			if key != "" && key > r.After && !hidden(a.Name) {
				found = append(found, storage.Info{
					Key: key, Size: a.Size, ETag: strconv.FormatInt(a.Generation, 10), ModTime: a.Updated,
				})
			}
		}
		if len(found) > 0 {
			if err := fn(found); err != nil {
				return err
			}
		}
		if past || next == "" {
			return nil
		}
		token = next
	}
}

// page asks for one page of a listing.
func (s *Store) page(ctx context.Context, query *gcs.Query, token string) (page []*gcs.ObjectAttrs, next string, err error) {
	err = s.again(ctx, nil, func() error {
		page = nil
		it := s.gcs.Bucket(s.bucket).Objects(ctx, query)
		next, err = iterator.NewPager(it, pageSize, token).NextPage(&page)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(page) > pageSize {
		return nil, "", fmt.Errorf("%w: a page of %d objects", errAnswer, len(page))
	}
	return page, next, nil
}
