package agent

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/work"
)

func TestGateOfOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stores{lanes: newLanes(0, 1<<20), open: map[string]*end{}}
		e := &end{bucket: s.lanes.bucket("s3://b"), url: "s3://b/prefix?region=x"}
		s.open[e.url] = e
		if err := e.note(unreachable()); refusal(err) || !storage.Is(err, work.Transient) || e.shut() {
			t.Errorf("note = %v of a store that was never reached, want an error like any other", err)
		}
		e.fine()
		for _, want := range []time.Duration{1, 2, 4, 8, 15, 15} {
			want *= time.Second
			if err := e.note(unreachable()); !refusal(err) {
				t.Errorf("note = %v, want a refusal", err)
			}
			e.fine() // it was asked before
			e.note(unreachable())
			if rest, broken := e.gate.rest(); rest != want || !broken {
				t.Errorf("closed for %v, want %v", rest, want)
			}
			if text := s.trouble(); !strings.Contains(text, "s3://b cannot be reached") || !strings.Contains(text, "connection refused") {
				t.Errorf("trouble %q, want the store and why", text)
			}
			time.Sleep(want)
		}
		e.note(slowDown(0))
		if text := s.trouble(); text != "" || !e.shut() {
			t.Errorf("trouble %q of a store that answers again, if only that it wants to be left alone", text)
		}
	})
}

// A job whose store has never answered must not wait for it: most likely it is
// named wrongly.
func TestStoreThatNeverAnswered(t *testing.T) {
	t.Parallel()
	r, src := moodyRig(t, unreachable())
	r.start()
	res := r.result(item(1))
	if res.Fault != work.Transient || !strings.Contains(res.Error, "connection refused") || src.asked.Load() != 1 {
		t.Errorf("result %+v after %d requests, want the failure at once", res, src.asked.Load())
	}
}

// An outage that shows as a store is opened costs no attempt either.
func TestStoreThatIsAwayWhenItIsOpened(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var tries atomic.Int64
	var there atomic.Bool
	r.prepare = func(a *Agent) {
		a.rest = 100 * time.Millisecond
		a.stores.opener.Drivers = storage.Drivers{"test": func(ctx context.Context, u *url.URL, c storage.Credentials) (storage.Store, error) {
			tries.Add(1)
			if !there.Load() {
				return nil, unreachable()
			}
			return r.open(ctx, u, c)
		}}
	}
	list := objects(t, r.src, 2, 100)
	a := r.start()
	if res := r.result(item(1)); res.Fault != work.Transient {
		t.Errorf("result %+v of a job's first item, want the failure at once", res)
	}
	before := tries.Load()
	r.publish(item(2, list...))
	r.eventually("it is tried and goes back", func() bool { return tries.Load() > before && a.inHand() == 0 })
	there.Store(true)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 2)
}

// A flaky store fails every request in passing, perhaps but the one that asks
// whether anybody is there.
type flaky struct {
	storage.Store
	puts, asked atomic.Int64
	there       atomic.Bool // somebody answers
	well        atomic.Bool
}

func (s *flaky) Stat(ctx context.Context, key string) (storage.Info, error) {
	switch {
	case key == askKey:
		s.asked.Add(1)
		if !s.there.Load() {
			return storage.Info{}, badGateway("stat")
		}
	case !s.well.Load():
		return storage.Info{}, badGateway("stat")
	}
	return s.Store.Stat(ctx, key)
}

func (s *flaky) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	s.puts.Add(1)
	if !s.well.Load() {
		return storage.Info{}, badGateway("put")
	}
	return s.Store.Put(ctx, key, body, size, opts)
}

func badGateway(op string) error {
	return &storage.Error{Op: op, Store: "test://dst/", Fault: work.Transient, Err: errors.New("injected: 502 Bad Gateway")}
}

