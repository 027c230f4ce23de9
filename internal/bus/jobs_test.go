package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tranship/tranship/internal/work"
)

// A board is what a watcher was told.
type board struct {
	mu    sync.Mutex
	jobs  map[work.JobID]work.JobControl
	calls int
}

func (b *board) set(id work.JobID, c work.JobControl) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs[id] = c
	b.calls++
}

func (b *board) state(id work.JobID) work.JobState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs[id].State
}

// watch runs a watcher until the test ends.
func watch(t *testing.T, b *Bus) *board {
	t.Helper()
	seen := &board{jobs: map[work.JobID]work.JobControl{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.WatchJobs(ctx, seen.set) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Errorf("WatchJobs = %v", err)
		}
	})
	return seen
}

func set(t *testing.T, b *Bus, id work.JobID, s work.JobState) {
	t.Helper()
	if err := b.SetJob(testContext(t), id, work.JobControl{State: s}); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, b *Bus, id work.JobID) {
	t.Helper()
	if err := b.DropJob(testContext(t), id); err != nil {
		t.Fatal(err)
	}
}

func TestWatchJobs(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	set(t, b, 1, work.Running)
	set(t, b, 2, work.Paused)
	set(t, b, 3, work.Running)
	drop(t, b, 3)
	drop(t, b, 99) // was never there
	seen := watch(t, agent)
	eventually(t, "the watcher hears what is there", func() bool {
		return seen.state(1) == work.Running && seen.state(2) == work.Paused
	})
	if _, ok := seen.jobs[3]; ok {
		t.Error("a new watcher was told of a job that is over")
	}
	set(t, b, 1, work.Paused)
	eventually(t, "it hears a pause", func() bool { return seen.state(1) == work.Paused })
	drop(t, b, 2)
	eventually(t, "it hears an end", func() bool { return seen.state(2) == "" })

	set(t, b, 1, work.Paused) // nothing new
	set(t, b, 4, work.Running)
	eventually(t, "it hears a new job", func() bool { return seen.state(4) == work.Running })
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.calls != 5 {
		t.Errorf("the watcher was called %d times, want 5", seen.calls)
	}
}

func TestWatchSurvivesLostBucket(t *testing.T) {
	t.Parallel()
	b, agent := newFleet(t, Options{})
	agent.watchFor = time.Second
	set(t, b, 1, work.Running)
	set(t, b, 2, work.Running)
	seen := watch(t, agent)
	eventually(t, "the watcher hears what is there", func() bool { return seen.state(2) == work.Running })
	if err := b.js.DeleteKeyValue(testContext(t), jobsBucket); err != nil {
		t.Fatal(err)
	}
	set(t, b, 1, work.Paused) // makes the bucket anew, without job 2
	eventually(t, "it hears of the new bucket", func() bool {
		return seen.state(1) == work.Paused && seen.state(2) == ""
	})
}

func TestWatchBeforeSetup(t *testing.T) {
	t.Parallel()
	s := startServer(t, ServerOptions{})
	seen := watch(t, connect(t, Options{Server: s, Name: "early"}))
	b := connect(t, Options{Server: s})
	if err := b.Setup(testContext(t)); err != nil {
		t.Fatal(err)
	}
	set(t, b, 1, work.Running)
	eventually(t, "an early watcher hears", func() bool { return seen.state(1) == work.Running })
}

// A mute watcher is one whose subscription ended before the client listened
// for that: its updates are never closed.
type mute struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (m mute) Stop() error                             { return nil }
func (m mute) Updates() <-chan jetstream.KeyValueEntry { return m.updates }

// TestMuteWatchEnds: waiting for such a watcher kept agents from stopping.
func TestMuteWatchEnds(t *testing.T) {
	t.Parallel()
	w := mute{updates: make(chan jetstream.KeyValueEntry, 3)}
	w.updates <- nil
	ended := make(chan struct{})
	go func() { endWatch(w); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the watch did not end")
	}
	if len(w.updates) != 0 {
		t.Error("an update was not taken")
	}
}
