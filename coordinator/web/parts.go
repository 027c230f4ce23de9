package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// partsWait is how long a page waits for a breakdown before it does without.
const partsWait = 5 * time.Second

// A partsView is a job's objects by a part of their keys.
type partsView struct {
	work.Breakdown
	Prefix string
	Path   []partLink // to the prefix, from all
	Rows   []partRow
}

// A partLink leads to what lies below a prefix.
type partLink struct{ Name, Href string }

// A partRow is what lies below one prefix, as a table shows it.
type partRow struct {
	work.BreakdownRow
	Name string
	Href string // of the parts below it; empty: there are none
	List string // where these objects are listed
}

// partsOf breaks a job down, for a page; it is nil where that takes too long.
func (s *site) partsOf(ctx context.Context, j work.Job, prefix string) *partsView {
	within, cancel := context.WithTimeout(ctx, partsWait)
	defer cancel()
	b, err := s.parts.get(within, work.BreakdownQuery{Job: j.ID, Prefix: prefix}, s.Ledger.Breakdown)
	if err != nil {
		if ctx.Err() == nil {
			s.Log.WarnContext(ctx, "job not broken down", "job", j.ID, "err", err)
		}
		return nil
	}
	at := "/jobs/" + j.ID.String()
	below := func(prefix string) string {
		if prefix == "" {
			return at + "#parts"
		}
		return at + "?" + url.Values{"prefix": {prefix}}.Encode() + "#parts"
	}
	v := &partsView{Breakdown: b, Prefix: prefix}
	if prefix != "" {
		v.Path = append(v.Path, partLink{"all keys", below("")})
		for i, c := range []byte(prefix[:len(prefix)-1]) {
			if c == '/' {
				v.Path = append(v.Path, partLink{lastPart(prefix[:i+1]), below(prefix[:i+1])})
			}
		}
	}
	for _, r := range b.Rows {
		row := partRow{BreakdownRow: r, Name: lastPart(r.Prefix),
			List: at + "/objects?" + url.Values{"prefix": {r.Prefix}}.Encode()}
		if !r.Leaf {
			row.Href = below(r.Prefix)
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

// lastPart returns the last part of a prefix, with its slash.
func lastPart(prefix string) string {
	return prefix[strings.LastIndexByte(strings.TrimSuffix(prefix, "/"), '/')+1:]
}

func (s *site) getBreakdown(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	p := readParams(r, "prefix")
	if err := p.err(); err != nil {
		return err
	}
	b, err := s.parts.get(r.Context(), work.BreakdownQuery{Job: id, Prefix: p.text("prefix")}, s.Ledger.Breakdown)
	if err != nil {
		return err
	}
	return answerJSON(w, api.BreakdownOf(b))
}

// A partSum is what several parts come to.
type partSum struct {
	Name string
	work.Counted
}

func sumRow(name string, c work.Counted) partSum { return partSum{name, c} }
