package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// mostBarren is how many pages without keys may follow each other. Some servers
// look at so many keys for a page, whether or not they belong to it.
const mostBarren = 1000

// pageKeys is how many keys a page is asked to hold at most.
const pageKeys = 1000

// List reads the keys of a range page by page. It starts anywhere, as S3
// lists from after any key, whether or not an object has it. A page that
// fails, or cannot be the one that was asked for, is asked for again; the
// listing as a whole never is. That a listing ends is believed only when the
// server, asked for what comes after the last key, says that there is nothing.
//
// Whether an object is archived is told on Amazon's service alone: others do
// not say in a listing what has been restored, and have objects that can be
// read in classes of the same names. Reading them tells.
//
// An object whose key is the store's prefix itself, as the consoles of some
// stores leave behind for a folder, has no key here and is not listed.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	at, ended, barren := spot{after: r.After}, false, 0
	for {
		p, err := s.page(ctx, r, at)
		if err != nil {
			return s.fail("list", "", err)
		}
		empty := len(p.found) == 0
		if !empty {
			at.after, barren = p.found[len(p.found)-1].Key, 0
			if err := fn(p.found); err != nil {
				return err
			}
		}
		at.token = p.token
		switch {
		case p.past, ended && empty && !p.truncated:
			return nil
		case p.truncated && empty:
			if barren++; barren > mostBarren {
				return s.fail("list", "", fmt.Errorf("%w: %d pages without keys in a row", errAnswer, barren))
			}
		}
		ended = !p.truncated
	}
}

// A spot is where in the store's keys a page begins: after a key, or where the
// page before said with a token.
type spot struct{ after, token string }

// A leaf is a page that was looked through.
type leaf struct {
	page
	found []storage.Info // in the range
	past  bool           // its end is
}

// page asks for the page at a spot. One that cannot be right is asked for
// anew, by the key: who stands between here and the server may have answered.
func (s *Store) page(ctx context.Context, r work.Range, at spot) (leaf, error) {
	for attempt := 1; ; attempt++ {
		resp, err := s.do(ctx, s.listing(at))
		if err != nil {
			return leaf{}, err
		}
		l := leaf{}
		l.page, err = readPage(resp)
		resp.Body.Close()
		if err == nil {
			err = s.check(l.page, at)
		}
		if err == nil {
			l.found, l.past, err = s.take(l.entries, at.after, r)
		}
		again := repeatable(err, attempt) || errors.Is(err, errOrder) && attempt < attempts
		if err == nil || !again || ctx.Err() != nil {
			return l, err
		}
		at.token = ""
		if !sleep(ctx, pause(attempt, err)) {
			return l, err
		}
	}
}

// listing is the request for the page at a spot.
func (s *Store) listing(at spot) *request {
	r := &request{method: http.MethodGet, query: "list-type=2&encoding-type=url&max-keys=" + strconv.Itoa(pageKeys)}
	if s.prefix != "" {
		r.query += "&prefix=" + escapeQuery(s.prefix)
	}
	switch {
	case at.token != "":
		r.query += "&continuation-token=" + escapeQuery(at.token)
	case at.after != "":
		r.query += "&start-after=" + escapeQuery(s.prefix+at.after)
	}
	if s.client.amazon {
		r.header = http.Header{"X-Amz-Optional-Object-Attributes": {"RestoreStatus"}}
	}
	return r
}

// errOrder means that a page's keys do not follow each other, or those before.
var errOrder = errors.New("the server lists keys out of order, so the listing may be incomplete")

// take turns the entries of a page that begins after a key into what the store
// says of objects, up to the end of the range.
func (s *Store) take(entries []entry, last string, r work.Range) (found []storage.Info, past bool, err error) {
	found = make([]storage.Info, 0, len(entries))
	now := time.Now()
	for i := range entries {
		e := &entries[i]
		key, ok := strings.CutPrefix(e.key, s.prefix)
		if !ok {
			return nil, false, fmt.Errorf("%w: key %s in a listing of prefix %s", errAnswer, work.Quote(e.key), work.Quote(s.prefix))
		}
		if key == "" && last == "" {
			continue
		}
		if key <= last {
			return nil, false, fmt.Errorf("%w: %s after %s", errOrder, work.Quote(key), work.Quote(last))
		}
		if r.Upto != "" && key > r.Upto {
			return found, true, nil
		}
		last = key
		found = append(found, storage.Info{Key: key, Size: e.size, ETag: e.etag, ModTime: e.modTime,
			Archived: e.archive && s.client.amazon && !e.restore.After(now)})
	}
	return found, false, nil
}

// pages are buffers to read pages into.
var pages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func readPage(resp *http.Response) (page, error) {
	buf := pages.Get().(*bytes.Buffer)
	defer pages.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(resp.Body); err != nil {
		return page{}, fmt.Errorf("read a page: %w", err)
	}
	if e := lateError(resp, buf.Bytes()); e != nil {
		return page{}, e
	}
	return parsePage(buf.Bytes())
}
