package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Rows on a page.
const (
	openRows   = 25 // of each open state, on the overview
	endedRows  = 10
	agentRows  = 12
	siteRows   = 20
	pageRows   = 50
	attentions = 8
)

// A jobRow is a job as a table shows it.
type jobRow struct {
	api.Job
	Href      string
	Created   moment
	Started   moment
	Finished  moment
	ETA       moment
	Took      string // from its start to its end; empty: it has not ended
	Pausable  bool
	Retryable bool
}

// Label names the job in a sentence.
func (j jobRow) Label() string {
	if j.Name == "" {
		return "Job " + j.ID.String()
	}
	return "Job " + j.ID.String() + " (" + clean(j.Name) + ")"
}

// Final is how many objects have an outcome.
func (j jobRow) Final() int64 { return j.Planned - j.Open }

func (s *site) row(j api.Job) jobRow {
	now := s.now()
	row := jobRow{Job: j, Href: "/jobs/" + j.ID.String(), Created: when(j.CreatedAt, now), Started: when(j.StartedAt, now),
		Finished:  when(j.FinishedAt, now),
		Pausable:  j.State == work.Running,
		Retryable: j.State == work.JobFailed || j.Failed > 0 && j.State != work.Canceled}
	if j.Progress != nil {
		row.ETA = when(j.Progress.ETA, now)
	}
	if !j.StartedAt.IsZero() && !j.FinishedAt.IsZero() {
		row.Took = durationText(j.FinishedAt.Sub(j.StartedAt))
	}
	return row
}

// rows makes rows of jobs, with the progress of those that are open.
func (s *site) rows(ctx context.Context, jobs []work.Job) ([]jobRow, error) {
	var rows []jobRow
	for _, j := range jobs {
		if !j.State.Open() {
			rows = append(rows, s.row(api.Job{Job: j}))
			continue
		}
		samples, err := s.samplesOf(ctx, j)
		if err != nil {
			return nil, err
		}
		p := Estimate(j, samples, s.now())
		rows = append(rows, s.row(api.Job{Job: j, Progress: &p}))
	}
	return rows, nil
}

// A totals is what the whole fleet is doing.
type totals struct {
	Running, Paused, Moving, Agents, Streams, Failed int64
	MoreOpen                                         bool // there are more open jobs than were looked at
	Objects, Bytes                                   float64
	Last                                             *jobRow // of the jobs that move, the one that ends last
}

// Verdict says in a sentence whether things move.
func (t totals) Verdict() string {
	all, of := "All", "the "
	if t.MoreOpen {
		all, of = "All of the newest", "the newest "
	}
	switch {
	case t.Running == 0 && t.Paused == 0:
		return "No job is open."
	case t.Running == 0:
		return "No job is running: what is open is paused."
	case t.Moving == 0 && t.Running == 1:
		return "One job is running, and nothing of it moves."
	case t.Moving == 0:
		return fmt.Sprintf("None of %s%d running jobs moves.", of, t.Running)
	case t.Running == 1:
		return "The job that is running moves."
	case t.Moving == t.Running:
		return fmt.Sprintf("%s %d running jobs move.", all, t.Running)
	}
	moves := "move"
	if t.Moving == 1 {
		moves = "moves"
	}
	return fmt.Sprintf("%d of %s%d running jobs %s.", t.Moving, of, t.Running, moves)
}

func sum(open []jobRow, agents []agentRow, more bool) totals {
	t := totals{MoreOpen: more}
	for i, j := range open {
		if j.State == work.Paused {
			t.Paused++
		} else {
			t.Running++
		}
		if j.Progress.ObjectsRate > 0 {
			t.Moving++
		}
		if eta := j.Progress.ETA; !eta.IsZero() && (t.Last == nil || eta.After(t.Last.Progress.ETA)) {
			t.Last = &open[i]
		}
		t.Failed += j.Failed
		t.Objects += j.Progress.ObjectsRate
		t.Bytes += j.Progress.BytesRate
	}
	for _, a := range agents {
		if !a.Silent {
			t.Agents++
			t.Streams += int64(a.Streams)
		}
	}
	return t
}

