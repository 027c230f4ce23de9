package s3store

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
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

// emptyPage is a whole listing of nothing.
const emptyPage = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

// listAll returns the keys of a listing.
func listAll(t testing.TB, s *Store, r work.Range) ([]string, error) {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), r, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	return keys, err
}

// fill stores n empty objects, k0000 and so on.
func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			_, err := s.Put(t.Context(), fmt.Sprintf("k%04d", i), strings.NewReader(""), 0, storage.PutOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestListRefusesDisorder(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]string{
		"falling": {"pre/b", "pre/a"}, "twice": {"pre/a", "pre/a"}, "before the start": {"pre/A"}, "another prefix": {"other/a"},
	} {
		s := liar(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>false</IsTruncated>")
			for _, k := range keys {
				fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size></Contents>", k)
			}
			_, _ = io.WriteString(w, "</ListBucketResult>")
		})
		want := work.Unsupported
		if name == "another prefix" {
			want = work.Transient
		}
		got, err := listAll(t, s, work.Range{After: "X"})
		wantFault(t, name+": List", err, want)
		if len(got) > 0 {
			t.Errorf("%s: List gave %q of a page that it refused", name, got)
		}
	}
}

// TestListSkipsItsOwnMarker lists a page that holds the prefix as a key, and
// then one that is empty but not the last.
func TestListSkipsItsOwnMarker(t *testing.T) {
	t.Parallel()
	s := liar(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		page := "<Contents><Key>pre/</Key></Contents><Contents><Key>pre/a</Key></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"
		switch {
		case q.Get("start-after") == "pre/b":
			page = "<IsTruncated>false</IsTruncated>"
		case q.Get("continuation-token") == "1":
			page = "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>"
		case q.Get("continuation-token") == "2":
			page = "<Contents><Key>pre/b</Key></Contents><IsTruncated>false</IsTruncated>"
		}
		_, _ = io.WriteString(w, "<ListBucketResult>"+page+"</ListBucketResult>")
	})
	keys, err := listAll(t, s, work.Range{})
	if err != nil || strings.Join(keys, " ") != "a b" {
		t.Errorf("List = %q, %v; want a and b", keys, err)
	}
}

// TestSloppyPages lists by servers that say of their pages what is odd, but
// hides nothing.
func TestSloppyPages(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{
		"<Prefix></Prefix>", "<Prefix/>",
		"<CommonPrefixes></CommonPrefixes>", "<CommonPrefixes><Prefix></Prefix></CommonPrefixes>", "<CommonPrefixes><Prefix/></CommonPrefixes>",
		"<KeyCount></KeyCount>", "<KeyCount>many</KeyCount>", "<KeyCount>0</KeyCount>", "<KeyCount>1001</KeyCount>",
		"<ContinuationToken></ContinuationToken><StartAfter></StartAfter>",
		"<NextContinuationToken>end</NextContinuationToken>",
	} {
		t.Run(odd, func(t *testing.T) {
			t.Parallel()
			s := liar(t, func(w http.ResponseWriter, r *http.Request) {
				page := "<IsTruncated>false</IsTruncated>"
				switch q := r.URL.Query(); {
				case q.Get("start-after") == "":
					page += "<Contents><Key>pre/a</Key></Contents>"
				case q.Get("start-after") != "pre/a" || q.Has("continuation-token"):
					t.Errorf("asked for %s", r.URL.RawQuery)
				}
				_, _ = io.WriteString(w, "<ListBucketResult>"+page+odd+"</ListBucketResult>")
			})
			keys, err := listAll(t, s, work.Range{})
			if err != nil || len(keys) != 1 {
				t.Errorf("List = %q, %v; want a", keys, err)
			}
		})
	}
}

// TestListEndsInTime lists what never ends, although it holds nothing.
func TestListEndsInTime(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := liar(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>", calls.Add(1))
	})
	_, err := listAll(t, s, work.Range{})
	wantFault(t, "List", err, work.Transient)
}

// A meddler stands between a store and its server, and meddles with pages of
// listings: with the n-th alone, or with all from that on.
type meddler struct {
	at      int32
	forever bool
	change  func(page string, q url.Values) string
	pages   atomic.Int32
}

