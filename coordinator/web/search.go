package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Bounds of a search: it looks through one job after the other.
const (
	searchJobs    = 50 // that are looked through
	searchBatch   = 10 // of them, before it is seen whether that is enough
	searchWait    = 10 * time.Second
	searchObjects = 100 // found in all
	searchOfJob   = 20  // found in one job
)

// A searched is what a search has found, and how far it looked.
type searched struct {
	objects []work.ObjectRow
	jobs    map[work.JobID]work.Job // that hold them
	looked  int                     // jobs looked through
	next    string                  // where to go on, in older jobs; empty: there are none
}

// search looks for objects through one job, or through the newest from a cursor
// on, until it has found enough or has taken its time.
func (s *site) search(ctx context.Context, q work.ObjectQuery) (searched, error) {
	f := searched{jobs: map[work.JobID]work.Job{}}
	if q.Job != 0 {
		j, err := s.Ledger.Job(ctx, q.Job)
		if err != nil {
			return f, err
		}
		f.objects, _, err = s.Ledger.Objects(ctx, q)
		f.jobs[j.ID], f.looked = j, 1
		return f, err
	}
	began := time.Now()
	cursor := q.Cursor
	q.Cursor = ""
	for f.looked < searchJobs && len(f.objects) < searchObjects && time.Since(began) < searchWait {
		jobs, next, err := s.Ledger.Jobs(ctx, work.JobQuery{Cursor: cursor, Limit: searchBatch})
		if err != nil {
			return f, err
		}
		cursor = next
		for _, j := range jobs {
			q := q
			q.Job, q.Limit = j.ID, searchOfJob
			objects, _, err := s.Ledger.Objects(ctx, q)
			if err != nil {
				return f, err
			}
			f.objects, f.looked = append(f.objects, objects...), f.looked+1
			f.jobs[j.ID] = j
		}
		if next == "" {
			return f, nil
		}
	}
	f.next = cursor
	return f, nil
}

func (s *site) searchObjects(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "key", "prefix", "job", "cursor")
	q := work.ObjectQuery{Prefix: p.text("prefix"), Job: work.JobID(p.number("job", 0, 1, 1<<62)), Cursor: p.text("cursor"), Limit: searchObjects}
	if key := p.text("key"); key != "" {
		if q.Prefix != "" {
			p.parameter("prefix", "cannot be asked for together with key")
		}
		q.Prefix, q.Whole = key, true
	}
	if q.Prefix == "" {
		p.parameter("key", "is missing: say which key is looked for, or give its beginning as prefix")
	}
	if err := p.err(); err != nil {
		return err
	}
	f, err := s.search(r.Context(), q)
	if err != nil {
		return err
	}
	list := api.Found{Objects: make([]api.Object, 0, len(f.objects)), Jobs: f.looked, Next: f.next}
	for _, o := range f.objects {
		list.Objects = append(list.Objects, api.Object{ObjectRow: o})
	}
	linkNext(w, r, "cursor", f.next)
	return answerJSON(w, list)
}

type searchView struct {
	Text  string
	Whole bool
	Job   *work.Job // nil: all
	Rows  []foundRow
	All   string // where the rest of a job's is listed; empty: it is all here
	Asked bool
	Jobs  int // looked through
	Next  string
	CLI   string
}

// A foundRow is an object that was found, and the job it is of.
type foundRow struct {
	objectRow
	JobHref  string
	JobLabel string
	Wrote    moment // when the job began
}

// searchPage finds objects by their key or its beginning. What a page shows in
// quotes can be given in quotes.
func (s *site) searchPage(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "q", "match", "job", "cursor")
	v := searchView{Text: p.text("q"), Whole: oneOf(p, "match", "begins", "whole") == "whole"}
	q := work.ObjectQuery{Prefix: v.Text, Whole: v.Whole, Job: work.JobID(p.number("job", 0, 1, 1<<62)), Cursor: p.text("cursor"), Limit: searchObjects}
	if err := p.err(); err != nil {
		return err
	}
	if key, err := strconv.Unquote(v.Text); err == nil && strings.HasPrefix(v.Text, `"`) {
		q.Prefix = key
	}
	title := "Search"
	if q.Job != 0 {
		j, err := s.Ledger.Job(r.Context(), q.Job)
		if err != nil {
			return err
		}
		v.Job, title = &j, "Search job "+j.ID.String()
	}
	if v.Asked = q.Prefix != ""; v.Asked {
		if err := s.fillSearch(r, q, &v); err != nil {
			return err
		}
	}
	return s.render(w, r, http.StatusOK, "search.html", view{Title: title, Nav: "search", Page: v})
}

func (s *site) fillSearch(r *http.Request, q work.ObjectQuery, v *searchView) error {
	f, err := s.search(r.Context(), q)
	if err != nil {
		return err
	}
	v.Jobs = f.looked
	for _, o := range f.objects {
		j := s.row(api.Job{Job: f.jobs[o.Job]})
		v.Rows = append(v.Rows, foundRow{objectRow{o, when(o.At, s.now()), attemptsHref(o.Job, o.Key)}, j.Href, j.Label(), j.Created})
	}
	if f.next != "" {
		v.Next = with(r.URL, "cursor", f.next)
	}
	if q.Job != 0 {
		v.CLI = cli("tranship job objects "+q.Job.String(), "--prefix", q.Prefix)
		if len(v.Rows) == searchObjects {
			v.All = "/jobs/" + q.Job.String() + "/objects?" + url.Values{"prefix": {q.Prefix}}.Encode()
		}
	}
	return nil
}