type overview struct {
	Totals    totals
	Notices   []notice
	MoreNotes int
	Needs     string // how many things need somebody; empty: none
	Open      []jobRow
	Ended     []jobRow
	Agents    []agentRow // if they are few
	Sites     []siteRow  // if they are many
	AllAgents int64
	None      bool // no job was ever asked for
	Base      string
}

func (s *site) overviewPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	var open []work.Job
	more := false
	for _, state := range []work.JobState{work.Running, work.Paused} {
		jobs, next, err := s.Ledger.Jobs(ctx, work.JobQuery{State: state, Limit: openRows})
		if err != nil {
			return err
		}
		open, more = append(open, jobs...), more || next != ""
	}
	newest, _, err := s.Ledger.Jobs(ctx, work.JobQuery{Limit: pageRows})
	if err != nil {
		return err
	}
	ended := slices.DeleteFunc(slices.Clone(newest), func(j work.Job) bool { return j.State.Open() })
	ended = ended[:min(len(ended), endedRows)]

	o := overview{Base: s.base(r)}
	if o.Open, err = s.rows(ctx, open); err != nil {
		return err
	}
	if o.Ended, err = s.rows(ctx, ended); err != nil {
		return err
	}
	if o.Agents, err = s.agentRows(ctx); err != nil {
		return err
	}
	o.Totals = sum(o.Open, o.Agents, more)
	o.Notices = attention(s.failing(ctx), o.Open, o.Ended, o.Agents, s.now())
	switch n := len(o.Notices); n {
	case 0:
	case 1:
		o.Needs = "1 thing needs you"
	default:
		o.Needs = comma(int64(n)) + " things need you"
	}
	o.MoreNotes = max(0, len(o.Notices)-attentions)
	o.Notices = o.Notices[:min(len(o.Notices), attentions)]
	if o.AllAgents = int64(len(o.Agents)); o.AllAgents > agentRows {
		o.Sites, o.Agents = bySite(o.Agents), nil
		o.Sites = o.Sites[:min(len(o.Sites), siteRows)]
	}
	o.None = len(newest) == 0
	return s.render(w, r, http.StatusOK, "overview.html",
		view{Title: "Overview", Nav: "overview", Stream: "/v1/events?brief=true", Moving: true, Page: o})
}

type jobsView struct {
	State  work.JobState
	States []stateLink
	Text   string
	Failed bool
	Rows   []jobRow
	First  bool // it is the first page
	Next   string
	Newest string
	CLI    string
}

// A stateLink is a choice of a state that keeps the other choices.
type stateLink struct {
	Name, Href string
	Chosen     bool
}

func (s *site) jobsPage(w http.ResponseWriter, r *http.Request) error {
	q, err := jobQuery(r, pageRows)
	if err != nil {
		return err
	}
	jobs, next, err := s.Ledger.Jobs(r.Context(), q)
	if err != nil {
		return err
	}
	v := jobsView{State: q.State, Text: q.Text, Failed: q.Failed, First: q.Cursor == "", Newest: with(r.URL, "cursor", ""),
		CLI: cli("tranship job ls", "--state", string(q.State))}
	if first, err := url.Parse(v.Newest); err == nil {
		v.States = append(v.States, stateLink{"all", with(first, "state", ""), q.State == ""})
		for _, state := range jobStates {
			v.States = append(v.States, stateLink{string(state), with(first, "state", string(state)), q.State == state})
		}
	}
	if v.Rows, err = s.rows(r.Context(), jobs); err != nil {
		return err
	}
	if next != "" {
		v.Next = with(r.URL, "cursor", next)
	}
	return s.render(w, r, http.StatusOK, "jobs.html",
		view{Title: "Jobs", Nav: "jobs", Stream: "/v1/events?brief=true", Moving: true, Page: v})
}