// A store that fails everything is away, and costs its objects no attempt; one
// that fails this and that is not.
func TestStoreBehindABrokenGateway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src, dst := memstore.New(), &flaky{Store: memstore.New()}
		obj := object(t, src, "k", []byte("x"))
		tr := newTransfer(src, streamOnly{dst}, obj)

		if _, err := tr.run(t.Context()); !storage.Is(err, work.Transient) || refusal(err) || dst.asked.Load() != 0 {
			t.Errorf("%v after asking %d times, want the failure of a store that nobody has reached", err, dst.asked.Load())
		}
		tr.src.reached.Store(true)
		tr.dst.reached.Store(true)
		dst.there.Store(true)
		if _, err := tr.run(t.Context()); !storage.Is(err, work.Transient) || dst.asked.Load() != 1 {
			t.Errorf("%v after asking %d times, want the failure, after asking once", err, dst.asked.Load())
		}
		dst.there.Store(false)
		before := dst.puts.Load()
		if out, err := tr.run(t.Context()); !errors.Is(err, errRefused) {
			t.Errorf("%+v, %v, want %v", out, err, errRefused)
		}
		if n := dst.puts.Load() - before; n > 10 {
			t.Errorf("%d puts at a store that is away", n)
		}
		if text := tr.dst.gate.trouble("test://dst"); !strings.Contains(text, "502 Bad Gateway") {
			t.Errorf("trouble %q, want why it is away", text)
		}
		if tr.src.shut() {
			t.Error("the source is left alone too")
		}
		dst.there.Store(true)
		dst.well.Store(true)
		tr.turn = turn{}
		if out, err := tr.run(t.Context()); err != nil || out.Outcome != work.Copied {
			t.Errorf("%+v, %v after the store had come back", out, err)
		}
	})
}

// A mute store takes every request and says nothing, perhaps but to the one that
// asks whether anybody is there.
type mute struct {
	storage.Store
	there bool
}

func (s *mute) Stat(ctx context.Context, key string) (storage.Info, error) {
	if key == askKey && s.there {
		return s.Store.Stat(ctx, key)
	}
	return storage.Info{}, s.silence(ctx)
}

func (s *mute) Put(ctx context.Context, _ string, _ io.Reader, _ int64, _ storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, s.silence(ctx)
}

func (s *mute) silence(ctx context.Context) error {
	<-ctx.Done()
	return &storage.Error{Op: "put", Store: "test://dst/", Fault: work.Transient, Err: ctx.Err()}
}

// A stream that stalls before the store's own limits end it costs no attempt if
// the store is away.
func TestStallAtStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		there, reached bool
		want           error
	}{
		"away":      {false, true, errRefused},
		"there":     {true, true, errStalled},
		"not known": {false, false, errStalled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				src := memstore.New()
				tr := newTransfer(src, &mute{Store: streamOnly{memstore.New()}, there: tt.there}, object(t, src, "k", []byte("x")))
				tr.dst.reached.Store(tt.reached)
				go watch(ctx, []*flight{tr.flight}, askLimit)
				h := &held{pair: tr.pair, moving: ctx, starting: ctx, taking: ctx}
				moving := tr.flight.begin(h)
				defer tr.flight.end()
				err := new(Agent).guard(moving, task{h, 0}, tr.flight, func() error {
					_, err := tr.run(moving)
					return err
				})
				if !errors.Is(err, tt.want) || errors.Is(err, errRefused) != (tt.want == errRefused) || !storage.Is(err, work.Transient) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if tr.src.shut() || tr.dst.shut() != (tt.want == errRefused) {
					t.Errorf("source left alone %v, target %v", tr.src.shut(), tr.dst.shut())
				}
			})
		})
	}
}

// Only who may be to blame is asked.
func TestSuspects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &end{url: "test://dst/"}
		check := func(what string, began time.Time, want bool) {
			t.Helper()
			if got := e.suspect(began); got != want {
				t.Errorf("%s: suspect %v, want %v", what, got, want)
			}
			time.Sleep(time.Second)
		}
		began := time.Now()
		e.note(badGateway("put"))
		check("nobody has reached it", began, false)
		e.fine()
		check("it has served since", began, false)
		e.note(badGateway("put"))
		check("it has failed", began, true)
		check("it failed before", time.Now(), false)
		e.fine()
		check("it has served again", began, false)
	})
}

// What waits for long takes no more than the seats of the lounge, so that other
// stores' objects find streams.
func TestLongWaitsLeaveStreams(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{
		"throttled": slowDown(30 * time.Second), "unreachable": unreachable(), "expired": expired(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, src := moodyRig(t, why)
			r.prepare = func(a *Agent) { a.rest = time.Minute }
			list := objects(t, src.Store, 6, 100)
			for i := range list {
				list[i].ETag = ""
				r.publish(item(work.ItemID(i+1), list[i]))
			}
			a := r.start(func(c *config.Agent) { c.Streams = 4 })
			r.eventually("all but two went back", func() bool {
				return a.carrier.taken.Load() == 2 && a.inHand() == 2
			})
			r.stores["other"], r.stores["there"] = memstore.New(), memstore.New()
			other := item(100, objects(t, r.stores["other"], 50, 100)...)
			other.Source, other.Target = "test://other/", "test://there/"
			allCopied(t, r.result(other), 50)
		})
	}
}
