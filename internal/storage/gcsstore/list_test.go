package gcsstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/e2e/servers"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// listAll returns the keys of a listing.
func listAll(t *testing.T, s *Store) ([]string, error) {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	return keys, err
}

// meddled returns a store that reaches a service by way of somebody who changes
// the n-th page of a listing, and if it is for ever, all from that on.
func meddled(t *testing.T, s *Store, n int32, forever bool, change func(page string) string) (*Store, *atomic.Int32) {
	t.Helper()
	to, err := url.Parse("http://" + servers.FakeGCS(t).Endpoint)
	must(t, err)
	pages := new(atomic.Int32)
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(resp *http.Response) error {
			if at := pages.Add(1); at != n && (at < n || !forever) {
				return nil
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			text := change(string(b))
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader([]byte(text))), int64(len(text))
			resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
			return nil
		},
	})
	t.Cleanup(server.Close)
	return openURL(t, "gs://"+s.bucket, server.URL), pages
}

// TestMeddledListings lists a bucket by way of somebody who changes its pages.
// The listing is whole, or it fails; it never ends early.
func TestMeddledListings(t *testing.T) {
	t.Parallel()
	real := newStore(t, "")
	const objects = 1500 // two pages
	var g errgroup.Group
	g.SetLimit(16)
	for i := range objects {
		g.Go(func() error {
			_, err := real.Put(t.Context(), fmt.Sprintf("k%04d", i), strings.NewReader(""), 0, storage.PutOptions{})
			return err
		})
	}
	must(t, g.Wait())
	var first string
	spied, pages := meddled(t, real, 1, false, func(page string) string { first = page; return page })
	if keys, err := listAll(t, spied); err != nil || len(keys) != objects || pages.Load() != 3 {
		t.Fatalf("List = %d keys, %v after %d pages; want two pages, and one to see that they were all", len(keys), err, pages.Load())
	}
	const token = `"nextPageToken":"`
	for _, tt := range []struct {
		name   string
		at     int32
		change func(string) string
		whole  bool // even if it goes on for ever
	}{
		{"the first page again", 2, func(string) string { return first }, false},
		{"out of order", 1, func(page string) string {
			return strings.NewReplacer(`"k0100"`, `"k0101"`, `"k0101"`, `"k0100"`).Replace(page)
		}, false},
		{"cut off", 2, func(page string) string { return page[:len(page)/2] }, false},
		{"a page for people", 2, func(string) string { return "<html>Welcome to the hotel</html>" }, false},
		{"something else", 2, func(string) string { return "{}" }, false},
		{"in groups", 2, func(page string) string { return strings.Replace(page, "{", `{"prefixes":["k/"],`, 1) }, false},
		{"the end, too early", 1, func(page string) string {
			head, rest, ok := strings.Cut(page, token)
			if !ok {
				return page
			}
			_, tail, _ := strings.Cut(rest, `"`)
			return head + token + `"` + tail
		}, true},
	} {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for ever %v", tt.name, forever), func(t *testing.T) {
				t.Parallel()
				s, pages := meddled(t, real, tt.at, forever, tt.change)
				keys, err := listAll(t, s)
				t.Logf("%d keys after %d pages, %v", len(keys), pages.Load(), err)
				switch {
				case err == nil && len(keys) != objects:
					t.Errorf("the listing ended well after %d of %d keys", len(keys), objects)
				case err != nil && (!forever || tt.whole):
					t.Errorf("%v; want it asked for again", err)
				case err == nil && forever && !tt.whole:
					t.Error("nothing was noticed")
				}
			})
		}
	}
	t.Run("for ever out of order is no order", func(t *testing.T) {
		s, _ := meddled(t, real, 1, true, func(page string) string { return strings.ReplaceAll(page, `"k0100"`, `"k0000"`) })
		_, err := listAll(t, s)
		if wantFault(t, "List", err, work.Unsupported); !errors.Is(err, errOrder) {
			t.Errorf("List = %v, want %v", err, errOrder)
		}
	})
}