func (m *meddler) answer(resp *http.Response) error {
	q := resp.Request.URL.Query()
	if !q.Has("list-type") {
		return nil
	}
	n := m.pages.Add(1)
	if n != m.at && (n < m.at || !m.forever) {
		return nil
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	text := m.change(string(b), q)
	resp.Body = io.NopCloser(bytes.NewReader([]byte(text)))
	resp.ContentLength = int64(len(text))
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// replaced returns a change of what stands between two marks of a page. It
// fails the test if they are not there.
func replaced(t *testing.T, from, to, by string) func(string, url.Values) string {
	return func(page string, _ url.Values) string {
		head, rest, ok := strings.Cut(page, from)
		_, tail, ok2 := strings.Cut(rest, to)
		if !ok || !ok2 {
			t.Errorf("the page has no %s…%s: %.500s", from, to, page)
			return page
		}
		return head + by + tail
	}
}

// TestMeddledListings lists a bucket of a real server by way of somebody who
// changes its pages. The listing is whole, or it fails; it never ends early, and
// what was changed once only does not even fail it.
func TestMeddledListings(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	const objects = 2500 // three pages
	fill(t, real, objects)
	var pages []string // honest ones
	spy := meddler{at: 1, forever: true, change: func(page string, _ url.Values) string {
		pages = append(pages, page)
		return page
	}}
	if keys, err := listAll(t, between(t, real, nil, spy.answer), work.Range{}); err != nil || len(keys) != objects {
		t.Fatalf("List = %d keys, %v", len(keys), err)
	}
	if len(pages) != 4 {
		t.Fatalf("%d pages were asked for, want three and one to see that they were all", len(pages))
	}
	given := func(i int) func(string, url.Values) string {
		return func(string, url.Values) string { return pages[i] }
	}
	swapped := func(page string, _ url.Values) string {
		a, b := "<Key>"+real.prefix+"k1200</Key>", "<Key>"+real.prefix+"k1201</Key>"
		return strings.NewReplacer(a, b, b, a).Replace(page)
	}
	// A single page that says that there is nothing more is not believed. Of
	// somebody who says so for ever nothing can be noticed.
	m := &meddler{at: 2, change: func(string, url.Values) string { return emptyPage }}
	if keys, err := listAll(t, between(t, real, nil, m.answer), work.Range{}); err != nil || len(keys) != objects {
		t.Errorf("an empty page once: List = %d keys, %v; want %d", len(keys), err, objects)
	}
	for _, tt := range []struct {
		name   string
		at     int32
		change func(string, url.Values) string
		whole  bool // even if it goes on for ever
	}{
		{"the page before again", 2, given(0), false},
		{"the next page instead", 2, given(2), false},
		{"the first page of all instead of the last", 3, given(0), false},
		{"out of order", 2, swapped, false},
		{"a key less than counted", 2, replaced(t, "<Contents>", "</Contents>", ""), false},
		{"cut off", 2, func(page string, _ url.Values) string { return page[:len(page)/2] }, false},
		{"an error in a success", 2, func(string, url.Values) string { return "<Error><Code>InternalError</Code></Error>" }, false},
		{"a page for people", 2, func(string, url.Values) string { return "<html><body>Welcome to the hotel</body></html>" }, false},
		{"nothing", 2, func(string, url.Values) string { return "" }, false},
		{"the end, too early", 2, replaced(t, "<IsTruncated>", "</IsTruncated>", "<IsTruncated>false</IsTruncated>"), true},
		{"the end, too early and well told", 2, func(page string, q url.Values) string {
			page = strings.Replace(page, "<IsTruncated>true", "<IsTruncated>false", 1)
			if strings.Contains(page, "<NextContinuationToken>") {
				page = replaced(t, "<NextContinuationToken>", "</NextContinuationToken>", "")(page, q)
			}
			return page
		}, true},
		{"no word of the end", 2, replaced(t, "<IsTruncated>", "</IsTruncated>", ""), false},
		{"of another prefix", 2, replaced(t, "<Name>", "</Name>", "<Prefix>elsewhere/</Prefix>"), false},
		{"from another key on", 4, replaced(t, "<StartAfter>", "</StartAfter>", "<StartAfter>k2480</StartAfter>"), false},
		{"in groups", 2, replaced(t, "<Name>", "</Name>", "<CommonPrefixes><Prefix>k/</Prefix></CommonPrefixes>"), false},
		{"itself again", 2, func(page string, _ url.Values) string {
			return strings.Replace(page, "<NextContinuationToken>k1999", "<NextContinuationToken>k0999", 1)
		}, true},
	} {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for ever %v", tt.name, forever), func(t *testing.T) {
				t.Parallel()
				m := &meddler{at: tt.at, forever: forever, change: tt.change}
				keys, err := listAll(t, between(t, real, nil, m.answer), work.Range{})
				t.Logf("%d keys after %d pages, %v", len(keys), m.pages.Load(), err)
				switch {
				case m.pages.Load() < tt.at:
					t.Error("nothing was changed")
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
}

// TestListRepeatsAPage cuts the connection in the middle of every other page.
func TestListRepeatsAPage(t *testing.T) {
	t.Parallel()
	real := newStore(t, servers.VersityGW(t), "")
	fill(t, real, 1500)
	var pages atomic.Int32
	s := between(t, real, nil, func(resp *http.Response) error {
		if pages.Add(1)%2 == 1 {
			resp.Body = io.NopCloser(io.LimitReader(resp.Body, 100))
			resp.ContentLength = 1 << 20
			resp.Header.Set("Content-Length", "1048576")
		}
		return nil
	})
	keys, err := listAll(t, s, work.Range{})
	if err != nil || len(keys) != 1500 || pages.Load() != 6 {
		t.Errorf("List = %d objects, %v, after %d pages; want 1500 after two, and one to see that they were all, each twice", len(keys), err, pages.Load())
	}
}
