package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Client asks a coordinator. Every call has a deadline of its own besides
// the context's, and is repeated after a failure that may pass if repeating it
// does no harm.
type Client struct {
	// Who is asking, as the audit log is to show it. Set it before use.
	Who string

	base  string
	http  *http.Client
	token string
}

// NewClient returns a client of the coordinator at base, such as
// http://127.0.0.1:8480. A nil hc is a client of its own; a token, if there is
// one, is shown to whatever guards the server.
func NewClient(base string, hc *http.Client, token string) *Client {
	if hc == nil {
		hc = &http.Client{}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: hc, token: token}
}

// A Page says which part of a listing is asked for. The zero value is its
// beginning, as many as the server likes.
type Page struct {
	Cursor string
	Limit  int
}

func (p Page) into(q url.Values) url.Values {
	setText(q, "cursor", p.Cursor)
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

func setText(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// CreateJob asks for a job under an idempotency key, so that it can be
// repeated after any failure; an empty key means a new one. Replayed reports
// that the job was created by an earlier request with this key.
func (c *Client) CreateJob(ctx context.Context, nj NewJob, key string) (job Job, replayed bool, err error) {
	if key == "" {
		key = rand.Text()
	}
	h, err := c.do(ctx, call{doing: "create the job", method: http.MethodPost, path: "/v1/jobs", body: nj, key: key, repeat: true}, &job)
	return job, h.Get(HeaderReplayed) == "true", err
}

// Job returns a job with its progress.
func (c *Client) Job(ctx context.Context, id work.JobID) (Job, error) {
	var job Job
	err := c.get(ctx, "read job "+id.String(), jobPath(id, ""), nil, &job)
	return job, err
}

// Jobs returns a page of the jobs in a state, newest first; an empty state
// means any.
func (c *Client) Jobs(ctx context.Context, state work.JobState, p Page) (JobList, error) {
	q := p.into(url.Values{})
	setText(q, "state", string(state))
	var l JobList
	err := c.get(ctx, "list the jobs", "/v1/jobs", q, &l)
	return l, err
}

// Pause holds a job: agents take no more of its items.
func (c *Client) Pause(ctx context.Context, id work.JobID) (Job, error) {
	return c.act(ctx, id, "pause")
}

// Resume lets a paused job go on.
func (c *Client) Resume(ctx context.Context, id work.JobID) (Job, error) {
	return c.act(ctx, id, "resume")
}

// Cancel ends a job; what was copied stays.
func (c *Client) Cancel(ctx context.Context, id work.JobID) (Job, error) {
	return c.act(ctx, id, "cancel")
}

func (c *Client) act(ctx context.Context, id work.JobID, verb string) (Job, error) {
	var job Job
	_, err := c.do(ctx, call{doing: verb + " job " + id.String(), method: http.MethodPost, path: jobPath(id, verb), repeat: true}, &job)
	return job, err
}

// Retry tries failed objects of a job again, or counts them. It is not repeated
// by itself: a repetition does no harm, but would report fewer objects.
func (c *Client) Retry(ctx context.Context, id work.JobID, which Retry) (Retried, error) {
	var r Retried
	_, err := c.do(ctx, call{doing: "retry job " + id.String(), method: http.MethodPost, path: jobPath(id, "retry"), body: which}, &r)
	return r, err
}

// Failures returns a page of a job's failures, oldest first, of one fault and
// below a prefix of the key if these are given.
func (c *Client) Failures(ctx context.Context, q work.FailureQuery) (FailureList, error) {
	v := Page{q.Cursor, q.Limit}.into(url.Values{})
	setText(v, "fault", string(q.Fault))
	setText(v, "prefix", q.Prefix)
	var l FailureList
	err := c.get(ctx, "list the failures of job "+q.Job.String(), jobPath(q.Job, "failures"), v, &l)
	return l, err
}

// Objects returns a page of a job's objects.
func (c *Client) Objects(ctx context.Context, q work.ObjectQuery) (ObjectList, error) {
	v := Page{q.Cursor, q.Limit}.into(url.Values{})
	setText(v, "outcome", string(q.Outcome))
	if q.Open {
		v.Set("outcome", outcomeOpen)
	}
	setText(v, "prefix", q.Prefix)
	var l ObjectList
	err := c.get(ctx, "list the objects of job "+q.Job.String(), jobPath(q.Job, "objects"), v, &l)
	return l, err
}

// Attempts returns the attempts at an object of a job, or at listing its
// source. A key that is none of the job's is a Problem with the code NoObject.
func (c *Client) Attempts(ctx context.Context, q work.AttemptQuery) (AttemptList, error) {
	v := Page{Limit: q.Limit}.into(url.Values{})
	if !q.Listing {
		v.Set("key", q.Key)
	}
	var l AttemptList
	err := c.get(ctx, "list the attempts of job "+q.Job.String(), jobPath(q.Job, "attempts"), v, &l)
	return l, err
}

// Tallies counts a job's objects by what became of them.
func (c *Client) Tallies(ctx context.Context, id work.JobID) (Tallies, error) {
	var t Tallies
	err := c.get(ctx, "count the objects of job "+id.String(), jobPath(id, "tallies"), nil, &t)
	return t, err
}

// Balance returns the proof of a job's counters.
func (c *Client) Balance(ctx context.Context, id work.JobID) (Balance, error) {
	var b Balance
	err := c.get(ctx, "balance job "+id.String(), jobPath(id, "balance"), nil, &b)
	return b, err
}

// Samples returns how far a job had come since a moment; zero means an hour.
func (c *Client) Samples(ctx context.Context, id work.JobID, since time.Time) ([]work.Sample, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var l SampleList
	err := c.get(ctx, "read the samples of job "+id.String(), jobPath(id, "samples"), q, &l)
	return l.Samples, err
}

// JobEvents returns a job's events after the one with the id given, oldest
// first.
func (c *Client) JobEvents(ctx context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	q := Page{Limit: limit}.into(url.Values{})
	if after > 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	var l EventList
	err := c.get(ctx, "read the events of job "+id.String(), jobPath(id, "events"), q, &l)
	return l.Events, err
}

// Agents returns the fleet.
func (c *Client) Agents(ctx context.Context) ([]work.AgentRow, error) {
	var l AgentList
	err := c.get(ctx, "list the agents", "/v1/agents", nil, &l)
	return l.Agents, err
}

// Examine has the server look at all that it depends on, and agents at stores.
// It takes up to half a minute.
func (c *Client) Examine(ctx context.Context, x Examination) ([]work.Check, error) {
	var l CheckList
	_, err := c.do(ctx, call{doing: "examine the fleet", method: http.MethodPost, path: "/v1/doctor", body: x}, &l)
	return l.Checks, err
}

// Version returns which program the server runs.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	err := c.get(ctx, "ask for the version", "/version", nil, &v)
	return v, err
}

// Ready returns what the server depends on and whether it works. A server
// that is not ready is an answer, not an error.
func (c *Client) Ready(ctx context.Context) (Ready, error) {
	var r Ready
	_, err := c.do(ctx, call{doing: "ask whether the server is ready", method: http.MethodGet, path: "/readyz",
		also: http.StatusServiceUnavailable, repeat: true}, &r)
	return r, err
}
