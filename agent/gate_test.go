package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func slowDown(after time.Duration) error {
	return &storage.Error{Op: "put", Store: "test://dst/", Fault: work.Throttled, After: after, Err: errors.New("injected: slow down")}
}

func expired() error {
	return &storage.Error{Op: "put", Store: "test://dst/", Fault: work.Denied, Expired: true, Err: errors.New("injected: token expired")}
}

func unreachable() error {
	return &storage.Error{Op: "put", Store: "test://dst/", Fault: work.Transient, Unreachable: true, Err: errors.New("injected: connection refused")}
}

func newCarrier() *carrier { return newTransfer(nil, nil, work.Object{}).carrier }

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		e, c, f := &end{}, newCarrier(), &flight{total: new(atomic.Int64)}
		waited := func() time.Duration {
			t.Helper()
			began := time.Now()
			if err := new(turn).wait(ctx, c, f, e); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if d := waited(); d != 0 {
			t.Errorf("waited %v before an open gate", d)
		}
		e.note(slowDown(0))
		e.note(slowDown(0)) // of the same burst
		if d := waited(); d < firstPause || d > 2*firstPause {
			t.Errorf("waited %v, want about %v", d, firstPause)
		}
		if d := waited(); d != 0 {
			t.Errorf("waited %v again", d)
		}
		for range 20 {
			time.Sleep(lastPause)
			e.note(slowDown(0))
		}
		if d := waited(); d < lastPause || d > 2*lastPause {
			t.Errorf("waited %v after 20 refusals, want about %v", d, lastPause)
		}
		e.note(slowDown(30 * time.Second))
		e.note(slowDown(20 * time.Second))
		if d := waited(); d < 30*time.Second || d > 30*time.Second+lastPause {
			t.Errorf("waited %v where the store asked for 30 s", d)
		}
		e.note(slowDown(time.Hour))
		if rest, _ := e.gate.rest(); rest != longestPause {
			t.Errorf("closed for %v where the store asked for an hour, want %v", rest, longestPause)
		}
		if err := new(turn).wait(ctx, c, f, e); !errors.Is(err, errRefused) {
			t.Errorf("wait = %v before a gate that is closed for long, want %v", err, errRefused)
		}
		time.Sleep(longestPause)
		for range 200 {
			e.gate.fine()
		}
		if e.gate.pause != 0 {
			t.Errorf("after 200 successes the pause is still %v", e.gate.pause)
		}
		e.note(slowDown(0))
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errPaused)
		if err := new(turn).wait(ctx, c, f, e); !errors.Is(err, errPaused) {
			t.Errorf("wait = %v, want why it was ended", err)
		}
	})
}

// Where nothing works the first finds out for all whether that is over.
func TestGateLetsInOneByOne(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{"throttled": slowDown(0), "expired": expired(), "unreachable": unreachable()} {
		synctest.Test(t, func(t *testing.T) {
			e := &end{url: "s3://b"}
			e.reached.Store(true)
			e.note(why)
			enter := func(when string, want ...bool) {
				t.Helper()
				for _, want := range want {
					if rest, _ := e.gate.enter(); (rest == 0) != want {
						t.Errorf("%s, %s: closed for %v, want open %v", name, when, rest, want)
					}
				}
			}
			wait := func() {
				rest, _ := e.gate.rest()
				time.Sleep(rest)
			}
			pause := e.gate.pause
			enter("at once", false)
			wait()
			enter("after the pause", true, name == "throttled")
			time.Sleep(oneByOne)
			enter("when nobody says anything", true, name == "throttled")
			e.note(why)
			e.note(why) // by one who was in before
			if e.gate.pause != 2*pause {
				t.Errorf("%s: a pause of %v, want twice %v", name, e.gate.pause, pause)
			}
			wait()
			enter("after the second pause", true)
			e.fine()
			enter("after a success", true, true)
		})
	}
}

func TestGateOfExpiredCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stores{lanes: newLanes(0, 1<<20), open: map[string]*end{}}
		e := &end{bucket: s.lanes.bucket("s3://b"), url: "s3://b/prefix?region=x"}
		s.open[e.url] = e
		for _, want := range []time.Duration{firstRenewal, 2 * firstRenewal, 4 * firstRenewal, 8 * firstRenewal, lastRenewal, lastRenewal} {
			e.note(expired())
			e.gate.fine() // it was asked before
			e.note(expired())
			if rest, lapsed := e.gate.rest(); rest != want || !lapsed {
				t.Errorf("closed for %v, want %v", rest, want)
			}
			if text := s.trouble(); !strings.Contains(text, "s3://b have expired") || !strings.Contains(text, "token expired") {
				t.Errorf("trouble %q, want the store and why", text)
			}
			time.Sleep(want)
		}
		if closed := s.gates(); closed["s3://b"] || len(closed) != 1 {
			t.Errorf("gates %v, want one that may be tried", closed)
		}
		if s.trouble() == "" {
			t.Error("no trouble although nothing has worked since")
		}
		e.gate.fine()
		if text := s.trouble(); text != "" || e.shut() {
			t.Errorf("trouble %q after a success", text)
		}
		e.note(expired())
		time.Sleep(2 * staleTrouble)
		if text := s.trouble(); text != "" {
			t.Errorf("trouble %q of a store that nobody asks any more", text)
		}
	})
}

