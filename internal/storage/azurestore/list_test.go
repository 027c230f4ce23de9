package azurestore

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A lister is a service that can only list.
type lister struct {
	keys   []string // in the order of the listing
	less   func(a, b string) bool
	starts bool // it knows startFrom
	page   int

	// spoil, if it is set, changes page n, counted from 1.
	spoil func(n int, page string) string

	mu     sync.Mutex
	served int // keys
	pages  int
}

func (l *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	begin := func(key string) bool {
		return !strings.HasPrefix(key, q.Get("prefix")) || q.Get("marker") != "" && l.less(key, q.Get("marker")) ||
			l.starts && q.Get("startFrom") != "" && l.less(key, q.Get("startFrom"))
	}
	left := slices.DeleteFunc(slices.Clone(l.keys), begin)
	n := l.page
	if q.Get("maxresults") == "1" {
		n = 1
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><EnumerationResults>`)
	for name, asked := range map[string]string{"Prefix": q.Get("prefix"), "Marker": q.Get("marker")} {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(&b, []byte(asked)) // a Builder never fails
		b.WriteString("</" + name + ">")
	}
	b.WriteString("<Blobs>")
	for _, key := range left[:min(n, len(left))] {
		b.WriteString("<Blob><Name>")
		_ = xml.EscapeText(&b, []byte(key)) // a Builder never fails
		b.WriteString("</Name><Properties><Content-Length>1</Content-Length><Etag>0x1</Etag></Properties></Blob>")
	}
	b.WriteString("</Blobs><NextMarker>")
	if len(left) > n {
		_ = xml.EscapeText(&b, []byte(left[n]))
	}
	b.WriteString("</NextMarker></EnumerationResults>")
	l.mu.Lock()
	l.served += min(n, len(left))
	l.pages++
	page := l.pages
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	if l.spoil != nil {
		fmt.Fprint(w, l.spoil(page, b.String()))
		return
	}
	fmt.Fprint(w, b.String())
}

func byBytes(a, b string) bool { return a < b }

func byUTF16(a, b string) bool {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))) < 0
}

// listing returns a store of keys under a prefix, with others around.
func listing(t *testing.T, l *lister, prefix string, keys []string) *Store {
	t.Helper()
	l.keys = []string{"a", "pre", "zz"}
	for _, key := range keys {
		l.keys = append(l.keys, prefix+key)
	}
	slices.SortFunc(l.keys, func(a, b string) int {
		if l.less(a, b) {
			return -1
		}
		return 1
	})
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	t.Setenv("AZURE_STORAGE_KEY_FAKE", someKey)
	return openURL(t, "azblob://box/"+prefix+"?storage_account=fake&protocol=http&localemu=true&domain="+strings.TrimPrefix(srv.URL, "http://"))
}

// TestListStarts lists ranges of services that can, and cannot, start
// anywhere, in either order.
func TestListStarts(t *testing.T) {
	keys := []string{"é", "日本", "zzz"}
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	slices.Sort(keys)
	for _, tt := range []struct {
		name   string
		less   func(a, b string) bool
		starts bool
		prefix string
	}{
		{"starts", byBytes, true, "pre/"},
		{"starts, no prefix", byBytes, true, ""},
		{"does not start", byBytes, false, "pre/"},
		{"does not start, no prefix", byBytes, false, ""},
		{"starts, UTF-16", byUTF16, true, "pre/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &lister{less: tt.less, starts: tt.starts, page: 1500}
			s := listing(t, l, tt.prefix, keys)
			all := keys
			if tt.prefix == "" {
				all = append(slices.Clone(keys), "a", "pre", "zz")
				slices.Sort(all)
			}
			for _, r := range []work.Range{{}, {After: "k2500"}, {After: "k2500x", Upto: "k2600"}, {After: "é"}, {Upto: "日本"}, {After: "zzz"}, {After: "日"}, {After: "\xff"}} {
				var want []string
				for _, key := range all {
					if r.Contains(key) {
						want = append(want, key)
					}
				}
				if got := keysOf(t, s, r); !slices.Equal(got, want) {
					t.Errorf("List(%q) gave %d keys, want %d", r, len(got), len(want))
				}
			}
			l.served = 0
			keysOf(t, s, work.Range{After: "k2990"})
			if few := l.served < 100; few != tt.starts {
				t.Errorf("the service listed %d keys, want few: %v", l.served, tt.starts)
			}
		})
	}
}

// TestListRefusesDisorder lists keys whose order is that of UTF-16, in which
// the second comes after the first.
func TestListRefusesDisorder(t *testing.T) {
	keys := []string{"x\uff5e", "x😀"}
	s := listing(t, &lister{less: byUTF16, starts: true, page: 10}, "pre/", keys)
	for _, r := range []work.Range{{}, {After: "x\uff5d"}, {Upto: "x\uff5f"}, {After: "x"}} {
		err := s.List(t.Context(), r, func([]storage.Info) error { return nil })
		wantFault(t, fmt.Sprintf("List(%q)", r), err, work.Unsupported)
	}
	if got := keysOf(t, s, work.Range{Upto: "x"}); len(got) != 0 {
		t.Errorf("List up to a key before = %q", got)
	}
}

// TestPages lists more keys at once than callers take.
func TestPages(t *testing.T) {
	var keys []string
	for i := range 2500 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	s := listing(t, &lister{less: byBytes, page: askFor}, "pre/", keys)
	var sizes []int
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		sizes = append(sizes, len(page))
		return nil
	})
	if err != nil || !slices.Equal(sizes, []int{1000, 1000, 500}) {
		t.Errorf("List gave pages of %d, %v", sizes, err)
	}
}

// TestMeddledListings lists a container by way of somebody who changes its
// second page: once only, or it and all that follow. The listing is whole, or
// it fails; it never ends early.
func TestMeddledListings(t *testing.T) {
	var keys []string
	for i := range 250 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	var pages []string
	spied := listing(t, &lister{less: byBytes, page: 100, spoil: func(_ int, page string) string {
		pages = append(pages, page)
		return page
	}}, "pre/", keys)
	if got := keysOf(t, spied, work.Range{}); len(got) != len(keys) || len(pages) != 3 {
		t.Fatalf("List = %d keys after %d pages", len(got), len(pages))
	}
	for name, change := range map[string]func(page string) string{
		"the page before":    func(string) string { return pages[0] },
		"the page behind":    func(string) string { return pages[2] },
		"out of order":       strings.NewReplacer("k0150", "k0151", "k0151", "k0150").Replace,
		"of another prefix":  func(page string) string { return strings.Replace(page, "<Prefix>pre/<", "<Prefix>p/<", 1) },
		"another's keys":     func(page string) string { return strings.Replace(page, "<Name>pre/k0150", "<Name>prf/k0150", 1) },
		"no list":            func(string) string { return "<EnumerationResults><NextMarker/></EnumerationResults>" },
		"no word of the end": func(page string) string { return strings.ReplaceAll(page, "NextMarker>", "Other>") },
		"named by its own name": func(page string) string {
			return strings.ReplaceAll(page, "<NextMarker>pre/k0200", "<NextMarker>pre/k0100")
		},
	} {
		for _, forever := range []bool{false, true} {
			l := &lister{less: byBytes, page: 100, spoil: func(n int, page string) string {
				if n == 2 || forever && n > 2 {
					page = change(page)
				}
				return page
			}}
			s, n := listing(t, l, "pre/", keys), 0
			err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error { n += len(page); return nil })
			t.Logf("%s, for ever %v: %d keys after %d pages, %v", name, forever, n, l.pages, err)
			switch {
			case err == nil && n != len(keys):
				t.Errorf("%s, for ever %v: the listing ended well after %d of %d keys", name, forever, n, len(keys))
			case err != nil && !forever:
				t.Errorf("%s: %v; want it asked for again", name, err)
			case err == nil && forever:
				t.Errorf("%s, for ever: nothing was noticed", name)
			}
		}
	}
}
