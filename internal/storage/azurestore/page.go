package azurestore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

var (
	// errPage means that a page cannot be the answer to what was asked.
	errPage = errors.New("the service's answer is not the page of a listing that was asked for")
	// errOrder means that a page's keys do not follow each other, or those before.
	errOrder = errors.New("the service lists keys out of order, so the listing may be incomplete")
)

// pageTries is how often a page is asked for that cannot be right.
const pageTries = 3

// A page is what a listing says of objects in the range.
type page struct {
	found []storage.Info
	past  bool   // the end of the range
	next  string // where the next page begins; empty: it is the last
}

// page asks for the page at a marker. One that cannot be right is asked for
// anew: who stands between here and the service may have answered.
func (w *walk) page(ctx context.Context, marker string) (page, error) {
	for try := 1; ; try++ {
		last, begun := w.last, w.begun
		p, err := w.pageOnce(ctx, marker)
		if err == nil || try == pageTries || !errors.Is(err, errPage) && !errors.Is(err, errOrder) {
			return p, err
		}
		w.last, w.begun = last, begun
		pause := 100 * time.Millisecond << try
		select {
		case <-ctx.Done():
			return p, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (w *walk) pageOnce(ctx context.Context, marker string) (page, error) {
	n := int32(askFor)
	opts := &container.ListBlobsFlatOptions{MaxResults: &n}
	if !w.jump && w.store.prefix != "" {
		opts.Prefix = &w.store.prefix
	}
	if marker != "" {
		opts.Marker = &marker
	}
	got, err := w.store.container.NewListBlobsFlatPager(opts).NextPage(ctx)
	if err != nil {
		return page{}, err
	}
	if err := check(got, text(opts.Prefix), marker); err != nil {
		return page{}, err
	}
	p := page{next: *got.NextMarker}
	p.found, p.past, err = w.take(got.Segment.BlobItems)
	return p, err
}

// check returns why a page cannot be the answer to what was asked: it is no
// whole page, or says that something else was asked for.
func check(p container.ListBlobsFlatResponse, prefix, marker string) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", errPage, fmt.Sprintf(format, args...))
	}
	switch {
	case p.Segment == nil:
		return wrong("it holds no list of objects")
	case p.NextMarker == nil:
		return wrong("it does not say whether it is the last")
	case marker != "" && *p.NextMarker == marker:
		return wrong("it names itself as the one that follows")
	case !echoes(p.Prefix, prefix):
		return wrong("it is of prefix %s, not %s", work.Quote(*p.Prefix), work.Quote(prefix))
	case !echoes(p.Marker, marker):
		return wrong("it goes on from %.60q, not %.60q", *p.Marker, marker)
	}
	return nil
}

// echoes reports whether a service that repeats what it was asked repeats this.
// What XML cannot hold is never seen again.
func echoes(echo *string, asked string) bool {
	unspeakable := func(c rune) bool { return c < ' ' || c >= 0xfffd && c <= 0xffff }
	if echo == nil || *echo == "" || *echo == asked || strings.ContainsFunc(asked, unspeakable) {
		return true
	}
	decoded, err := url.PathUnescape(*echo)
	return err == nil && decoded == asked
}
