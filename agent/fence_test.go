package agent

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A crypt is a target at which the first who stores something stands still,
// before its request arrives or in the middle of its body, until it is raised.
type crypt struct {
	*memstore.Store
	heedless bool // it knows no conditions
	midway   bool
	once     sync.Once
	buried   chan struct{}
	raised   chan struct{}
	late     chan error // what became of what the first stored
}

func newCrypt(heedless, midway bool) *crypt {
	return &crypt{Store: memstore.New(), heedless: heedless, midway: midway,
		buried: make(chan struct{}), raised: make(chan struct{}), late: make(chan error, 1)}
}

func (c *crypt) Traits() storage.Traits {
	t := c.Store.Traits()
	t.Fences = !c.heedless
	return t
}

// still runs do; for the first caller stop stands still, and what do returns is
// kept.
func (c *crypt) still(do func(stop func()) error) error {
	first := false
	c.once.Do(func() { first = true })
	if !first {
		return do(func() {})
	}
	err := do(func() {
		close(c.buried)
		<-c.raised
	})
	c.late <- err
	return err
}

func (c *crypt) heed(opts storage.PutOptions) storage.PutOptions {
	if c.heedless {
		opts.If = storage.Condition{}
	}
	return opts
}

func (c *crypt) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (in storage.Info, err error) {
	err = c.still(func(stop func()) (err error) {
		if !c.midway {
			stop()
		} else {
			body = io.MultiReader(io.LimitReader(body, size/2), readerFunc(func([]byte) (int, error) { stop(); return 0, io.EOF }), body)
		}
		in, err = c.Store.Put(ctx, key, body, size, c.heed(opts))
		return err
	})
	return in, err
}

func (c *crypt) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (in storage.Info, err error) {
	err = c.still(func(stop func()) (err error) {
		stop()
		in, err = c.Store.Commit(ctx, u, parts, c.heed(opts))
		return err
	})
	return in, err
}

// CopyFrom hides that of the memory store.
func (c *crypt) CopyFrom(context.Context, string, storage.Store, storage.Info, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, &storage.Error{Op: "copy", Fault: work.Unsupported}
}

// An agent that stands still as it stores an object, until others have copied
// that and then a newer version of it, does not replace the newer version.
func TestZombie(t *testing.T) {
	t.Parallel()
	const small, streamed = 1000, 50 << 10
	for _, tt := range []struct {
		name     string
		size     int
		heedless bool
		midway   bool
		there    bool // something else, before all this
		compare  work.Compare
	}{
		{"conditions", small, false, false, false, work.CompareContent},
		{"conditions, in a body", streamed, false, true, false, work.CompareContent},
		{"conditions, over something", small, false, false, true, work.CompareContent},
		{"conditions, over something, in a body", streamed, false, true, true, work.CompareContent},
		{"conditions of a commit", bigSize, false, false, true, work.CompareContent},
		{"lease", small, true, false, false, work.CompareContent},
		{"lease, in a body", streamed, true, true, false, work.CompareContent},
		{"lease, nothing compared", streamed, false, true, true, work.CompareNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRigOf(t, time.Second)
			grave := newCrypt(tt.heedless, tt.midway)
			r.dst = grave
			if tt.there {
				put(t, grave.Store, "k", []byte("old"))
			}
			hand := func(id work.ItemID, content []byte, check bool) work.Item {
				obj := object(t, r.src, "k", content)
				obj.Check = check && tt.compare != work.CompareNone
				it := item(id, obj)
				it.Options.Compare = tt.compare
				return it
			}
			r.publish(hand(1, storagetest.Bytes(1, tt.size), tt.there))
			r.prepare = func(a *Agent) { a.ackWait = always(time.Hour) } // it never says that it is alive, and is cut off below
			zombie := r.start()
			<-grave.buried
			zombie.all()[0].lease.lose()

			r.prepare = func(*Agent) {}
			zombie.drain() // or it would take the item again
			r.start()
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
			allCopied(t, res, 1)
			newer := storagetest.Bytes(2, tt.size+1)
			allCopied(t, r.result(hand(2, newer, true)), 1)

			close(grave.raised)
			if err := <-grave.late; err == nil {
				t.Error("what the zombie stored was taken")
			} else if !tt.heedless && tt.compare != work.CompareNone && !storage.Clashed(err) && !strings.Contains(err.Error(), errLease.Error()) {
				t.Errorf("it failed by %v", err)
			}
			zombie.wait(t)
			if got := content(t, grave.Store, "k"); string(got) != string(newer) {
				t.Errorf("the target has %d bytes, want the newer version", len(got))
			}
		})
	}
}

// What is stored in the place of nothing may be late, and is reported: the work
// was not in vain.
func TestLateSuccess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	grave := newCrypt(false, true)
	r.dst = grave
	want := storagetest.Bytes(1, 50<<10)
	r.publish(item(1, object(t, r.src, "k", want)))
	a := r.start()
	<-grave.buried
	a.all()[0].lease.lose()
	close(grave.raised)
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
	if got := content(t, grave.Store, "k"); string(got) != string(want) {
		t.Errorf("%d other bytes arrived", len(got))
	}
}

