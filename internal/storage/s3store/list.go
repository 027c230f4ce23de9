package s3store

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// List reads the keys of a range page by page. It starts anywhere, as S3
// lists from after any key, whether or not an object has it. A page that
// fails is asked for again; the listing as a whole never is.
//
// Whether an object is archived is told on Amazon's service alone: others do
// not say in a listing what has been restored, and have objects that can be
// read in classes of the same names. Reading them tells.
//
// An object whose key is the store's prefix itself, as the consoles of some
// stores leave behind for a folder, has no key here and is not listed.
func (s *Store) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	var (
		last  = r.After
		token string
	)
	for {
		p, err := s.page(ctx, last, token)
		if err != nil {
			return s.fail("list", "", err)
		}
		found, err := s.take(p.entries, last, r)
		if err != nil {
			return s.fail("list", "", err)
		}
		if len(found) > 0 {
			last = found[len(found)-1].Key
			if err := fn(found); err != nil {
				return err
			}
		}
		if len(found) < len(p.entries) && r.Upto != "" || !p.truncated {
			return nil
		}
		if p.token == "" && len(found) == 0 {
			return s.fail("list", "", fmt.Errorf("%w: a page without keys that is not the last", errAnswer))
		}
		token = p.token
	}
}

// take turns the entries of a page into what the store says of objects, up to
// the end of the range.
func (s *Store) take(entries []entry, last string, r work.Range) ([]storage.Info, error) {
	found := make([]storage.Info, 0, len(entries))
	now := time.Now()
	for i := range entries {
		e := &entries[i]
		key, ok := strings.CutPrefix(e.key, s.prefix)
		if !ok {
			return nil, fmt.Errorf("%w: key %s in a listing of prefix %s", errAnswer, work.Quote(e.key), work.Quote(s.prefix))
		}
		if key == "" && last == "" {
			continue
		}
		if key <= last {
			return nil, refuse(work.Unsupported, "the server lists keys out of order: %s after %s", work.Quote(key), work.Quote(last))
		}
		if r.Upto != "" && key > r.Upto {
			break
		}
		last = key
		found = append(found, storage.Info{Key: key, Size: e.size, ETag: e.etag, ModTime: e.modTime,
			Archived: e.archive && s.client.amazon && !e.restore.After(now)})
	}
	return found, nil
}

// page asks for the page that begins after a key, or where the page before
// said with a token.
func (s *Store) page(ctx context.Context, after, token string) (page, error) {
	query := "list-type=2&encoding-type=url&max-keys=1000"
	if s.prefix != "" {
		query += "&prefix=" + escapeQuery(s.prefix)
	}
	switch {
	case token != "":
		query += "&continuation-token=" + escapeQuery(token)
	case after != "":
		query += "&start-after=" + escapeQuery(s.prefix+after)
	}
	for attempt := 1; ; attempt++ {
		p, err := s.pageOnce(ctx, query)
		if err == nil || attempt == attempts || ctx.Err() != nil || !passing(err) {
			return p, err
		}
		if !sleep(ctx, pause(attempt, err)) {
			return p, err
		}
	}
}

func (s *Store) pageOnce(ctx context.Context, query string) (page, error) {
	r := &request{method: http.MethodGet, query: query}
	if s.client.amazon {
		r.header = http.Header{"X-Amz-Optional-Object-Attributes": {"RestoreStatus"}}
	}
	resp, err := s.do(ctx, r)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	return readPage(resp)
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
	return parsePage(buf.Bytes())
}
