package agent

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A narrow store takes a while for each object, and throttles when too many
// are put at once.
type narrow struct {
	storage.Store
	takes      time.Duration
	most       int64 // 0: as many as come
	now, peak  atomic.Int64
	throttlers atomic.Int64
}

func (s *narrow) Put(ctx context.Context, key string, body io.Reader, size int64, o storage.PutOptions) (storage.Info, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for p := s.peak.Load(); n > p && !s.peak.CompareAndSwap(p, n); p = s.peak.Load() {
	}
	if s.most > 0 && n > s.most {
		s.throttlers.Add(1)
		return storage.Info{}, &storage.Error{Op: "put", Store: "narrow", Key: key, Fault: work.Throttled}
	}
	time.Sleep(s.takes)
	return s.Store.Put(ctx, key, body, size, o)
}

// copyMany has an agent copy n small objects and returns what it last said of
// its streams while it was at it.
func copyMany(t *testing.T, r *rig, a *running, n int) work.Tuning {
	t.Helper()
	var items []work.Item
	for i := 0; i < n; i += work.MaxItemObjects {
		var objects []work.Object
		for j := i; j < min(n, i+work.MaxItemObjects); j++ {
			objects = append(objects, object(t, r.src, "k"+work.ItemID(j).String(), storagetest.Bytes(j, 100)))
		}
		items = append(items, item(work.ItemID(i+1), objects...))
	}
	r.publish(items...)
	all := r.results(func(rs []work.Result) bool { return len(rs) >= len(items) })
	for _, res := range all {
		for i, out := range res.Outcomes {
			if out.Outcome != work.Copied {
				t.Fatalf("object %d of item %d is %+v", i, res.Item, out)
			}
		}
	}
	said := a.Presence().Tuning
	if len(said) != 1 || said[0].Source != "test://src" || said[0].Target != "test://dst" {
		t.Fatalf("the agent says %+v of its streams, want one pair of stores", said)
	}
	return said[0]
}

func TestStreamsAreFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dst := &narrow{Store: r.dst, takes: 10 * time.Millisecond, most: 12}
	r.dst = dst
	a := r.start(func(c *config.Agent) { c.Streams, c.Memory = 0, 64<<20 })
	said := copyMany(t, r, a, 6000)
	if dst.throttlers.Load() == 0 {
		t.Fatal("the store was never asked for too much: nothing was tried")
	}
	if !strings.Contains(said.Why, "throttled") || said.Streams > 12 || said.Fixed {
		t.Errorf("the agent says %+v; want no more streams than the store bears, and why", said)
	}
	if n := a.Presence().Limit; n > 16 {
		t.Errorf("it may move %d objects at once", n)
	}
}

func TestStreamsAreFixedByFlag(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dst := &narrow{Store: r.dst, takes: time.Millisecond}
	r.dst = dst
	said := copyMany(t, r, r.start(func(c *config.Agent) { c.Streams = 3 }), 500)
	if want := (work.Tuning{Source: "test://src", Target: "test://dst", Streams: 3, Why: "fixed by agent.streams", Fixed: true, Rate: said.Rate}); said != want {
		t.Errorf("the agent says %+v, want %+v", said, want)
	}
	if p := dst.peak.Load(); p != 3 {
		t.Errorf("up to %d objects moved at once, want 3", p)
	}
}

func TestLaneHasRoomForAsManyAsItSays(t *testing.T) {
	t.Parallel()
	s := newLanes(2, 1<<20)
	l := s.between(s.bucket("s3://a"), s.bucket("s3://b"))
	if s.between(s.bucket("s3://a"), s.bucket("s3://b")) != l {
		t.Error("the same two buckets have two lanes")
	}
	for i, want := range []bool{true, true, false} {
		if got := l.tryEnter(); got != want {
			t.Errorf("place %d: %v", i+1, got)
		}
	}
	l.leave()
	<-s.freed
	if !l.tryEnter() {
		t.Error("there is room, and nobody got in")
	}
	if n := s.streams(); n != 2 {
		t.Errorf("%d streams may be busy, want 2", n)
	}
	l.leave()
	l.leave()
	s.turn(time.Now().Add(forgetLane+time.Second), time.Second)
	if len(s.all) != 0 || len(s.tuning()) != 0 {
		t.Error("a lane that nobody uses is not forgotten")
	}
}

// TestSlowLaneHoldsUpNoOther: two buckets between which next to nothing moves
// keep neither other buckets nor a listing waiting.
func TestSlowLaneHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	slow := &doorkeeper{Store: memstore.New(), knocked: make(chan string, 1000), open: make(chan struct{})}
	r.stores["slow"] = slow
	r.start(func(c *config.Agent) { c.Streams = 0 })
	var items []work.Item
	for i := range 6 { // three behind each other, and then such as could move
		var objects []work.Object
		for j := range 20 {
			objects = append(objects, object(t, r.src, fmt.Sprintf("%d/%d", i, j), storagetest.Bytes(j, 100)))
		}
		it := item(work.ItemID(i+1), objects...)
		it.Job = work.JobID(1 + i/3)
		if i < 3 {
			it.Target = "test://slow/"
		}
		items = append(items, it)
	}
	items = append(items, item(99))
	for _, job := range []work.JobID{1, 2} {
		if err := r.hub.SetJob(testContext(t), job, work.JobControl{State: work.Running}); err != nil {
			t.Fatal(err)
		}
	}
	r.publish(items...)
	quick := map[work.ItemID]bool{4: true, 5: true, 6: true, 99: true}
	r.results(func(rs []work.Result) bool {
		done := map[work.ItemID]bool{}
		for _, res := range rs {
			if !quick[res.Item] {
				t.Fatalf("item %d ended, whose store lets nobody in", res.Item)
			}
			done[res.Item] = true
		}
		return len(done) == len(quick)
	})
	close(slow.open)
	r.results(func(rs []work.Result) bool {
		done := map[work.ItemID]bool{}
		for _, res := range rs {
			done[res.Item] = true
		}
		return done[1] && done[2] && done[3]
	})
}

// TestNoPlaceOnALaneIsLost: items that are put down in the very moment in which
// a stream asks for a task leave nothing behind.
func TestNoPlaceOnALaneIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dst = &narrow{Store: r.dst, takes: time.Millisecond}
	a := r.start(func(c *config.Agent) { c.Streams = 4 })
	control := func(s work.JobState) {
		if err := r.hub.SetJob(testContext(t), 1, work.JobControl{State: s}); err != nil {
			t.Fatal(err)
		}
	}
	var objects []work.Object
	for j := range 200 {
		objects = append(objects, object(t, r.src, fmt.Sprint(j), storagetest.Bytes(j, 100)))
	}
	r.publish(item(1, objects...), item(2, objects...), item(3, objects...))
	for range 20 {
		control(work.Running)
		time.Sleep(3 * time.Millisecond)
		control(work.Paused)
	}
	r.eventually("nothing is in hand", func() bool { return a.inHand() == 0 })
	a.lanes.mu.Lock()
	defer a.lanes.mu.Unlock()
	for _, l := range a.lanes.all {
		if l.used != 0 {
			t.Errorf("%d places are taken, and nobody is there", l.used)
		}
	}
}