// A late agent does not give back what another has by now.
func TestLapsedItemIsNotGivenBack(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, 2*time.Second)
	grave := newCrypt(true, true)
	r.dst = grave
	r.publish(item(1, object(t, r.src, "k", storagetest.Bytes(1, 50<<10))))
	r.prepare = func(a *Agent) { a.ackWait = always(time.Hour) }
	a := r.start()
	<-grave.buried
	a.all()[0].lease.lose()
	a.drain()
	ctx := testContext(t)
	mine, err := r.hub.Take(ctx, "s", 1, patience)
	if err != nil || len(mine) != 1 {
		t.Fatalf("Take = %v, %v", mine, err)
	}
	close(grave.raised)
	a.wait(t)
	if err := mine[0].InProgress(ctx); err != nil {
		t.Fatal(err)
	}
	if again, err := r.hub.Take(ctx, "s", 1, 500*time.Millisecond); err != nil || len(again) > 0 {
		t.Errorf("Take = %v, %v, although somebody has the item", again, err)
	}
	if err := mine[0].Ack(); err != nil {
		t.Fatal(err)
	}
}

// Of an item whose lease is over nothing more is stored or said: it is left to
// whoever gets it next, who may be the same agent.
func TestLapsedItemIsDropped(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, 2*time.Second)
	grave := newCrypt(true, true)
	r.dst = grave
	r.publish(item(1, object(t, r.src, "k", storagetest.Bytes(1, 50<<10))))
	a := r.start()
	<-grave.buried
	a.all()[0].lease.lose()
	close(grave.raised)
	if err := <-grave.late; err == nil || !strings.Contains(err.Error(), errLease.Error()) {
		t.Errorf("the body ended in %v, want %v", err, errLease)
	}
	allCopied(t, r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0], 1)
}

// An agent that cannot reach the queue does not know that its item is its own.
func TestLeaseNeedsTheQueue(t *testing.T) {
	t.Parallel()
	r := newRigOf(t, 4*time.Second)
	grave := newCrypt(true, true)
	r.dst = grave
	r.publish(item(1, object(t, r.src, "k", storagetest.Bytes(1, 50<<10))))
	a := r.start()
	<-grave.buried
	h := a.all()[0]
	heard := func() time.Time {
		h.lease.mu.Lock()
		defer h.lease.mu.Unlock()
		return h.lease.heard
	}
	first := heard()
	r.eventually("the lease is renewed", func() bool { return heard().After(first) })
	r.server.Shutdown()
	r.eventually("the lease is over", h.lease.over)
	close(grave.raised)
	if err := <-grave.late; err == nil {
		t.Error("it was stored")
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if (*lease)(nil).over() || new(lease).over() {
			t.Error("a lease without a limit is over")
		}
		l := &lease{limit: always(time.Minute), heard: time.Now()}
		start := time.Now()
		time.Sleep(59 * time.Second)
		if l.over() {
			t.Error("it is over too early")
		}
		l.renew(start.Add(50 * time.Second))
		l.renew(start) // an answer that came late
		time.Sleep(50 * time.Second)
		if l.over() {
			t.Error("it was not renewed")
		}
		time.Sleep(time.Second)
		if !l.over() {
			t.Error("it is not over")
		}
		l.renew(time.Now())
		if !l.over() {
			t.Error("it came back")
		}
	})
}

// A clash with the very object is a success that another had; with anything
// else it is tried again, and nothing is stored in the same attempt.
func TestClash(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "streamed": 20 << 10, "in parts": bigSize, "server-side": 999} {
		for _, same := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				src, inner := memstore.New(), memstore.New()
				want := storagetest.Bytes(1, size)
				obj := object(t, src, "k", want)
				there := want
				if !same {
					there = storagetest.Bytes(2, size)
				}
				put(t, inner, "k", there)
				var tally storagetest.Tally
				dst := storagetest.Faulty(inner, storagetest.Faults{Tally: &tally})
				if name != "server-side" {
					dst = partsOnlyOf(dst)
				}
				out, err := carry(t, newTransfer(src, dst, obj))
				if same && (err != nil || out.Outcome != work.Copied || out.Reason != "present") {
					t.Errorf("%+v, %v, want it found present", out, err)
				}
				if !same && (!storage.Clashed(err) || outcomeOf(err).Outcome != work.Retry || outcomeOf(err).Fault != work.Transient ||
					!strings.Contains(err.Error(), "somebody else")) {
					t.Errorf("%+v, %v, want it tried again for a clash", out, err)
				}
				if got := content(t, inner, "k"); string(got) != string(there) {
					t.Error("it was replaced")
				}
				if n := tally.Calls("put") + tally.Calls("commit") + tally.Calls("copy"); n != 1 {
					t.Errorf("%d writes, want one: %v", n, &tally)
				}
				if left, err := inner.Pending(t.Context(), "k"); err != nil || len(left) > 0 {
					t.Errorf("%d uploads left, %v", len(left), err)
				}
				tr := newTransfer(src, dst, obj) // the next attempt
				tr.again = true
				if out, err := carry(t, tr); err != nil || out.Outcome != work.Copied {
					t.Errorf("and again: %+v, %v", out, err)
				}
				if got := content(t, inner, "k"); string(got) != string(want) {
					t.Error("and again: the target has other bytes")
				}
			})
		}
	}
}

