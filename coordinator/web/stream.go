package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

const (
	commentEvery = 15 * time.Second
	sendTimeout  = 10 * time.Second // a client that takes nothing for so long is dropped
	newsLimit    = 200              // events read at once
	openLimit    = 50               // jobs of each open state that a stream tells of
)

// followEvents sends how things stand, and then what changes, until the client
// goes or the server stops.
func (s *site) followEvents(w http.ResponseWriter, r *http.Request) error {
	st, err := s.newStream(r)
	if err != nil {
		return err
	}
	leave, ok := s.places.take(work.CallerOf(r.Context()).Token)
	if !ok {
		return tooManyStreams()
	}
	defer leave()
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return tooManyStreams()
	}
	if st.job != 0 {
		if _, err := s.Ledger.Job(r.Context(), st.job); err != nil {
			return err
		}
	}
	if st.after < 0 {
		if st.after, err = s.lastEvent(r.Context(), st.job); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must pass each message on
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	st.out = http.NewResponseController(w)
	st.w = w
	return st.run(r.Context())
}

func tooManyStreams() error {
	p := api.NewProblem(api.TooManyStreams, "")
	p.RetryAfter = 10 * time.Second
	return p
}

// A stream is one client's view of what happens. It is used by one goroutine.
type stream struct {
	site  *site
	w     http.ResponseWriter
	out   *http.ResponseController
	job   work.JobID  // zero: all open jobs and the fleet
	after int64       // last event sent; below zero: not known yet
	gone  func() bool // the client's token or session is no more

	sent   map[work.JobID][]byte // what was last said of each job that is open
	agents []byte                // what was last said of the fleet
	quiet  time.Time             // since when nothing was sent
}

func (s *site) newStream(r *http.Request) (*stream, error) {
	p := readParams(r, "job", "after")
	st := &stream{site: s, sent: map[work.JobID][]byte{},
		job: work.JobID(p.number("job", 0, 1, 1<<62)), after: p.number("after", -1, 0, 1<<62),
		gone: func() bool { return s.isGone(r) }}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			p.header("Last-Event-ID", "is not one that was given out")
		}
		st.after = n
	}
	return st, p.err()
}

// run sends until the client goes, the server stops, or a write fails. A read
// that fails is tried again at the next beat: comments tell the client that
// the stream lives.
func (st *stream) run(ctx context.Context) error {
	if err := st.out.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift the read deadline of a live stream: %w", err)
	}
	stop := stopping(ctx)
	beat := time.NewTicker(st.site.beat)
	defer beat.Stop()
	// The place comes first: a client that loses the connection before the
	// first event resumes from here, and misses none.
	if err := st.write(fmt.Appendf(nil, "id: %d\n\n", st.after)); err != nil {
		return nil
	}
	for {
		frames, err := st.news(ctx)
		if err != nil && ctx.Err() == nil {
			st.site.Log.WarnContext(ctx, "live stream has no news", "request_id", requestIDOf(ctx), "err", err)
		}
		if len(frames) == 0 && time.Since(st.quiet) >= commentEvery {
			frames = []byte(": still here\n\n")
		}
		if len(frames) > 0 && st.write(frames) != nil {
			return nil // the client is gone
		}
		if st.gone() {
			return nil
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			return nil
		case <-stop:
			return nil
		}
	}
}

func (st *stream) write(frames []byte) error {
	if err := st.out.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := st.w.Write(frames); err != nil {
		return err
	}
	st.quiet = time.Now()
	return st.out.Flush()
}

// news returns what there is to tell. What was read before an error is told.
func (st *stream) news(ctx context.Context) ([]byte, error) {
	var b bytes.Buffer
	err := st.newEvents(ctx, &b)
	switch {
	case err != nil:
	case st.job != 0:
		err = st.newJob(ctx, &b, st.job)
	default:
		if err = st.newJobs(ctx, &b); err == nil {
			err = st.newAgents(ctx, &b)
		}
	}
	return b.Bytes(), err
}

// A position is where a stream stands in the audit log.
type position struct {
	job   work.JobID
	after int64
}

