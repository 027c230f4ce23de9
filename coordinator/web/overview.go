package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Rows on a page.
const (
	openRows   = 25 // of each open state, on the overview
	endedRows  = 10
	agentRows  = 12
	pageRows   = 50
	allAgents  = 2000
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

// An agentRow is an agent as a table shows it.
type agentRow struct {
	work.AgentRow
	Seen   moment
	Since  moment
	Silent bool
}

// Takes reports whether the agent takes new work.
func (a agentRow) Takes() bool { return !a.Silent && a.State != "draining" }

// Stuck reports whether something keeps the agent from working. Of one that has
// fallen silent it is not known any more.
func (a agentRow) Stuck() bool { return !a.Silent && a.Trouble != "" }

// Word says in one word how the agent is.
func (a agentRow) Word() string {
	switch {
	case a.Silent:
		return "silent"
	case a.Stuck():
		return "trouble"
	}
	return a.State
}

// agentRows returns the fleet, those that are alive first, by site and name.
func (s *site) agentRows(ctx context.Context) ([]agentRow, error) {
	agents, err := s.agents(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	rows := make([]agentRow, 0, len(agents))
	for _, a := range agents {
		rows = append(rows, agentRow{AgentRow: a, Seen: when(a.LastSeen, now), Since: when(a.Started, now),
			Silent: now.Sub(a.LastSeen) > agentSilent})
	}
	slices.SortStableFunc(rows, func(a, b agentRow) int {
		if a.Silent != b.Silent {
			if a.Silent {
				return 1
			}
			return -1
		}
		return cmp.Or(strings.Compare(a.Site, b.Site), strings.Compare(a.Agent, b.Agent))
	})
	return rows, nil
}

// A totals is what the whole fleet is doing.
type totals struct {
	Running, Paused, Agents, Streams, Failed int64
	MoreOpen                                 bool // there are more open jobs than were looked at
	Objects, Bytes                           float64
}

func sum(open []jobRow, agents []agentRow, more bool) totals {
	t := totals{MoreOpen: more}
	for _, j := range open {
		if j.State == work.Paused {
			t.Paused++
		} else {
			t.Running++
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
	Open      []jobRow
	Ended     []jobRow
	Agents    []agentRow
	AllAgents int
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
	o.MoreNotes = max(0, len(o.Notices)-attentions)
	o.Notices = o.Notices[:min(len(o.Notices), attentions)]
	o.AllAgents = len(o.Agents)
	o.Agents = o.Agents[:min(len(o.Agents), agentRows)]
	o.None = len(newest) == 0
	return s.render(w, r, http.StatusOK, "overview.html",
		view{Title: "Overview", Nav: "overview", Stream: "/v1/events", Moving: true, Page: o})
}

type jobsView struct {
	State  work.JobState
	States []work.JobState
	Rows   []jobRow
	First  bool // it is the first page
	Next   string
	Newest string
}

func (s *site) jobsPage(w http.ResponseWriter, r *http.Request) error {
	p := readParams(r, "state", "cursor", "limit")
	q := work.JobQuery{State: oneOf(p, "state", jobStates...), Cursor: p.text("cursor"), Limit: p.limit(pageRows)}
	if err := p.err(); err != nil {
		return err
	}
	jobs, next, err := s.Ledger.Jobs(r.Context(), q)
	if err != nil {
		return err
	}
	v := jobsView{State: q.State, States: jobStates, First: q.Cursor == "", Newest: with(r.URL, "cursor", "")}
	if v.Rows, err = s.rows(r.Context(), jobs); err != nil {
		return err
	}
	if next != "" {
		v.Next = with(r.URL, "cursor", next)
	}
	return s.render(w, r, http.StatusOK, "jobs.html",
		view{Title: "Jobs", Nav: "jobs", Stream: "/v1/events", Moving: true, Page: v})
}

type agentsView struct {
	Rows []agentRow
	All  int
}

func (s *site) agentsPage(w http.ResponseWriter, r *http.Request) error {
	rows, err := s.agentRows(r.Context())
	if err != nil {
		return err
	}
	v := agentsView{All: len(rows), Rows: rows[:min(len(rows), allAgents)]}
	return s.render(w, r, http.StatusOK, "agents.html",
		view{Title: "Agents", Nav: "agents", Stream: "/v1/events", Moving: true, Page: v})
}