// However long a store asks to slow down, the object does not fail for it.
func TestThrottledStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "in parts": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				src := memstore.New()
				obj := object(t, src, "k", storagetest.Bytes(1, size))
				var tally storagetest.Tally
				always := true
				dst := storagetest.Faulty(noCopy(memstore.New()), storagetest.Faults{Tally: &tally, Script: func(c storagetest.Call) storagetest.Kind {
					writes := c.Op == "put" || c.Op == "part"
					if writes && always || c.Op == "begin" && c.N < 3 {
						return storagetest.Throttled
					}
					return ""
				}})
				tr := newTransfer(src, dst, obj)
				began := time.Now()
				if out, err := tr.run(t.Context()); !errors.Is(err, errRefused) {
					t.Errorf("%+v, %v, want %v", out, err, errRefused)
				}
				if d := time.Since(began); d < refusedLimit/2 || d > refusedLimit {
					t.Errorf("waited %v, want at most %v", d, refusedLimit)
				}
				if n := tally.Calls("put") + tally.Calls("part"); n < 5 || n > 60 {
					t.Errorf("%d tries in that time", n)
				}
				if tr.src.gate.pause != 0 {
					t.Error("the source is left alone too")
				}
				always, tr.turn = false, turn{}
				if out, err := tr.run(t.Context()); err != nil || out.Outcome != work.Copied {
					t.Errorf("%+v, %v after the store had recovered", out, err)
				}
			})
		})
	}
}

// A moody store refuses while it is told to.
type moody struct {
	storage.Store
	mood  atomic.Pointer[storage.Error]
	asked atomic.Int64
}

func (m *moody) Stat(ctx context.Context, key string) (storage.Info, error) {
	m.asked.Add(1)
	if e := m.mood.Load(); e != nil {
		return storage.Info{}, e
	}
	return m.Store.Stat(ctx, key)
}

func (m *moody) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	m.asked.Add(1)
	if e := m.mood.Load(); e != nil {
		return e
	}
	return m.Store.List(ctx, r, fn)
}

// moodyRig has a source that refuses at first, and an agent that does not wait
// for it.
func moodyRig(t *testing.T, why error) (*rig, *moody) {
	r := newRig(t)
	m := &moody{Store: r.src}
	m.mood.Store(why.(*storage.Error))
	r.src = m
	r.prepare = func(a *Agent) { a.rest, a.carrier.refused = 100*time.Millisecond, time.Millisecond }
	return r, m
}

// reopen opens the gates of an agent wide, as time and luck would.
func reopen(a *running) {
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	for _, e := range a.stores.open {
		e.gate.mu.Lock()
		e.gate.until, e.gate.pause = time.Time{}, min(e.gate.pause, firstPause)
		e.gate.mu.Unlock()
	}
}

// An item that waits for a store that refuses goes back to the queue, costs no
// attempt, and holds up nothing else.
func TestRefusedItemsGoBack(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{"throttled": slowDown(0), "expired": expired(), "unreachable": unreachable()} {
		for _, kind := range []work.Kind{work.Copy, work.Scan} {
			t.Run(name+" "+string(kind), func(t *testing.T) {
				t.Parallel()
				r, src := moodyRig(t, why)
				list := objects(t, src.Store, 20, 100)
				for i := range list {
					list[i].ETag = "" // so that the source is asked
				}
				it := item(1, list...)
				if kind == work.Scan {
					it = item(1)
					it.Range.After = "k" // the first would fail if nobody answered
				}
				r.publish(it)
				a := r.start()
				r.eventually("the source is asked", func() bool { return src.asked.Load() > 0 })
				r.eventually("it went back", func() bool { return a.inHand() == 0 })
				if text := a.Presence().Trouble; (text != "") != (name != "throttled") {
					t.Errorf("trouble %q", text)
				}
				if n := testutil.CollectAndCount(&pauses{stores: a.stores, desc: newPausedDesc()}); n != 2 {
					t.Errorf("%d stores tell whether they are paused, want 2", n)
				}
				if a.stores.gates()["test://dst"] {
					t.Error("the target is left alone too")
				}
				counted := testutil.ToFloat64(a.metrics.throttles.WithLabelValues("test://src"))
				if (counted > 0) != (name == "throttled") {
					t.Errorf("%v refusals counted", counted)
				}
				r.stores["other"], r.stores["there"] = memstore.New(), memstore.New()
				other := item(2, object(t, r.stores["other"], "k", []byte("x")))
				other.Source, other.Target = "test://other/", "test://there/"
				allCopied(t, r.result(other), 1)

				src.mood.Store(nil)
				var done []work.Result
				r.eventually("it is done", func() bool {
					reopen(a)
					got, ack, err := r.hub.Results(testContext(t), 10, 50*time.Millisecond)
					if err != nil || ack(testContext(t)) != nil {
						t.Fatal(err)
					}
					done = append(done, got...)
					return len(done) > 0
				})
				if kind == work.Copy {
					allCopied(t, done[0], 20)
				} else if p := done[0].Page; p == nil || len(p.Found) != 20 {
					t.Errorf("result %+v, want a page of 20 objects", done[0])
				}
				if text := a.Presence().Trouble; text != "" {
					t.Errorf("trouble %q after it was over", text)
				}
			})
		}
	}
}

// Objects wait for credentials that are renewed soon, but never on all streams.
func TestWaitingForCredentials(t *testing.T) {
	t.Parallel()
	r, src := moodyRig(t, expired())
	r.prepare = func(a *Agent) { a.rest = time.Minute }
	list := objects(t, src.Store, 3, 100)
	for i := range list {
		list[i].ETag = ""
		r.publish(item(work.ItemID(i+1), list[i]))
	}
	a := r.start(func(c *config.Agent) { c.Streams = 4 })
	r.eventually("two wait and one went back", func() bool {
		return a.carrier.taken.Load() == 2 && a.inHand() == 2 && src.asked.Load() > 0
	})
	a.stop()
	a.wait(t)
	if n := a.objects.Load(); n != 0 {
		t.Errorf("%d objects were done", n)
	}
}
