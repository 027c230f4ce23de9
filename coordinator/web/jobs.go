package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// jobStates are the states a listing may ask for.
var jobStates = []work.JobState{work.Running, work.Paused, work.Succeeded, work.Incomplete, work.JobFailed, work.Canceled}

func (s *site) createJob(w http.ResponseWriter, r *http.Request) error {
	nj, err := readNewJob(r)
	if err != nil {
		return err
	}
	idem, err := readIdempotency(r, nj)
	if err != nil {
		return err
	}
	job, created, err := s.Commander.CreateJob(r.Context(), nj, idem)
	if errors.Is(err, work.ErrSite) {
		var f findings
		f.body("/site", "%s", err)
		return f.err()
	}
	if err != nil {
		return err
	}
	if !created {
		w.Header().Set(api.HeaderReplayed, "true")
	}
	w.Header().Set("Location", "/v1/jobs/"+job.ID.String())
	writeJSON(w, "application/json", http.StatusCreated, api.Job{Job: s.awaiting(r.Context(), job)})
	return nil
}

func (s *site) listJobs(w http.ResponseWriter, r *http.Request) error {
	q, err := jobQuery(r, limitUnsaid)
	if err != nil {
		return err
	}
	jobs, next, err := s.Ledger.Jobs(r.Context(), q)
	if err != nil {
		return err
	}
	list := api.JobList{Jobs: make([]api.Job, 0, len(jobs)), Next: next}
	for _, j := range jobs {
		list.Jobs = append(list.Jobs, api.Job{Job: s.awaiting(r.Context(), j)})
	}
	linkNext(w, r, "cursor", next)
	return answerJSON(w, list)
}

// jobQuery reads what a listing of jobs asks for.
func jobQuery(r *http.Request, unsaid int) (work.JobQuery, error) {
	p := readParams(r, "state", "text", "failed", "cursor", "limit")
	q := work.JobQuery{State: oneOf(p, "state", jobStates...), Text: p.text("text"), Failed: p.flag("failed"),
		Cursor: p.text("cursor"), Limit: p.limit(unsaid)}
	return q, p.err()
}

// linkNext names the next page in the Link header, if there is one.
func linkNext(w http.ResponseWriter, r *http.Request, name, value string) {
	if value != "" {
		w.Header().Set("Link", "<"+with(r.URL, name, value)+`>; rel="next"`)
	}
}

// with returns the address with one parameter of its query changed, or left
// out if value is empty.
func with(u *url.URL, name, value string) string {
	q := u.Query()
	q.Set(name, value)
	if value == "" {
		q.Del(name)
	}
	return (&url.URL{Path: u.Path, RawQuery: q.Encode()}).String()
}

func (s *site) getJob(w http.ResponseWriter, r *http.Request) error {
	id, err := readJobID(r)
	if err != nil {
		return err
	}
	job, err := s.job(r.Context(), id)
	if err != nil {
		return err
	}
	return answerJSON(w, job)
}

// job returns the job with its progress.
func (s *site) job(ctx context.Context, id work.JobID) (api.Job, error) {
	j, err := s.Ledger.Job(ctx, id)
	if err != nil {
		return api.Job{}, err
	}
	return s.progress(ctx, j)
}

// progress adds to a job how fast it goes.
func (s *site) progress(ctx context.Context, j work.Job) (api.Job, error) {
	samples, err := s.samplesOf(ctx, j)
	if err != nil {
		return api.Job{}, err
	}
	p := Estimate(j, samples, s.now())
	return api.Job{Job: s.awaiting(ctx, j), Progress: &p}, nil
}

// samplesSpan is how far back charts and estimates look.
const samplesSpan = time.Hour

// samplesOf returns the samples of the last hour in which the job ran.
func (s *site) samplesOf(ctx context.Context, j work.Job) ([]work.Sample, error) {
	end := s.now()
	if !j.FinishedAt.IsZero() {
		end = j.FinishedAt
	}
	return s.samples.get(ctx, j.ID, func(ctx context.Context, id work.JobID) ([]work.Sample, error) {
		return s.Ledger.Samples(ctx, id, end.Add(-samplesSpan))
	})
}

// act makes the handler of a command to a job; done is for the error's text.
func (s *site) act(command func(context.Context, work.JobID, string) (work.Job, error), done string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, who, err := readCommand(r)
		if err != nil {
			return err
		}
		var f findings
		if err := readBody(r, &struct{}{}, true, fields{}, &f); err != nil {
			return err
		}
		job, err := command(r.Context(), id, who)
		if err != nil {
			return s.refused(r.Context(), id, done, err)
		}
		return answerJSON(w, api.Job{Job: job})
	}
}

// readCommand returns which job is meant and who asks.
func readCommand(r *http.Request) (work.JobID, string, error) {
	id, err := readJobID(r)
	if err != nil {
		return 0, "", err
	}
	var f findings
	who := readWho(r, &f)
	return id, who, f.err()
}

// refused adds the job's state to an error that comes of it.
func (s *site) refused(ctx context.Context, id work.JobID, done string, err error) error {
	if !errors.Is(err, work.ErrState) {
		return err
	}
	job, jerr := s.Ledger.Job(ctx, id)
	if jerr != nil {
		return jerr
	}
	return api.NewProblem(api.JobState, fmt.Sprintf("job %s is %s and cannot be %s", id, job.State, done))
}

var retryFields = fields{"fault": nil, "prefix": nil, "prefix64": nil, "dry_run": nil}

func (s *site) retryJob(w http.ResponseWriter, r *http.Request) error {
	id, who, err := readCommand(r)
	if err != nil {
		return err
	}
	var in api.Retry
	var f findings
	if err := readBody(r, &in, true, retryFields, &f); err != nil {
		return err
	}
	if in.Fault != "" && !slices.Contains(work.Faults(), in.Fault) {
		f.body("/fault", "unknown fault %q", clip(string(in.Fault)))
	}
	if err := f.err(); err != nil {
		return err
	}
	var out api.Retried
	q := work.RetryQuery{Job: id, Fault: in.Fault, Prefix: in.Prefix}
	if in.DryRun {
		out.Objects, out.Ranges, err = s.Ledger.Retryable(r.Context(), q)
	} else {
		out.Objects, err = s.Commander.Retry(r.Context(), q, who)
	}
	if err != nil {
		return s.refused(r.Context(), id, "retried", err)
	}
	if out.Job.Job, err = s.Ledger.Job(r.Context(), id); err != nil {
		return err
	}
	return answerJSON(w, out)
}

func (s *site) listEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	p := readParams(r, "after", "limit")
	after, limit := p.number("after", 0, 0, 1<<62), p.limit(limitUnsaid)
	if err := p.err(); err != nil {
		return err
	}
	events, err := s.Ledger.Events(r.Context(), id, after, limit)
	if err != nil {
		return err
	}
	if len(events) == limit {
		linkNext(w, r, "after", strconv.FormatInt(events[limit-1].ID, 10))
	}
	return answerJSON(w, api.EventList{Events: notNil(events)})
}

// knownJob returns the job that the address names if there is one, so that a
// listing of a job that does not exist is not an empty one.
func (s *site) knownJob(r *http.Request) (work.JobID, error) {
	id, err := readJobID(r)
	if err != nil {
		return 0, err
	}
	_, err = s.Ledger.Job(r.Context(), id)
	return id, err
}

// notNil makes an empty listing of none, which JSON tells apart.
func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
