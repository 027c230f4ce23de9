package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// attemptQuery reads whose attempts are asked for. A key may be empty: without
// any it is the listing's.
func attemptQuery(r *http.Request, id work.JobID) (work.AttemptQuery, error) {
	p := readParams(r, "key", "limit")
	q := work.AttemptQuery{Job: id, Key: p.text("key"), Listing: !p.values.Has("key"), Limit: p.limit(limitUnsaid)}
	return q, p.err()
}

func (s *site) listAttempts(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	q, err := attemptQuery(r, id)
	if err != nil {
		return err
	}
	attempts, older, err := s.Ledger.Attempts(r.Context(), q)
	if err != nil {
		return err
	}
	return answerJSON(w, api.AttemptList{Attempts: notNil(attempts), Older: older})
}

// An attemptRow is an attempt as a table shows it.
type attemptRow struct {
	work.Attempt
	What   string // was tried
	Became string // a word: the outcome, or where the item stands
	When   moment
	Due    moment
	Queued moment
}

type attemptsView struct {
	Job     work.Job
	Key     string
	Listing bool
	Older   bool
	Rows    []attemptRow
	CLI     string
}

// attemptsPage shows every attempt at an object, or at listing the source.
func (s *site) attemptsPage(w http.ResponseWriter, r *http.Request) error {
	j, err := s.pageJob(r)
	if err != nil {
		return err
	}
	q, err := attemptQuery(r, j.ID)
	if err != nil {
		return err
	}
	attempts, older, err := s.Ledger.Attempts(r.Context(), q)
	if err != nil {
		return err
	}
	v := attemptsView{Job: j, Key: q.Key, Listing: q.Listing, Older: older, CLI: attemptsCLI(q)}
	now := s.now()
	for _, a := range attempts {
		v.Rows = append(v.Rows, attemptRow{Attempt: a, What: api.TriedWords(a), Became: api.BecameWords(a),
			When: when(a.At, now), Due: when(a.Due, now), Queued: when(a.Queued, now)})
	}
	return s.render(w, r, http.StatusOK, "attempts.html",
		view{Title: "Attempts of job " + j.ID.String(), Nav: "jobs", Page: v})
}

// attemptsHref is where every attempt at an object is shown.
func attemptsHref(id work.JobID, key string) string {
	return "/jobs/" + id.String() + "/attempts?" + url.Values{"key": {key}}.Encode()
}

// attemptsCLI is the command that shows the same as the page.
func attemptsCLI(q work.AttemptQuery) string {
	command := "tranship job attempts " + q.Job.String()
	switch {
	case q.Listing:
		return command
	case q.Key == "":
		return command + " ''"
	case strings.Contains(q.Key, "\x00"): // which no argument can hold
		return command + " --key64 " + api.Key64(q.Key)
	case strings.HasPrefix(q.Key, "-"):
		command += " --"
	}
	return command + " " + shellQuote(q.Key)
}
