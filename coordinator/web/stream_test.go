package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

// follow collects messages of a stream until enough says so.
func follow(t *testing.T, b *bench, q api.StreamQuery, enough func(api.Message) bool) []api.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all []api.Message
	for m, err := range b.client.Events(ctx, q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
		if enough(m) {
			return all
		}
	}
	t.Fatalf("the stream ended after %+v", all)
	return nil
}

// TestStreamTellsAll sees how a stream begins and that it tells of a change, of
// an end and of the fleet.
func TestStreamTellsAll(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	seen := map[work.JobID]work.JobState{}
	agents, ended := 0, false
	follow(t, b, api.StreamQuery{}, func(m api.Message) bool {
		switch m.Type {
		case api.TypeJob:
			seen[m.Job.ID] = m.Job.State
			if m.Job.Progress == nil {
				t.Errorf("job %d has no progress", m.Job.ID)
			}
		case api.TypeAgents:
			agents = len(m.Agents)
			b.fake.change(7, func(j *work.Job) { j.State, j.FinishedAt = work.Succeeded, noon })
		case api.TypeEvent:
			t.Errorf("a stream without a place to resume tells old news: %+v", m.Event)
		}
		ended = seen[7] == work.Succeeded
		return ended
	})
	if len(seen) != 3 || agents != 5 {
		t.Errorf("told of jobs %v and %d agents, want the 3 open jobs and 5 agents", seen, agents)
	}
}

// TestStreamResumes reads on after an event, by both ways to say so, and across
// a connection that breaks.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	var ids []int64
	follow(t, b, api.StreamQuery{Job: 7, After: 8}, func(m api.Message) bool {
		if m.Event != nil {
			ids = append(ids, m.Event.ID)
		}
		return len(ids) == 2
	})
	if fmt.Sprint(ids) != "[9 10]" {
		t.Errorf("after event 8 came %v", ids)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", b.base+"/v1/events?after=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "9")
	resp, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	ids = nil
	for len(ids) < 2 && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Error(err)
			}
			ids = append(ids, id)
		}
	}
	if fmt.Sprint(ids) != "[9 10]" {
		t.Errorf("after Last-Event-ID 9 came the ids %v, want the place itself and the next event", ids)
	}
}

// TestStreamSurvivesRestart stops the server under a client, which must miss
// nothing.
func TestStreamSurvivesRestart(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork())
	old := serve(t, b.fake) // the server that will stop; both show the same ledger
	var mu sync.Mutex
	base := old.base
	client := api.NewClient("http://localhost", &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		r = r.Clone(r.Context())
		r.URL.Host = strings.TrimPrefix(base, "http://")
		return b.http.Transport.RoundTrip(r)
	})}, "")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	broke := 0
	for m, err := range client.Events(ctx, api.StreamQuery{Job: 7}) {
		switch {
		case err != nil:
			if !errors.Is(err, api.ErrUnreachable) {
				t.Fatal(err)
			}
			broke++
			mu.Lock()
			base = b.base
			mu.Unlock()
		case m.Event == nil && broke == 0:
			if err := old.server.Shutdown(ctx); err != nil {
				t.Errorf("a live stream keeps the server from stopping: %v", err)
			}
			b.fake.mu.Lock()
			b.fake.tell(7, "grace", "noticed", "while no one listened")
			b.fake.mu.Unlock()
		case m.Event != nil:
			if m.Event.What != "noticed" || broke != 1 {
				t.Errorf("after %d breaks came %+v", broke, m.Event)
			}
			return
		}
	}
	t.Fatal("the stream ended")
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestStreamsAreBounded fills every place and expects the next to be refused,
// and a place to be free again when someone goes.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) { b.site.streams = make(chan struct{}, 2) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, "GET", b.base+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	if p := b.problem(t, "GET", "/v1/events", ""); p.Code != api.TooManyStreams {
		t.Errorf("the third of two streams: %+v", p)
	}
	cancel()
	for deadline := time.Now().Add(20 * time.Second); len(b.site.streams) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the places of clients that went are not free")
		}
	}
}

// TestStreamOutlivesLimits holds a stream open for longer than the server's
// limits on a request, and through an outage of the ledger.
func TestStreamOutlivesLimits(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) {
		b.server.ReadTimeout, b.server.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
		b.site.one.keep, b.site.news.keep = 0, 0
	})
	began := time.Now()
	changes := 0
	follow(t, b, api.StreamQuery{Job: 7}, func(m api.Message) bool {
		if m.Job == nil {
			return false
		}
		changes++
		b.fake.mu.Lock()
		b.fake.broken = errDown
		b.fake.mu.Unlock()
		go func() { // ends with its own change, which the stream waits for
			time.Sleep(150 * time.Millisecond)
			b.fake.mu.Lock()
			b.fake.broken = nil
			b.fake.mu.Unlock()
			b.fake.change(7, func(j *work.Job) { j.Retries++ })
		}()
		return changes == 4
	})
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("three changes 150 ms apart took %s", took)
	}
	if !strings.Contains(b.log.String(), "live stream has no news") {
		t.Error("the log does not say that the ledger was away")
	}
}

// TestViewersShareReads counts what many viewers cost.
func TestViewersShareReads(t *testing.T) {
	t.Parallel()
	b := serve(t, atWork(), func(b *bench) { b.site.beat, b.site.news.keep = 5*time.Millisecond, time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for range b.client.Events(ctx, api.StreamQuery{Job: 7, After: 10}) {
				break // it was told how the job stands, after its events were read
			}
		})
	}
	wg.Wait()
	cancel()
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if b.fake.reads != 1 {
		t.Errorf("30 viewers of one job read its events %d times, want once", b.fake.reads)
	}
}

func TestLastEvent(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 3, 10, 100} {
		f := newFake()
		for i := range n {
			f.events = append(f.events, work.Event{ID: int64(i*i*7 + 1), Job: work.JobID(i%3 + 1)})
		}
		s := newSite(Deps{Ledger: f, Commander: f})
		for job := range work.JobID(4) {
			var want int64
			for _, e := range f.events {
				if job == 0 || e.Job == job {
					want = e.ID
				}
			}
			got, err := s.lastEvent(t.Context(), job)
			if err != nil || got != want {
				t.Errorf("last of %d events of job %d = %d, %v; want %d", n, job, got, err, want)
			}
		}
	}
}
