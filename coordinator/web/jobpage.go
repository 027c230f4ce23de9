package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	failureRows = 5
	eventRows   = 30
)

// A faultGroup is a job's failures of one fault.
type faultGroup struct {
	work.Tally
	Advice string
	Href   string
	CLI    string
}

// A failureRow is a failure as a table shows it.
type failureRow struct {
	work.Failure
	When moment
	Href string // of its attempts
}

// An objectRow is an object as a table shows it.
type objectRow struct {
	work.ObjectRow
	When moment
	Href string // of its attempts
}

type jobView struct {
	rights
	Job      jobRow
	Classes  []work.Class
	Limits   []limitRow    // that bound it
	Balance  *work.Balance // nil: could not be counted
	Charts   chartsView
	Parts    *partsView // nil: could not be counted in time
	Workers  []worker   // agents that move bytes of it
	More     int        // such agents that are not shown
	Groups   []faultGroup
	Failures []failureRow
	Proven   string // how many objects were verified, and how
	Events   []eventRow
	Notices  []notice
	remarks
}

func (s *site) jobPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := readJobID(r)
	if err != nil {
		return err
	}
	j, err := s.Ledger.Job(ctx, id)
	if err != nil {
		return err
	}
	p := readParams(r, "span", "prefix")
	sp, prefix := readSpan(p, j), p.text("prefix")
	if err := p.err(); err != nil {
		return err
	}
	job, err := s.progress(ctx, j)
	if err != nil {
		return err
	}
	samples, err := s.seriesOf(ctx, j, sp)
	if err != nil {
		return err
	}
	v := jobView{rights: rightsOf(r), Job: s.row(job), Classes: work.Classes(), Charts: s.chartsOf(j, sp, samples), Parts: s.partsOf(ctx, j, prefix)}
	if err := s.fillEvidence(ctx, &v); err != nil {
		return err
	}
	if v.Events, err = s.latestEvents(ctx, id, 0, eventRows); err != nil {
		return err
	}
	if j.State.Open() {
		v.Limits = s.limitsOf(ctx, j)
		agents, err := s.agentRows(ctx)
		if err != nil {
			return err
		}
		v.Workers = workersOn(j, agents)
		v.More = max(0, len(v.Workers)-busyAgents)
		v.Workers = v.Workers[:len(v.Workers)-v.More]
		agents = slices.DeleteFunc(agents, func(a agentRow) bool { return j.Site != work.AnySite && a.Site != j.Site })
		v.Notices = attention(s.failing(ctx), []jobRow{v.Job}, nil, agents, s.now())
		v.Notices = slices.DeleteFunc(v.Notices, func(n notice) bool { return !n.Bad && !n.Stall })
	}
	return s.render(w, r, http.StatusOK, "job.html",
		view{Title: v.Job.Label(), Nav: "jobs", Stream: "/v1/events?brief=true&job=" + id.String(),
			Moving: j.State.Open(), Charts: true, Page: v})
}

// fillEvidence reads what became of the job's objects. The proof counts every
// item; where that takes too long the page does without.
func (s *site) fillEvidence(ctx context.Context, v *jobView) error {
	id := v.Job.ID
	if b, err := s.balances.get(ctx, id, s.Ledger.Balance); err == nil {
		v.Balance = &b
	} else if ctx.Err() == nil {
		s.Log.WarnContext(ctx, "job not balanced", "job", id, "err", err)
	}
	if err := s.readRemarks(ctx, v.Job.Job.Job, &v.remarks); err != nil {
		return err
	}
	v.Proven = api.Proven(v.Job.Job.Job, v.Proofs)
	if v.Job.Failed == 0 {
		return nil
	}
	groups, err := s.fails.get(ctx, id, s.Ledger.FailureTally)
	if err != nil {
		return err
	}
	for _, g := range groups {
		v.Groups = append(v.Groups, faultGroup{Tally: g, Advice: adviceOn[work.Fault(g.Name)],
			Href: v.Job.Href + "/failures?fault=" + url.QueryEscape(g.Name),
			CLI:  fmt.Sprintf("tranship job retry %s --fault %s", id, g.Name)})
	}
	rows, _, err := s.Ledger.Failures(ctx, work.FailureQuery{Job: id, Limit: failureRows})
	if err != nil {
		return err
	}
	v.Failures = s.failureRows(rows)
	return nil
}

func (s *site) failureRows(rows []work.Failure) []failureRow {
	out := make([]failureRow, 0, len(rows))
	for _, f := range rows {
		out = append(out, failureRow{f, when(f.At, s.now()), attemptsHref(f.Job, f.Key)})
	}
	return out
}

// A listView is a page of a job's failures or objects.
type listView struct {
	Job      work.Job
	Href     string
	Filter   string // the fault or outcome asked for
	Filters  []string
	Prefix   string
	Failures []failureRow
	Objects  []objectRow
	First    bool
	Newest   string
	Next     string
	CLI      string
	Retry    string // where to retry such failures; empty: the job cannot
	RetryCLI string
}

