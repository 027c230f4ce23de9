package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// noon is when the tests' clocks stand.
var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// A fake is a Ledger and a Commander in memory that keeps the promises the
// interfaces make.
type fake struct {
	mu       sync.Mutex
	jobs     map[work.JobID]work.Job
	keys     map[string]created
	failures []work.Failure
	objects  []work.ObjectRow
	remarks  map[work.About]map[work.JobID][]work.Tally
	samples  map[work.JobID][]work.Sample
	events   []work.Event
	agents   []work.AgentRow
	limits   []work.Limit
	tokens   []work.Token
	parts    map[work.BreakdownQuery]work.Breakdown
	broken   error // what every call answers, if set
	reads    int   // calls of Events, to see what viewers cost
}

type created struct {
	id   work.JobID
	hash []byte
}

func newFake() *fake {
	return &fake{jobs: map[work.JobID]work.Job{}, keys: map[string]created{},
		remarks: map[work.About]map[work.JobID][]work.Tally{work.AboutSkipped: {}, work.AboutDropped: {}, work.AboutProof: {}},
		samples: map[work.JobID][]work.Sample{}}
}

// tell adds a line to the audit log; the caller holds the mutex.
func (f *fake) tell(job work.JobID, who, what, note string) {
	f.events = append(f.events, work.Event{ID: int64(len(f.events) + 1), Job: job, At: noon, Who: who, What: what, Note: note})
}

// change changes a job and lets the rest of the fake see it.
func (f *fake) change(id work.JobID, by func(*work.Job)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	by(&j)
	f.jobs[id] = j
}

func (f *fake) Job(_ context.Context, id work.JobID) (work.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return work.Job{}, f.broken
	}
	j, ok := f.jobs[id]
	if !ok {
		return work.Job{}, fmt.Errorf("read job %d: %w", id, work.ErrNoJob)
	}
	return j, nil
}

// paged cuts a page out of all. A cursor says how many came before.
func paged[T any](all []T, cursor string, limit int) ([]T, string, error) {
	from := 0
	if cursor != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(cursor, "after-"))
		if err != nil || n < 0 || n > len(all) {
			return nil, "", fmt.Errorf("%w: %q", work.ErrCursor, cursor)
		}
		from = n
	}
	upto := min(from+limit, len(all))
	next := ""
	if upto < len(all) {
		next = fmt.Sprintf("after-%d", upto)
	}
	return all[from:upto], next, nil
}

func (f *fake) Jobs(_ context.Context, q work.JobQuery) ([]work.Job, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, "", f.broken
	}
	var all []work.Job
	for _, j := range f.jobs {
		if (q.State == "" || j.State == q.State) && named(j, q.Text) && (!q.Failed || j.Failed > 0) {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b work.Job) int { return cmp.Compare(b.ID, a.ID) })
	return paged(all, q.Cursor, q.Limit)
}

func (f *fake) Failures(_ context.Context, q work.FailureQuery) ([]work.Failure, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []work.Failure
	for _, v := range f.failures {
		if v.Job == q.Job && (q.Fault == "" || v.Fault == q.Fault) && strings.HasPrefix(v.Key, q.Prefix) {
			all = append(all, v)
		}
	}
	return paged(all, q.Cursor, q.Limit)
}

func (f *fake) FailureTally(_ context.Context, id work.JobID) ([]work.Tally, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var tallies []work.Tally
	for _, v := range f.failures {
		if v.Job != id {
			continue
		}
		i := slices.IndexFunc(tallies, func(t work.Tally) bool { return t.Name == string(v.Fault) })
		if i < 0 {
			i, tallies = len(tallies), append(tallies, work.Tally{Name: string(v.Fault), Key: v.Key, Text: v.Message})
		}
		tallies[i].Count++
	}
	slices.SortStableFunc(tallies, func(a, b work.Tally) int { return cmp.Compare(b.Count, a.Count) })
	return tallies, nil
}

func (f *fake) Remarks(_ context.Context, id work.JobID, about work.About) ([]work.Tally, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remarks[about][id], nil
}