// Nothing that is looked at changes unseen before it is replaced.
func TestReplacesWhatItSaw(t *testing.T) {
	t.Parallel()
	src, inner := memstore.New(), memstore.New()
	obj := object(t, src, "k", storagetest.Bytes(1, 20<<10))
	obj.Check = true
	put(t, inner, "k", []byte("old"))
	meanwhile := &onRead{Store: src, do: func() { put(t, inner, "k", []byte("newer")) }}
	_, err := carry(t, newTransfer(meanwhile, noCopy(inner), obj))
	if !storage.Clashed(err) {
		t.Errorf("%v, want a clash", err)
	}
	if got := content(t, inner, "k"); string(got) != "newer" {
		t.Errorf("the target has %q", got)
	}
}

// The finish of an upload replaces only what stood there at its begin; another
// begin is needed after a clash.
func TestFinishClashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		there, then []byte
		upload      func(*work.Upload)
		gone        bool
	}{
		{"nothing, and so it is", nil, nil, nil, false},
		{"nothing, and now something", nil, []byte("newer"), nil, true},
		{"something, and so it is", []byte("old"), nil, nil, false},
		{"something, and now something else", []byte("old"), []byte("newer"), nil, true},
		{"the very object", nil, storagetest.Bytes(1, bigSize), nil, false},
		{"a begin of the version before", nil, []byte("newer"), func(u *work.Upload) { u.Stood = "" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.dst = noCopy(memstore.New())
			want := storagetest.Bytes(1, bigSize)
			obj := object(t, r.src, "k", want)
			if tt.there != nil {
				put(t, r.dst, "k", tt.there)
				obj.Check = true
			}
			r.start()
			u := r.begin(1, obj)
			if u.upload.Stood == "" {
				t.Error("the begin does not say what stood there")
			}
			r.fill(2, &u)
			if tt.then != nil {
				put(t, r.dst, "k", tt.then)
			}
			if tt.upload != nil {
				tt.upload(&u.upload)
			}
			res := r.result(u.finish(20))
			if tt.gone {
				failed(t, res, work.Transient, true)
				if got := content(t, r.dst, "k"); string(got) != string(tt.then) {
					t.Errorf("the target has %d other bytes", len(got))
				}
				return
			}
			if out := outcome(t, res); out.Outcome != work.Copied || string(content(t, r.dst, "k")) != string(want) {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}

// A body that is sent again late is cut off like one that is sent once.
func TestFencedBody(t *testing.T) {
	t.Parallel()
	src, inner := memstore.New(), memstore.New()
	obj := object(t, src, "k", storagetest.Bytes(1, 1000))
	var tries atomic.Int32
	tr := newTransfer(src, &repeater{Store: inner, tries: &tries}, obj)
	tr.options.Compare = work.CompareNone
	tr.lease = &lease{limit: always(time.Hour), heard: time.Now()}
	tr.dst.Store.(*repeater).between = tr.lease.lose
	if _, err := carry(t, tr); err == nil || !strings.Contains(err.Error(), errLease.Error()) || tries.Load() != 2 {
		t.Errorf("%v after %d tries, want %v", err, tries.Load(), errLease)
	}
	if content(t, inner, "k") != nil {
		t.Error("it was stored")
	}
}

// A repeater loses what it is sent and sends it again.
type repeater struct {
	storage.Store
	tries   *atomic.Int32
	between func()
}

func (r *repeater) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	r.tries.Add(1)
	if _, err := io.Copy(io.Discard, body); err != nil {
		return storage.Info{}, err
	}
	r.between()
	if _, err := body.(io.Seeker).Seek(0, io.SeekStart); err != nil {
		return storage.Info{}, err
	}
	r.tries.Add(1)
	return r.Store.Put(ctx, key, body, size, opts)
}

// always is an AckWait that never changes.
func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// lose ends the lease, as time would.
func (l *lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

// Conditions cost no request: an object that is copied for the first time is one
// read and one write.
func TestConditionsCostNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ours, theirs storagetest.Tally
	list := append(objects(t, r.src, 20, 1000), object(t, r.src, "streamed", storagetest.Bytes(1, 50<<10)))
	r.src = storagetest.Faulty(r.src, storagetest.Faults{Tally: &ours})
	r.dst = streamOnly{storagetest.Faulty(r.dst, storagetest.Faults{Tally: &theirs})}
	r.start()
	allCopied(t, r.result(item(1, list...)), len(list))
	if got, want := ours.String()+"; "+theirs.String(), "get 21; put 21"; got != want {
		t.Errorf("requests: %s, want %s", got, want)
	}
}