// listed returns what a page of a listing has beside its rows.
func listed(r *http.Request, j work.Job, next string) listView {
	v := listView{Job: j, Href: r.URL.Path, Prefix: r.URL.Query().Get("prefix"),
		First: r.URL.Query().Get("cursor") == "", Newest: with(r.URL, "cursor", "")}
	if next != "" {
		v.Next = with(r.URL, "cursor", next)
	}
	return v
}

func (s *site) failuresPage(w http.ResponseWriter, r *http.Request) error {
	j, err := s.pageJob(r)
	if err != nil {
		return err
	}
	q, err := failureQuery(r, j.ID, pageRows)
	if err != nil {
		return err
	}
	rows, next, err := s.Ledger.Failures(r.Context(), q)
	if err != nil {
		return err
	}
	v := listed(r, j, next)
	v.Filter, v.Failures = string(q.Fault), s.failureRows(rows)
	for _, f := range work.Faults() {
		v.Filters = append(v.Filters, string(f))
	}
	v.CLI = cli("tranship job failures "+j.ID.String(), "--fault", v.Filter, "--prefix", v.Prefix)
	if len(rows) > 0 && j.State != work.Canceled && rightsOf(r).Operate {
		v.Retry = "/jobs/" + j.ID.String() + "/retry?" + url.Values{"fault": {v.Filter}, "prefix": {v.Prefix}}.Encode()
		v.RetryCLI = cli("tranship job retry "+j.ID.String(), "--fault", v.Filter, "--prefix", v.Prefix)
	}
	return s.render(w, r, http.StatusOK, "failures.html",
		view{Title: "Failures of job " + j.ID.String(), Nav: "jobs", Page: v})
}

func (s *site) objectsPage(w http.ResponseWriter, r *http.Request) error {
	j, err := s.pageJob(r)
	if err != nil {
		return err
	}
	q, err := objectQuery(r, j.ID, pageRows)
	if err != nil {
		return err
	}
	rows, next, err := s.Ledger.Objects(r.Context(), q)
	if err != nil {
		return err
	}
	v := listed(r, j, next)
	v.Filter = r.URL.Query().Get("outcome")
	v.Filters = []string{string(work.Copied), string(work.Skipped), string(work.Failed), string(openObjects)}
	for _, o := range rows {
		v.Objects = append(v.Objects, objectRow{o, when(o.At, s.now()), attemptsHref(o.Job, o.Key)})
	}
	v.CLI = cli("tranship job objects "+j.ID.String(), "--outcome", string(q.Outcome), "--prefix", v.Prefix)
	if q.Open {
		v.CLI += " --open"
	}
	return s.render(w, r, http.StatusOK, "objects.html",
		view{Title: "Objects of job " + j.ID.String(), Nav: "jobs", Page: v})
}

func (s *site) pageJob(r *http.Request) (work.Job, error) {
	id, err := readJobID(r)
	if err != nil {
		return work.Job{}, err
	}
	return s.Ledger.Job(r.Context(), id)
}

// cli returns a command with those of its flags that have a value, quoted for
// a shell.
func cli(command string, flags ...string) string {
	for i := 0; i+1 < len(flags); i += 2 {
		if flags[i+1] != "" {
			command += " " + flags[i] + " " + shellQuote(flags[i+1])
		}
	}
	return command
}

// shellQuote returns s as one word of a POSIX shell; bytes that cannot be
// shown are written as $'…' does.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	if printable(s) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	b.WriteString("'")
	return b.String()
}

// press makes the handler of a button: it does the command and shows the job.
// done is for the error's text.
func (s *site) press(command func(context.Context, work.JobID, string) (work.Job, error), done string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := readJobID(r)
		if err != nil {
			return err
		}
		if _, err := command(r.Context(), id, work.CallerOf(r.Context()).Name); err != nil {
			return s.refused(r.Context(), id, done, err)
		}
		http.Redirect(w, r, "/jobs/"+id.String(), http.StatusSeeOther)
		return nil
	}
}

// pressRetry tries the failures again: of one fault and below one prefix, if
// the form or its address names them. The address can say any bytes.
func (s *site) pressRetry(w http.ResponseWriter, r *http.Request) error {
	id, err := readJobID(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return api.NewProblem(api.BadRequest, "the form cannot be read")
	}
	fault := work.Fault(r.Form.Get("fault"))
	if fault != "" && !slices.Contains(work.Faults(), fault) {
		return api.NewProblem(api.Invalid, "the form names an unknown fault")
	}
	q := work.RetryQuery{Job: id, Fault: fault, Prefix: r.Form.Get("prefix")}
	if _, err := s.Commander.Retry(r.Context(), q, work.CallerOf(r.Context()).Name); err != nil {
		return s.refused(r.Context(), id, "retried", err)
	}
	http.Redirect(w, r, "/jobs/"+id.String(), http.StatusSeeOther)
	return nil
}