func (f *fake) Objects(_ context.Context, q work.ObjectQuery) ([]work.ObjectRow, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []work.ObjectRow
	for _, o := range f.objects {
		if o.Job == q.Job && (q.Outcome == "" || o.Outcome == q.Outcome) && (!q.Open || !o.Outcome.Final()) && strings.HasPrefix(o.Key, q.Prefix) && (!q.Whole || o.Key == q.Prefix) {
			all = append(all, o)
		}
	}
	return paged(all, q.Cursor, q.Limit)
}

func (f *fake) Balance(ctx context.Context, id work.JobID) (work.Balance, error) {
	j, err := f.Job(ctx, id)
	return work.Balance{Job: id, Kept: j.Counts, Counted: j.Counts, OpenItems: (j.Open + 255) / 256}, err
}

func (f *fake) Samples(_ context.Context, id work.JobID, since time.Time) ([]work.Sample, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.samples[id]), func(s work.Sample) bool { return s.At.Before(since) }), nil
}

func (f *fake) Events(_ context.Context, id work.JobID, after int64, limit int) ([]work.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.broken != nil {
		return nil, f.broken
	}
	var some []work.Event
	for _, e := range f.events {
		if (id == 0 || e.Job == id) && e.ID > after && len(some) < limit {
			some = append(some, e)
		}
	}
	return some, nil
}

func (f *fake) Agents(context.Context) ([]work.AgentRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.agents), f.broken
}

func (f *fake) Loads(context.Context, time.Duration) ([]work.SiteLoad, error) {
	return []work.SiteLoad{
		{Site: "hub", Ready: 60, Queued: 5, Bytes: 7 << 30, Oldest: 90 * time.Second, Agents: 2, Streams: 128, Rate: 5e6},
		{Site: "idle", Agents: 1, Streams: 64},
	}, f.broken
}

func (f *fake) CreateJob(_ context.Context, nj work.NewJob, idem work.Idempotency) (work.Job, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return work.Job{}, false, f.broken
	}
	if old, ok := f.keys[idem.Key]; ok && idem.Key != "" {
		if !bytes.Equal(old.hash, idem.Hash) {
			return work.Job{}, false, fmt.Errorf("create a job: %w", work.ErrIdempotency)
		}
		return f.jobs[old.id], false, nil
	}
	switch nj.Site {
	case work.AtSource: // where the source is nobody has said
		return work.Job{}, false, fmt.Errorf("%w: say it", work.ErrSite)
	case "":
		nj.Site = work.DefaultSite
	}
	j := work.Job{ID: work.JobID(len(f.jobs) + 1), Name: nj.Name, Source: nj.Source, Target: nj.Target, Options: nj.Options,
		Site: nj.Site, Class: nj.Class, State: work.Running, SubmittedBy: nj.SubmittedBy, CreatedAt: noon, StartedAt: noon, Scanning: true}
	f.jobs[j.ID] = j
	f.keys[idem.Key] = created{j.ID, idem.Hash}
	f.tell(j.ID, nj.SubmittedBy, "created", "")
	return j, true, nil
}

// move takes a job from one of some states to another.
func (f *fake) move(id work.JobID, who, what string, to work.JobState, from ...work.JobState) (work.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j, ok := f.jobs[id]
	switch {
	case f.broken != nil:
		return work.Job{}, f.broken
	case !ok:
		return work.Job{}, work.ErrNoJob
	case j.State == to:
		return j, nil
	case !slices.Contains(from, j.State):
		return work.Job{}, fmt.Errorf("%s job %d: %w", what, id, work.ErrState)
	}
	j.State = to
	if !to.Open() {
		j.FinishedAt = noon
	}
	f.jobs[id] = j
	f.tell(id, who, what, "")
	return j, nil
}

func (f *fake) Pause(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return f.move(id, who, "paused", work.Paused, work.Running)
}

func (f *fake) Resume(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return f.move(id, who, "resumed", work.Running, work.Paused)
}

func (f *fake) Cancel(_ context.Context, id work.JobID, who string) (work.Job, error) {
	return f.move(id, who, "canceled", work.Canceled, work.Running, work.Paused)
}

