package agent

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/work"
)

// storeShare is a share of the limit of the rig's target.
func storeShare(bytes int64, requests float64) work.Share {
	return work.Share{Limit: 1, Scope: work.LimitStore, Name: "test://dst", Rate: work.Rate{Bytes: bytes, Requests: requests},
		Stop: bytes == 0 && requests == 0}
}

// A limited is an agent's limits and a stream that keeps to them.
type limited struct {
	t   *testing.T
	l   *limits
	f   *flight
	seq int64
}

func newLimited(t *testing.T) *limited {
	lounge := &lounge{seats: 4}
	a := &Agent{limits: newLimits("s", lounge)}
	h := &held{agent: a, item: item(1, work.Object{Key: "k"})}
	h.moving, h.abandon = context.WithCancelCause(t.Context())
	h.starting, h.stop = context.WithCancelCause(h.moving)
	h.taking = t.Context()
	return &limited{t: t, l: a.limits, f: &flight{total: new(atomic.Int64), item: h}}
}

// told lets the shares count from now on, and returns what was used before.
func (l *limited) told(shares ...work.Share) []work.Use {
	l.t.Helper()
	l.seq++
	hello := l.l.take(work.Allotment{})
	t := l.l.take(work.Allotment{Seq: l.seq, Since: hello.Stamp, For: 15 * time.Second, Shares: shares})
	if t.Seq != l.seq {
		l.t.Fatalf("the agent took %d, was told %d", t.Seq, l.seq)
	}
	return hello.Uses
}

func (l *limited) pay(n int64) error {
	return (&toll{ctx: l.t.Context(), flight: l.f, at: atSource | atTarget}).pay(n)
}

func TestAllotmentIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		hello := l.l.take(work.Allotment{Seq: 9})
		if hello.Seq != 0 || hello.Stamp == "" || len(hello.Uses) != 0 {
			t.Errorf("an allotment that counts from nothing is answered by %+v", hello)
		}
		for _, tt := range []struct {
			why  string
			a    work.Allotment
			wait time.Duration
			want int64
		}{
			{"it is new", work.Allotment{Seq: 9, Since: hello.Stamp, For: time.Minute}, 0, 9},
			{"it is older", work.Allotment{Seq: 8, Since: hello.Stamp, For: time.Minute}, 0, 9},
			{"it is of another process", work.Allotment{Seq: 10, Since: "X" + hello.Stamp, For: time.Minute}, 0, 9},
			{"it counts from an answer to come", work.Allotment{Seq: 10, Since: l.l.life + ".99", For: time.Minute}, 0, 9},
			{"its time is over when it comes", work.Allotment{Seq: 10, Since: hello.Stamp, For: time.Minute}, time.Minute, 9},
		} {
			time.Sleep(tt.wait)
			if got := l.l.take(tt.a).Seq; got != tt.want {
				t.Errorf("%s: allotment %d counts, want %d", tt.why, got, tt.want)
			}
		}
		first := l.l.take(work.Allotment{})
		for range stampsKept {
			l.l.take(work.Allotment{})
		}
		if got := l.l.take(work.Allotment{Seq: 11, Since: first.Stamp, For: time.Minute}).Seq; got != 9 {
			t.Errorf("allotment %d counts from an answer that is forgotten", got)
		}
	})
}

// However many streams there are, together they keep to the share, and it is
// used; the shares may change meanwhile.
func TestShareBoundsBytes(t *testing.T) {
	t.Parallel()
	for name, per := range map[string]int64{"little": 64 << 10, "much": 64 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLimited(t)
				l.told(storeShare(per, 0)) // first: what nothing bounds does not wait
				ctx, stop := context.WithCancel(t.Context())
				var passed atomic.Int64
				var longest atomic.Int64
				var streams sync.WaitGroup
				for range 16 {
					streams.Go(func() {
						toll := &toll{ctx: ctx, flight: l.f, at: atTarget}
						for {
							n := toll.piece(1 << 20)
							began := time.Now()
							if err := toll.pay(int64(n)); err != nil {
								return
							}
							longest.Store(max(longest.Load(), int64(time.Since(began))))
							passed.Add(int64(n))
						}
					})
				}
				measure := func(per int64) {
					t.Helper()
					before := passed.Load()
					for range 10 {
						time.Sleep(time.Second)
						l.told(storeShare(per, 0))
					}
					if got := float64(passed.Load()-before) / 10 / float64(per); got > 1.1 || got < 0.9 {
						t.Errorf("%.2f of a share of %d was used", got, per)
					}
				}
				measure(per)
				time.Sleep(time.Second)
				if u := l.told(storeShare(per, 0)); !u[0].MoreBytes || u[0].MoreRequests {
					t.Errorf("streams that wait for bytes say %+v", u)
				}
				l.told(storeShare(10*per, 0))
				time.Sleep(time.Second)
				measure(10 * per)
				if d := time.Duration(longest.Load()); d > 3*time.Second {
					t.Errorf("a stream waited for %v for its turn", d)
				}
				l.told(storeShare(per/2, 0))
				time.Sleep(2 * time.Second)
				measure(per / 2)
				stop()
				streams.Wait()
			})
		})
	}
}

func TestShareBoundsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		l.told(storeShare(0, 5))
		e := &end{url: "test://dst/"}
		ctx := context.WithValue(t.Context(), flightKey{}, l.f)
		began := time.Now()
		for range 21 {
			if err := e.asks(ctx); err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > time.Second {
				l.told(storeShare(0, 5))
			}
		}
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4300*time.Millisecond {
			t.Errorf("21 requests at 5 a second took %v", took)
		}
		if err := (&end{url: "test://src/"}).asks(t.Context()); err != nil {
			t.Errorf("who is no stream asks: %v", err)
		}
		src := &end{url: l.f.item.item.Source}
		began = time.Now()
		for range 100 {
			if err := src.asks(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("requests to another store took %v", took)
		}
	})
}

// When the time of the shares is over nothing moves that they bound; it goes on
// when there are new ones.
func TestSharesFallClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		l.told(storeShare(1<<20, 0))
		if err := l.pay(1 << 10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if err := l.pay(1); !errors.Is(err, errNoShare) || !errors.Is(err, errRefused) {
			t.Errorf("without a share bytes pass: %v", err)
		}
		if text := l.l.trouble(); !strings.Contains(text, "no coordinator says") {
			t.Errorf("the agent says of it %q", text)
		}
		done := make(chan error)
		go func() { done <- l.pay(1) }()
		time.Sleep(2 * time.Second)
		l.told(storeShare(1<<20, 0))
		if err := <-done; err != nil {
			t.Errorf("with a new share: %v", err)
		}
		if text := l.l.trouble(); text != "" {
			t.Errorf("all is well, and the agent says %q", text)
		}
		l.told(storeShare(0, 0))
		if err := l.pay(1); !errors.Is(err, errNoShare) {
			t.Errorf("with a share of nothing bytes pass: %v", err)
		}
		go func() { done <- l.pay(1) }()
		time.Sleep(2 * time.Second)
		l.told() // there is no limit any more
		if err := <-done; err != nil {
			t.Errorf("without a limit: %v", err)
		}
	})
}

// What passes counts for each store, and once for the site and the job.
func TestBytesCountOnEachSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t)
		share := func(id work.LimitID, scope work.LimitScope, name string) work.Share {
			return work.Share{Limit: id, Scope: scope, Name: name, Rate: work.Rate{Bytes: 1 << 30, Requests: 1 << 20}}
		}
		shares := []work.Share{
			share(1, work.LimitStore, "test://src"), share(2, work.LimitStore, "test://dst"), share(3, work.LimitSite, "s"),
			share(4, work.LimitJob, "1"), share(5, work.LimitJob, "2"), share(6, work.LimitStore, "test://other"), share(7, work.LimitSite, "t"),
		}
		l.told(shares...)
		for _, tl := range []toll{{at: atSource}, {at: atTarget, again: true}, {at: atSource | atTarget}} {
			tl.ctx, tl.flight = t.Context(), l.f
			if err := tl.pay(1000); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		want := map[work.LimitID]int64{1: 2000, 2: 2000, 3: 2000, 4: 2000}
		for _, u := range l.l.take(work.Allotment{}).Uses {
			if u.Bytes > want[u.Limit] || u.Bytes < want[u.Limit]-1 {
				t.Errorf("%d bytes a second count for limit %d, want %d", u.Bytes, u.Limit, want[u.Limit])
			}
		}
	})
}