func (st *stream) newEvents(ctx context.Context, b *bytes.Buffer) error {
	s := st.site
	events, err := s.news.get(ctx, position{st.job, st.after}, func(ctx context.Context, at position) ([]work.Event, error) {
		return s.Ledger.Events(ctx, at.job, at.after, newsLimit)
	})
	if err != nil {
		return err
	}
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode event %d: %w", e.ID, err)
		}
		fmt.Fprintf(b, "id: %d\n", e.ID)
		frame(b, api.TypeEvent, data)
		st.after = e.ID
	}
	return nil
}

// newJobs tells of open jobs that have come on and of those that ended since.
func (st *stream) newJobs(ctx context.Context, b *bytes.Buffer) error {
	open := map[work.JobID]bool{}
	for _, state := range []work.JobState{work.Running, work.Paused} {
		jobs, err := st.site.openJobs(ctx, state)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			open[j.ID] = true
			if err := st.newJob(ctx, b, j.ID); err != nil {
				return err
			}
		}
	}
	for id := range st.sent {
		if open[id] {
			continue
		}
		if err := st.newJob(ctx, b, id); err != nil {
			return err
		}
		delete(st.sent, id)
	}
	return nil
}

// openJobs returns the newest jobs in an open state.
func (s *site) openJobs(ctx context.Context, state work.JobState) ([]work.Job, error) {
	return s.open.get(ctx, state, func(ctx context.Context, state work.JobState) ([]work.Job, error) {
		jobs, _, err := s.Ledger.Jobs(ctx, work.JobQuery{State: state, Limit: openLimit})
		return jobs, err
	})
}

// newJob tells of a job if it is not as it was told.
func (st *stream) newJob(ctx context.Context, b *bytes.Buffer, id work.JobID) error {
	job, err := st.site.one.get(ctx, id, st.site.job)
	if err != nil {
		return err
	}
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", id, err)
	}
	// The estimate moves with the clock; it is told when the job comes on, and
	// when it no longer does.
	told, err := json.Marshal(struct {
		work.Job
		Moving bool
	}{job.Job, job.Progress.ObjectsRate > 0})
	if err != nil {
		return fmt.Errorf("encode job %s: %w", id, err)
	}
	if !bytes.Equal(told, st.sent[id]) {
		frame(b, api.TypeJob, data)
		st.sent[id] = told
	}
	return nil
}

func (st *stream) newAgents(ctx context.Context, b *bytes.Buffer) error {
	agents, err := st.site.agents(ctx)
	if err != nil {
		return err
	}
	data, err := json.Marshal(api.AgentList{Agents: notNil(agents)})
	if err != nil {
		return fmt.Errorf("encode the agents: %w", err)
	}
	if !bytes.Equal(data, st.agents) {
		frame(b, api.TypeAgents, data)
		st.agents = data
	}
	return nil
}

// agents returns the fleet as it was a moment ago.
func (s *site) agents(ctx context.Context) ([]work.AgentRow, error) {
	return s.fleet.get(ctx, struct{}{}, func(ctx context.Context, _ struct{}) ([]work.AgentRow, error) {
		return s.Ledger.Agents(ctx)
	})
}

// frame writes one message; JSON holds no line break.
func frame(b *bytes.Buffer, kind string, data []byte) {
	fmt.Fprintf(b, "event: %s\ndata: %s\n\n", kind, data)
}

// lastEvent returns the id of the newest event of a job, or of all. It probes:
// the ledger tells events after an id, and ids only grow.
func (s *site) lastEvent(ctx context.Context, job work.JobID) (int64, error) {
	var low, high int64 = 0, 1 // there is an event after low, or none at all; high is a guess
	for {
		events, err := s.Ledger.Events(ctx, job, high, 1)
		if err != nil {
			return 0, err
		}
		if len(events) == 0 {
			break
		}
		low, high = events[0].ID, max(events[0].ID*2, 1)
	}
	for low < high { // the newest id is in [low, high]
		mid := low + (high-low)/2
		events, err := s.Ledger.Events(ctx, job, mid, 1)
		if err != nil {
			return 0, err
		}
		if len(events) == 0 {
			high = mid
		} else {
			low = events[0].ID
		}
	}
	return low, nil
}
