package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/e2e/proxy"
	"github.com/tranship/tranship/internal/e2e/servers"
)

// TestListingsThatLie lists a source of several pages by way of somebody who
// loses, repeats, reorders and cuts them, once or for ever. A job either knows
// of every object, or it fails and says why. It never succeeds with a gap.
func TestListingsThatLie(t *testing.T) {
	long(t)
	t.Parallel()
	srv := servers.VersityGW(t)
	objects := corpus{}
	for i := range 2300 {
		objects[fmt.Sprintf("data/%04d", i)] = []byte{byte(i)}
	}
	srv.CreateBucket(t, "lies")
	objects.toBucket(t, srv, "lies")
	dir := t.TempDir() // everything is there already: the listing is what counts
	objects.toFolder(t, dir)
	p := proxy.New(t, srv.Endpoint)
	f := newFleet(t, 1, append(profiles(t, srv), "TRANSHIP_STREAMS=8"))
	list := func() jobView {
		id := f.submit(t, by(p, srv).URL("lies", ""), "file://"+dir, "--compare", "size", "--max-attempts", "2")
		return f.awaitEnd(t, id, 2*time.Minute)
	}

	var pages []string // as they are
	change := func(how func(page string) string) proxy.Fault {
		return proxy.Rewrite(func(_ *http.Request, b []byte) []byte { return []byte(how(string(b))) })
	}
	p.Set(proxy.Rule{For: func(r *http.Request) bool { return r.URL.Query().Get("max-keys") == "1000" },
		Fault: change(func(page string) string { pages = append(pages, page); return page })})
	if j := list(); j.State != "succeeded" || j.Skipped != int64(len(objects)) || len(pages) != 4 {
		t.Fatalf("job ended %s with %d of %d objects after %d pages: %s", j.State, j.Skipped, len(objects), len(pages), j.Error)
	}
	given := func(i int) proxy.Fault { return change(func(string) string { return pages[i] }) }
	edit := func(from, to string) proxy.Fault {
		at := regexp.MustCompile(from)
		return change(func(page string) string { return at.ReplaceAllString(page, to) })
	}
	const (
		noticed = "failed"    // if it goes on for ever
		healed  = "succeeded" // even so
		hidden  = ""          // nobody can notice it, so it is done only once
	)
	for _, tt := range []struct {
		name  string
		fault proxy.Fault
		ends  string
	}{
		{"refused", proxy.Refuse(500, 0), noticed},
		{"not found", proxy.Refuse(404, 0), noticed},
		{"broken off", proxy.CutAnswer(20_000), noticed},
		{"shortened", change(func(page string) string { return page[:len(page)/2] }), noticed},
		{"the first page again", given(0), noticed},
		{"a page too far", given(2), noticed},
		{"out of order", change(strings.NewReplacer("data/1500<", "data/1501<", "data/1501<", "data/1500<").Replace), noticed},
		{"a key less", edit("<Key>data/1500</Key>", ""), noticed},
		{"an object less", change(func(page string) string {
			head, tail, _ := strings.Cut(page, "<Contents>")
			_, tail, _ = strings.Cut(tail, "</Contents>")
			return head + tail
		}), noticed},
		{"the end, too early", edit("<IsTruncated>true<", "<IsTruncated>false<"), healed},
		{"the end, too early and well told", edit("<IsTruncated>true</IsTruncated>|<NextContinuationToken>[^<]*</NextContinuationToken>",
			"<IsTruncated>false</IsTruncated>"), healed},
		{"empty", edit("(?s)<KeyCount>.*</ListBucketResult>", "<KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"), hidden},
	} {
		for _, forever := range []bool{false, true} {
			if forever && tt.ends == hidden {
				continue
			}
			fault := tt.fault
			if !forever {
				fault = proxy.First(1, fault)
			}
			p.Set(proxy.Rule{For: func(r *http.Request) bool {
				q := r.URL.Query()
				return q.Get("continuation-token") != "" || q.Get("start-after") != ""
			}, Fault: fault})
			j := list()
			t.Logf("%s, for ever %v: %s, %d planned: %s", tt.name, forever, j.State, j.Planned, j.Error)
			whole := j.State == "succeeded" && j.Planned == int64(len(objects)) && j.Skipped == j.Planned
			failed := j.State == "failed" && j.Error != ""
			switch {
			case !whole && !failed:
				t.Errorf("%s, for ever %v: the job ended %s with %d of %d objects: %s", tt.name, forever, j.State, j.Planned, len(objects), j.Error)
			case forever && tt.ends != j.State:
				t.Errorf("%s, for ever: the job ended %s, want %s", tt.name, j.State, tt.ends)
			}
		}
	}
}