// An item that is limited waits for the agent's share, and goes back by the
// ledger when there is none; nothing of it moves before.
func TestLimitedItemWaitsForShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepare = func(a *Agent) { a.limits.soon, a.limits.wait = 50*time.Millisecond, 100*time.Millisecond }
	door := newDoorkeeper()
	close(door.open)
	r.dst = door
	list := objects(t, r.src, 20, 100)
	a := r.start()
	it := item(1, list...)
	it.Limited = true
	r.publish(it)
	ctx := testContext(t)
	var back []work.Result
	for len(back) == 0 {
		got, ack, err := r.hub.Results(ctx, 100, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, got...)
		if err := ack(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if res := back[0]; !res.Returned || !strings.Contains(res.Error, "no share") || door.puts.Load() != 0 {
		t.Fatalf("a limited item without a share: %+v, %d objects were moved", res, door.puts.Load())
	}
	var hello work.Taken
	r.eventually("the agent answers", func() (ok bool) {
		var err error
		hello, err = r.hub.Allot(ctx, "s", a.cfg.Name, work.Allotment{})
		return err == nil
	})
	got, err := r.hub.Allot(ctx, "s", a.cfg.Name, work.Allotment{Seq: 1, Since: hello.Stamp, For: time.Minute,
		Shares: []work.Share{storeShare(1<<30, 1<<20)}})
	if err != nil || got.Seq != 1 {
		t.Fatalf("Allot = %+v, %v", got, err)
	}
	it.Epoch++
	it.ID++
	r.publish(it)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 20)
	used, err := r.hub.Allot(ctx, "s", a.cfg.Name, work.Allotment{})
	if err != nil || len(used.Uses) != 1 || used.Uses[0].Bytes == 0 || used.Uses[0].Requests == 0 {
		t.Errorf("it says of what it used: %+v, %v", used, err)
	}
}

// A body that waits for a share which does not come costs its object no attempt.
func TestBodyWithoutShareGoesBack(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1 << 10, "whole": 40 << 10, "parts": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.dst = partsOnlyOf(r.dst)
			list := objects(t, r.src, 1, size)
			r.prepare = func(a *Agent) {
				a.limits.soon, a.limits.wait = 20*time.Millisecond, 40*time.Millisecond
				hello := a.limits.take(work.Allotment{})
				a.limits.take(work.Allotment{Seq: 1, Since: hello.Stamp, For: time.Minute, Shares: []work.Share{
					{Limit: 1, Scope: work.LimitSite, Name: "s", Rate: work.Rate{Requests: 1e6}},
					{Limit: 2, Scope: work.LimitJob, Name: "1", Rate: work.Rate{Bytes: 1 << 10}}}})
			}
			a := r.start()
			r.publish(item(1, list...))
			r.eventually("bytes are paid for", func() bool {
				a.limits.mu.Lock()
				defer a.limits.mu.Unlock()
				return a.limits.shares[2].bytes.used.Load() > 0
			})
			hello := a.limits.take(work.Allotment{})
			a.limits.take(work.Allotment{Seq: 2, Since: hello.Stamp, For: time.Minute, Shares: []work.Share{
				{Limit: 2, Scope: work.LimitJob, Name: "1", Stop: true}}})
			ctx := testContext(t)
			for {
				got, ack, err := r.hub.Results(ctx, 100, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if err := ack(ctx); err != nil {
					t.Fatal(err)
				}
				for _, res := range got {
					if size > 1<<10 && !res.Returned { // a small one may have paid already
						t.Errorf("it says %+v", res)
					}
				}
				if len(got) > 0 {
					break
				}
			}
		})
	}
}

// A limit of a named store is not evaded by a job that names the URL which the
// configuration opens as that store.
func TestLimitOfNamedStoreIsNotEvadedByItsURL(t *testing.T) {
	t.Parallel()
	known := config.Stores{"old-photos": {URL: "s3://photos?region=eu-west-1", Match: []string{"s3://photos"}}}
	for limit, want := range map[string]bool{"store://old-photos": true, "store://old-photos/2020": true, "store://old-photos/2021": false, "store://old": false} {
		const raw = "s3://photos/2020/"
		p, err := known.Resolve(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&end{place: p}).concerned(limit, raw); got != want {
			t.Errorf("a limit of %s is kept for %s: %v, want %v", limit, raw, got, want)
		}
	}
}

// A job that names a store otherwise than the limit does is bound all the same.
func TestShareBoundsStoreByAnyName(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	h := l.f.holder()
	h.item.Source, h.item.Target = "test://src/", "store://there/below/"
	h.pair.src, h.pair.dst = &end{}, &end{place: config.Place{URL: "test://dst/photos/below/"}}
	l.told(storeShare(1<<20, 0))
	if b := h.bounds(); len(b.dst) != 1 || len(b.src) != 0 {
		t.Errorf("of %s, which is %s, %d limits are kept, and %d at the source", h.item.Target, h.pair.dst.place.URL, len(b.dst), len(b.src))
	}
}
