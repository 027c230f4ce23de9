package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// listAudit answers the audit log of all jobs and of none.
func (s *site) listAudit(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "before", "limit")
	before, limit := p.number("before", 0, 1, 1<<62), p.limit(limitUnsaid)
	if err := p.err(); err != nil {
		return err
	}
	events, err := s.Ledger.LatestEvents(r.Context(), 0, before, limit)
	if err != nil {
		return err
	}
	if len(events) == limit {
		linkNext(w, r, "before", strconv.FormatInt(events[limit-1].ID, 10))
	}
	return answerJSON(w, api.EventList{Events: notNil(events)})
}

// An eventRow is an event as a table shows it.
type eventRow struct {
	work.Event
	When moment
}

// latestEvents returns events before one, the newest first: of a job, or of all
// and of none.
func (s *site) latestEvents(ctx context.Context, id work.JobID, before int64, limit int) ([]eventRow, error) {
	events, err := s.Ledger.LatestEvents(ctx, id, before, limit)
	if err != nil {
		return nil, err
	}
	rows := make([]eventRow, 0, len(events))
	for _, e := range events {
		rows = append(rows, eventRow{e, when(e.At, s.now())})
	}
	return rows, nil
}

type auditView struct {
	Events []eventRow
	First  bool
	Newest string
	Next   string
}

// auditPage shows the audit log.
func (s *site) auditPage(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "before")
	before := p.number("before", 0, 1, 1<<62)
	if err := p.err(); err != nil {
		return err
	}
	v := auditView{First: before == 0, Newest: r.URL.Path}
	var err error
	if v.Events, err = s.latestEvents(r.Context(), 0, before, pageRows+1); err != nil {
		return err
	}
	if len(v.Events) > pageRows {
		v.Events = v.Events[:pageRows]
		v.Next = with(r.URL, "before", strconv.FormatInt(v.Events[pageRows-1].ID, 10))
	}
	return s.render(w, r, http.StatusOK, "audit.html",
		view{Title: "Audit log", Nav: "settings", Stream: "/v1/events?brief=true", Page: v})
}
