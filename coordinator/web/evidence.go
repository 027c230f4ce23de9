package web

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// openObjects asks for objects without a final outcome.
const openObjects work.Outcome = "open"

// failureQuery reads what a listing of failures asks for.
func failureQuery(r *http.Request, id work.JobID, unsaid int) (work.FailureQuery, error) {
	p := readParams(r, "fault", "prefix", "cursor", "limit")
	q := work.FailureQuery{Job: id, Fault: oneOf(p, "fault", work.Faults()...), Prefix: p.text("prefix"),
		Cursor: p.text("cursor"), Limit: p.limit(unsaid)}
	return q, p.err()
}

// objectQuery reads what a listing of objects asks for.
func objectQuery(r *http.Request, id work.JobID, unsaid int) (work.ObjectQuery, error) {
	p := readParams(r, "outcome", "prefix", "cursor", "limit")
	q := work.ObjectQuery{Job: id, Prefix: p.text("prefix"), Cursor: p.text("cursor"), Limit: p.limit(unsaid),
		Outcome: oneOf(p, "outcome", openObjects, work.Copied, work.Skipped, work.Failed)}
	if q.Outcome == openObjects {
		q.Outcome, q.Open = "", true
	}
	return q, p.err()
}

func (s *site) listFailures(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	q, err := failureQuery(r, id, limitUnsaid)
	if err != nil {
		return err
	}
	rows, next, err := s.Ledger.Failures(r.Context(), q)
	if err != nil {
		return err
	}
	list := api.FailureList{Failures: make([]api.Failure, 0, len(rows)), Next: next}
	for _, row := range rows {
		list.Failures = append(list.Failures, api.Failure{Failure: row})
	}
	linkNext(w, r, "cursor", next)
	return answerJSON(w, list)
}

func (s *site) listObjects(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	q, err := objectQuery(r, id, limitUnsaid)
	if err != nil {
		return err
	}
	rows, next, err := s.Ledger.Objects(r.Context(), q)
	if err != nil {
		return err
	}
	list := api.ObjectList{Objects: make([]api.Object, 0, len(rows)), Next: next}
	for _, row := range rows {
		list.Objects = append(list.Objects, api.Object{ObjectRow: row})
	}
	linkNext(w, r, "cursor", next)
	return answerJSON(w, list)
}

func (s *site) getTallies(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	j, err := s.pageJob(r)
	if err != nil {
		return err
	}
	fails, err := s.fails.get(ctx, j.ID, s.Ledger.FailureTally)
	if err != nil {
		return err
	}
	var more remarks
	if err := s.readRemarks(ctx, j, &more); err != nil {
		return err
	}
	return answerJSON(w, api.Tallies{Failures: tallies(fails),
		Skips: tallies(more.Skips), Dropped: tallies(more.Dropped), Proofs: tallies(more.Proofs)})
}

// remarks count a job's objects by what is remarked about them.
type remarks struct {
	Skips, Dropped, Proofs []work.Tally
}

// A remark is one of them. What is remembered of a running job must not outlive
// its end, because then its counts are compared with these.
type remark struct {
	job   work.JobID
	about work.About
	ended time.Time
}

// readRemarks fills in the remarks about the objects of a job.
func (s *site) readRemarks(ctx context.Context, j work.Job, into *remarks) error {
	lists := map[work.About]*[]work.Tally{
		work.AboutSkipped: &into.Skips, work.AboutDropped: &into.Dropped, work.AboutProof: &into.Proofs}
	for about, list := range lists {
		rows, err := s.remarks.get(ctx, remark{j.ID, about, j.FinishedAt}, func(ctx context.Context, r remark) ([]work.Tally, error) {
			return s.Ledger.Remarks(ctx, r.job, r.about)
		})
		if err != nil {
			return err
		}
		*list = rows
	}
	return nil
}

func tallies(rows []work.Tally) []api.Tally {
	list := make([]api.Tally, 0, len(rows))
	for _, t := range rows {
		list = append(list, api.Tally{Tally: t})
	}
	return list
}

func (s *site) getBalance(w http.ResponseWriter, r *http.Request) error {
	id, err := s.knownJob(r)
	if err != nil {
		return err
	}
	b, err := s.Ledger.Balance(r.Context(), id)
	if err != nil {
		return err
	}
	return answerJSON(w, api.Balance{Balance: b, OK: b.Holds()})
}

func (s *site) listAgents(w http.ResponseWriter, r *http.Request) error {
	if err := readParams(r).err(); err != nil {
		return err
	}
	agents, err := s.Ledger.Agents(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, api.AgentList{Agents: notNil(agents)})
}

func (s *site) health(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := w.Write([]byte("ok\n"))
	return err
}

// ready answers which dependency works, and in words why another does not. The
// error itself may hold addresses and names, so that goes to the log.
func (s *site) ready(w http.ResponseWriter, r *http.Request) error {
	checks := s.Ready(r.Context())
	a := api.Ready{Ready: true, Checks: map[string]string{}}
	for name, err := range checks {
		a.Checks[name] = "ok"
		if err != nil {
			a.Ready, a.Checks[name] = false, "failing"
			if a.Reasons == nil {
				a.Reasons = map[string]string{}
			}
			a.Reasons[name] = whyOf(err)
			s.Log.WarnContext(r.Context(), "not ready", "check", name, "err", err)
		}
	}
	status := http.StatusOK
	if !a.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, "application/json", status, a)
	return nil
}

// A failure is something the coordinator depends on and that does not work.
type failure struct{ Name, Why string }

// failing lists what does not work, by name.
func (s *site) failing(ctx context.Context) []failure {
	checks, err := s.checks.get(ctx, struct{}{}, func(ctx context.Context, _ struct{}) (map[string]error, error) {
		return s.Ready(ctx), nil
	})
	if err != nil {
		return nil
	}
	var list []failure
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if err := checks[name]; err != nil {
			list = append(list, failure{name, whyOf(err)})
		}
	}
	return list
}

func (s *site) metrics(w http.ResponseWriter, r *http.Request) error {
	s.Metrics.ServeHTTP(w, r)
	return nil
}

func (s *site) version(w http.ResponseWriter, _ *http.Request) error {
	return answerJSON(w, api.Version{Version: s.Version, Go: runtime.Version()})
}

func (s *site) specYAML(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(api.Spec)
	return err
}

func (s *site) specJSON(w http.ResponseWriter, _ *http.Request) error {
	b, err := api.SpecJSON()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(b)
	return err
}