func (f *fake) Retry(_ context.Context, q work.RetryQuery, who string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return 0, f.broken
	}
	j, ok := f.jobs[q.Job]
	if !ok {
		return 0, work.ErrNoJob
	}
	if j.State == work.Canceled {
		return 0, work.ErrState
	}
	before := len(f.failures)
	f.failures = slices.DeleteFunc(f.failures, func(v work.Failure) bool {
		return v.Job == q.Job && (q.Fault == "" || v.Fault == q.Fault) && strings.HasPrefix(v.Key, q.Prefix)
	})
	n := int64(before - len(f.failures))
	j.Failed, j.Open, j.State, j.FinishedAt = j.Failed-n, j.Open+n, work.Running, time.Time{}
	f.jobs[j.ID] = j
	f.tell(j.ID, who, "retried", strings.TrimSpace(fmt.Sprintf("%d objects %s", n, q.Fault)))
	return n, nil
}

var errDown = errors.New(`pq: password authentication failed for SELECT secret FROM jobs`)

// atWork is a fleet with jobs in every state, at noon.
func atWork() *fake {
	f := newFake()
	options := work.DefaultOptions()
	job := func(id work.JobID, name, source, target string, state work.JobState, began, took time.Duration, c work.Counts) {
		j := work.Job{ID: id, Name: name, Source: source, Target: target, Options: options, Site: "aws-eu-west-1", Class: work.Norm,
			State: state, SubmittedBy: "ada@workstation", CreatedAt: noon.Add(-began), StartedAt: noon.Add(-began + time.Second), Counts: c}
		if !state.Open() {
			j.FinishedAt = j.StartedAt.Add(took)
		}
		f.jobs[id] = j
		f.tell(id, j.SubmittedBy, "created", "")
		f.events[len(f.events)-1].At = j.CreatedAt
	}
	const gib = 1 << 30
	job(1, "archive-2019", "s3://archive/2019/?region=us-east-1", "gs://cold-archive/2019/", work.Succeeded, 50*time.Hour, 7*time.Hour,
		work.Counts{Planned: 1204411, Copied: 1204411, Retries: 12, PlannedBytes: 5012 * gib, DoneBytes: 5012 * gib, MovedBytes: 5013 * gib})
	job(2, "", "file:///srv/exports/", "s3://backup/exports/?region=eu-west-1", work.JobFailed, 30*time.Hour, 3*time.Second, work.Counts{})
	f.change(2, func(j *work.Job) { j.Error = "list file:///srv/exports/: folder is not there" })
	job(3, "thumbnails", "s3://thumbs/", "gs://thumbs-eu/", work.Canceled, 26*time.Hour, 40*time.Minute,
		work.Counts{Planned: 80000, Copied: 31000, Open: 49000, PlannedBytes: 4 * gib, DoneBytes: 2 * gib, MovedBytes: 2 * gib})
	job(4, "invoices", "s3://invoices/2025/", "azblob://invoices/2025/", work.Incomplete, 5*time.Hour, 55*time.Minute,
		work.Counts{Planned: 91214, Copied: 91000, Skipped: 200, Failed: 14, Retries: 70, PlannedBytes: 12 * gib, DoneBytes: 12*gib - 4000, MovedBytes: 12 * gib})
	job(5, "video masters", "s3://masters/?region=us-west-2", "gs://masters-eu/", work.Paused, 20*time.Hour, 0,
		work.Counts{Planned: 5120, Copied: 2100, Open: 3020, PlannedBytes: 40960 * gib, DoneBytes: 16400 * gib, MovedBytes: 16402 * gib})
	job(6, "logs", "s3://logs/app/", "s3://logs-eu/app/?region=eu-central-1", work.Running, 8*time.Minute, 0,
		work.Counts{Planned: 2408, Open: 2408, PlannedBytes: 3 * gib})
	f.change(6, func(j *work.Job) {
		j.Site, j.Scanning = "gcp-europe-west4", true
		j.Stalled = &work.Stall{Since: j.CreatedAt, Ready: 10, Cause: work.StallNoAgent, Next: "Start an agent there.",
			Why: "no agent is at site gcp-europe-west4; the last one, west-1, was heard from at 2026-01-05 11:49:00 UTC"}
	})
	job(7, "product images", "s3://shop-images/originals/?region=eu-west-1", "gs://shop-images-eu/originals/", work.Running, 42*time.Minute, 0,
		work.Counts{Planned: 250000, Copied: 151210, Skipped: 12400, Failed: 37, Open: 86353, Retries: 412,
			PlannedBytes: 402 * gib, DoneBytes: 263 * gib, MovedBytes: 246 * gib})
	f.tell(7, "tranship", "listed", "250,000 objects in 61 pages")
	f.tell(7, "grace@laptop", "paused", "")
	f.tell(7, "grace@laptop", "resumed", "")
	f.fillJob7()
	f.fillParts()
	f.fillAgents()
	return f
}

