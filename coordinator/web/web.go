package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// Jobs reads jobs.
type Jobs interface {
	// Job returns the job, or an error that is work.ErrNoJob.
	Job(ctx context.Context, id work.JobID) (work.Job, error)
	// Jobs returns a page, newest first, and the cursor of the next; an empty
	// cursor means that it was the last. A cursor that was not given out is
	// work.ErrCursor.
	Jobs(ctx context.Context, q work.JobQuery) (jobs []work.Job, next string, err error)
}

// Failures reads what was given up.
type Failures interface {
	Failures(ctx context.Context, q work.FailureQuery) (failures []work.Failure, next string, err error)
	FailureTally(ctx context.Context, id work.JobID) ([]work.Tally, error)
	// Attempts returns attempts, the newest last, and whether there were more
	// before these. A key that the job has not found is work.ErrNoObject.
	Attempts(ctx context.Context, q work.AttemptQuery) (attempts []work.Attempt, older bool, err error)
	// Retryable counts what a Commander's Retry would take up, with its errors.
	Retryable(ctx context.Context, q work.RetryQuery) (objects, ranges int64, err error)
}

// Objects reads what became of each object.
type Objects interface {
	Objects(ctx context.Context, q work.ObjectQuery) (objects []work.ObjectRow, next string, err error)
	// Remarks counts the job's objects by what is remarked about them, the
	// most frequent first, each with an example.
	Remarks(ctx context.Context, id work.JobID, about work.About) ([]work.Tally, error)
	Balance(ctx context.Context, id work.JobID) (work.Balance, error)
	// Breakdown counts the job's objects by the next part of their keys.
	Breakdown(ctx context.Context, q work.BreakdownQuery) (work.Breakdown, error)
}

// History reads what happened when.
type History interface {
	// Samples returns the samples since a moment, oldest first.
	Samples(ctx context.Context, id work.JobID, since time.Time) ([]work.Sample, error)
	// Series returns at most so many of them, evenly over the time they span.
	Series(ctx context.Context, id work.JobID, since time.Time, points int) ([]work.Sample, error)
	// Events returns up to limit events with an id above after, by ascending
	// id; of one job, or of all if id is zero.
	Events(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error)
	// LatestEvents is like Events, by descending id: those with an id below
	// before, or the newest if that is zero.
	LatestEvents(ctx context.Context, id work.JobID, before int64, limit int) ([]work.Event, error)
}

// Fleet reads the agents.
type Fleet interface {
	Agents(ctx context.Context) ([]work.AgentRow, error)
	// Loads returns how much there is to do at each site; agents that were not
	// heard from within gone do not count.
	Loads(ctx context.Context, gone time.Duration) ([]work.SiteLoad, error)
}

// A Ledger is everything the pages show; in production it is a *ledger.Ledger.
type Ledger interface {
	Jobs
	Failures
	Objects
	History
	Fleet
}

