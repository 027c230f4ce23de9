package agent

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
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
	done := make(chan struct{})
	entered := make(chan bool)
	go func() { entered <- l.enter(done) }()
	l.leave()
	if !<-entered {
		t.Error("there was room, and nobody got in")
	}
	go func() { entered <- l.enter(done) }()
	close(done)
	if <-entered {
		t.Error("somebody got in where there was no room")
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