// fillJob7 gives the busiest job samples, failures and objects.
func (f *fake) fillJob7() {
	j := f.jobs[7]
	const steps = 480 // of 5 s
	final := j.Copied + j.Skipped + j.Failed
	for i := range int64(steps) {
		// A rate that goes up and down, for the eye.
		part := float64(i)/steps + 0.006*math.Sin(float64(i)/9) + 0.004*math.Sin(float64(i)/31)
		s := work.Sample{At: noon.Add(time.Duration(i-steps+1) * 5 * time.Second), Failed: j.Failed * i / steps,
			Objects: int64(float64(final) * part), Bytes: int64(float64(j.DoneBytes) * part)}
		f.samples[7] = append(f.samples[7], s)
		if i%20 == 0 {
			f.samples[6] = append(f.samples[6], work.Sample{At: s.At})
		}
	}
	faults := []struct {
		fault   work.Fault
		message string
		n       int
	}{
		{work.Denied, "put originals/eu/0001.jpg: 403 AccessDenied: not authorized to perform s3:PutObject", 30},
		{work.Unsupported, "the target cannot hold this key: it is not UTF-8", 5},
		{work.Corrupt, "crc32c of the stream is 9a71bc02, the source says 1f2e3d4c", 2},
	}
	keys := []string{"eu/0001.jpg", "eu/<script>alert(1)</script>.jpg", "bad\x00key\xff", "eu/\u202egpj.exe", "日本/写真 1.jpg"}
	for _, x := range faults {
		for i := range x.n {
			f.failures = append(f.failures, work.Failure{Job: 7, Item: 9001, Key: fmt.Sprintf("%s#%d", keys[i%len(keys)], i),
				Fault: x.fault, Message: x.message, Attempts: 5, Agent: "hub-1", At: noon.Add(-time.Duration(i) * time.Minute)})
		}
	}
	for i := range 14 {
		f.failures = append(f.failures, work.Failure{Job: 4, Item: 512, Key: fmt.Sprintf("2025/%05d.pdf", i), Fault: work.NotFound,
			Message: "get: the object is not there", Attempts: 1, Agent: "hub-2", At: noon.Add(-4 * time.Hour)})
	}
	f.fillRemarks()
	for i := range 120 {
		o := work.ObjectRow{Job: 7, Item: 8000, Key: fmt.Sprintf("eu/%04d.jpg", i), Size: int64(1000 + i*7919), ETag: "9e107d9d372bb6826bd81d3542a419d6",
			Attempt: 1, Outcome: work.Copied, Proof: "crc32c", Checksum: "crc32c:1f2e3d4c", Agent: "hub-1", At: noon.Add(-time.Hour)}
		switch i % 6 {
		case 3:
			o.Outcome, o.Reason, o.Proof, o.Checksum = work.Skipped, "etag", "", ""
		case 4:
			o.Outcome, o.Proof, o.Checksum, o.Agent, o.At = "", "", "", "", time.Time{}
		case 5:
			o.Key, o.Outcome, o.Proof, o.Checksum, o.Error, o.Attempt = "bad\x00\xff", work.Failed, "", "", "the target cannot hold this key", 5
		}
		f.objects = append(f.objects, o)
	}
}