// A Commander changes jobs and sees to it that the fleet hears of it. An error
// that is work.ErrNoJob, work.ErrState or work.ErrIdempotency means that
// nothing was changed. Pause, Resume and Cancel change nothing, and are no
// error, where the job is as asked for already.
type Commander interface {
	CreateJob(ctx context.Context, nj work.NewJob, idem work.Idempotency) (job work.Job, created bool, err error)
	Pause(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Resume(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Cancel(ctx context.Context, id work.JobID, who string) (work.Job, error)
	Retry(ctx context.Context, q work.RetryQuery, who string) (objects int64, err error)
	// SetClass changes nothing, and is no error, where the job is in the class.
	SetClass(ctx context.Context, id work.JobID, class work.Class, who string) (work.Job, error)
}

// Limits reads and changes the limits of the fleet.
type Limits interface {
	// Limits returns all limits, what agents may be using of them, and the
	// agents, as site/agent, that they do not bound.
	Limits(ctx context.Context) (limits []work.Limit, shares []work.ShareRow, unbounded []string, err error)
	// SetLimit makes a limit or replaces that of its scope and name, unless dry,
	// and returns what stood there before, if anything did. work.ErrNoJob and
	// work.ErrTooMany mean that nothing was changed.
	SetLimit(ctx context.Context, l work.Limit, who string, dry bool) (now work.Limit, before *work.Limit, err error)
	// RemoveLimit removes a limit, unless dry, and returns it. work.ErrNotThere
	// means that there is none.
	RemoveLimit(ctx context.Context, scope work.LimitScope, name, who string, dry bool) (work.Limit, error)
}

// Deps are what the handler works with.
type Deps struct {
	Ledger    Ledger
	Commander Commander
	Roster    Roster
	Messenger Messenger
	Limits    Limits
	Metrics   http.Handler // of /metrics
	Version   string
	Log       *slog.Logger

	Access Access
	Open   bool     // nobody is asked for a token
	URL    string   // where users reach the site, without a slash at its end; empty: as they name it
	Hosts  []string // names that the site goes by, besides addresses and those of this machine

	// Ready checks each thing the coordinator depends on, by name; a nil
	// error means that it works. An error that is a *Trouble says why not in
	// words for anybody.
	Ready func(ctx context.Context) map[string]error

	// Examine looks closely at these things, and has agents look at stores.
	Examine func(ctx context.Context, stores []work.StoreCheck) []work.Check

	// Away reports whether an error of the ledger says that it cannot be used
	// now, and why: words for anybody, to follow its name.
	Away func(error) (why string, away bool)
	// Well returns a context that ends when the ledger falls silent, with a
	// *Trouble as its cause: so nobody waits for it who need not.
	Well func() context.Context
}

// A site is the handler behind New.
type site struct {
	Deps
	mux     *http.ServeMux
	origin  *http.CrossOriginProtection
	streams chan struct{} // a place per live stream
	beat    time.Duration // how often a live stream looks for news
	now     func() time.Time

	known   *known
	rates   *limiters[work.TokenID] // of requests
	guesses *limiters[string]       // of secrets that are none, by address
	places  *places                 // of live streams, by token
	turns   turns                   // of strangers, to ask the ledger

	samples  *recent[work.JobID, []work.Sample]
	series   *recent[spanOf, []work.Sample]
	parts    *recent[work.BreakdownQuery, work.Breakdown]
	balances *recent[work.JobID, work.Balance]
	fails    *recent[work.JobID, []work.Tally]
	remarks  *recent[remark, []work.Tally]
	open     *recent[work.JobState, []work.Job]
	fleet    *recent[struct{}, fleet]
	checks   *recent[struct{}, map[string]error]
	news     *recent[position, []work.Event]
	one      *recent[work.JobID, api.Job]
	bounds   *recent[struct{}, api.LimitList]
}

// New returns the handler of the API, the status page and the metrics.
func New(d Deps) http.Handler { return newSite(d).guard() }

const (
	maxStreams = 100
	beatEvery  = time.Second
)

func newSite(d Deps) *site {
	s := &site{
		Deps:     d,
		mux:      http.NewServeMux(),
		origin:   http.NewCrossOriginProtection(),
		streams:  make(chan struct{}, maxStreams),
		beat:     beatEvery,
		now:      time.Now,
		known:    newKnown(),
		rates:    newLimiters[work.TokenID](requestRate, requestBurst),
		guesses:  newLimiters[string](failureRate, failureBurst),
		places:   &places{most: streamsOfOne},
		turns:    make(turns, maxStrangers),
		samples:  newRecent[work.JobID, []work.Sample](5 * time.Second),
		series:   newRecent[spanOf, []work.Sample](5 * time.Second),
		parts:    newRecent[work.BreakdownQuery, work.Breakdown](30 * time.Second),
		balances: newRecent[work.JobID, work.Balance](10 * time.Second),
		fails:    newRecent[work.JobID, []work.Tally](3 * time.Second),
		remarks:  newRecent[remark, []work.Tally](5 * time.Second),
		open:     newRecent[work.JobState, []work.Job](beatEvery),
		fleet:    newRecent[struct{}, fleet](beatEvery),
		checks:   newRecent[struct{}, map[string]error](5 * time.Second),
		news:     newRecent[position, []work.Event](beatEvery / 2),
		one:      newRecent[work.JobID, api.Job](beatEvery / 2),
		bounds:   newRecent[struct{}, api.LimitList](5 * time.Second),
	}
	if d.URL != "" {
		_ = s.origin.AddTrustedOrigin(d.URL) // the configuration was checked
	}
	for _, rt := range s.routes() {
		h := rt.handle
		if rt.brief() {
			h = s.brief(h)
		}
		s.mux.HandleFunc(rt.method+" "+rt.pattern, s.asked(rt, s.serve(h)))
	}
	s.mux.HandleFunc("/", s.serve(s.nothing))
	return s
}
