package web

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// TestSearchGoesOn looks for an object of the oldest of many jobs: a search
// says how far it looked, and goes on from there.
func TestSearchGoesOn(t *testing.T) {
	t.Parallel()
	f := newFake()
	for id := range work.JobID(120) {
		f.jobs[id+1] = work.Job{ID: id + 1, State: work.Succeeded, CreatedAt: noon}
	}
	f.objects = []work.ObjectRow{{Job: 1, Key: "old/a"}, {Job: 1, Key: "old/ab"}, {Job: 100, Key: "old/b"}}
	b := serve(t, f)
	q := api.SearchQuery{Prefix: "old/"}
	var looked []string
	var keys []string
	for {
		found, err := b.client.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		looked = append(looked, fmt.Sprint(found.Jobs))
		for _, o := range found.Objects {
			keys = append(keys, o.Key)
		}
		if q.Cursor = found.Next; q.Cursor == "" {
			break
		}
	}
	if got := strings.Join(looked, " ") + ": " + strings.Join(keys, " "); got != "50 50 20: old/b old/a old/ab" {
		t.Errorf("looked through %s", got)
	}
	found, err := b.client.Search(t.Context(), api.SearchQuery{Key: "old/a", Job: 1})
	if err != nil || len(found.Objects) != 1 || found.Objects[0].Key != "old/a" {
		t.Errorf("by its whole key: %+v, %v", found, err)
	}
	_, page := b.do(t, "GET", "/search?q=old/b&match=whole", "", "Accept", "text/html")
	for _, want := range []string{"Looked through the 50 newest jobs", "Search older jobs", "<code class=\"key\">old/b</code>", `href="/jobs/100/attempts?key=old%2Fb"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for _, bad := range []string{"", "?prefix=", "?key=a&prefix=a", "?key=a&job=x", "?text=a"} {
		if p := b.problem(t, "GET", "/v1/search"+bad, ""); p.Code != api.Invalid {
			t.Errorf("/v1/search%s is answered with %s", bad, p.Code)
		}
	}
	var p *api.Problem
	if _, err := b.client.Search(t.Context(), api.SearchQuery{Key: "a", Job: 999}); !errors.As(err, &p) || p.Code != api.NoJob {
		t.Errorf("a search in no job: %v", err)
	}
	if _, err := b.client.Search(t.Context(), api.SearchQuery{Key: "a", Cursor: "mine"}); !errors.As(err, &p) || p.Code != api.BadCursor {
		t.Errorf("a search from a made-up cursor: %v", err)
	}
}
