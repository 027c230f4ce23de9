package agent

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A big object arrives whole, in parts that several agents move.
func TestBigObject(t *testing.T) {
	t.Parallel()
	for name, dst := range map[string]func(t *testing.T) storage.Store{
		"memory":          func(*testing.T) storage.Store { return noCopy(memstore.New()) },
		"file":            func(t *testing.T) storage.Store { return fileStore(t) },
		"vouches nothing": func(*testing.T) storage.Store { return &targetOf{Store: memstore.New(), quiet: true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var asked storagetest.Tally
			src := r.src
			r.src, r.dst = storagetest.Faulty(src, storagetest.Faults{Tally: &asked}), dst(t)
			want := storagetest.Bytes(1, bigSize)
			in := put(t, src, "dir/k", want, storage.Meta{ContentType: "text/x", User: map[string]string{"a": "b"}, ModTime: time.Unix(1700000000, 0)})
			r.start()
			r.start()
			u := r.begin(1, work.Object{Key: "dir/k", Size: in.Size, ETag: in.ETag, Check: true})
			if u.object != (work.Object{Key: "dir/k", Size: bigSize, ETag: in.ETag, ModTime: in.ModTime.UTC()}) {
				t.Errorf("the pinned object is %+v", u.object)
			}
			r.fill(2, &u)
			if n := asked.Calls("stat"); n > 1+2*8 { // of begin, and at most one for each stream
				t.Errorf("the source was asked %d times", n)
			}
			for _, p := range u.parts {
				if named := name != "vouches nothing"; p.Named != named || p.CRC64NVME != nil {
					t.Errorf("part %d is %+v, want named: %v", p.N, p, named)
				}
			}
			if content(t, r.dst, "dir/k") != nil {
				t.Error("it stands there before it is finished")
			}
			out := outcome(t, r.result(u.finish(100)))
			if out.Outcome != work.Copied || out.Checksum != crcOf(want) || out.Proof == "" || out.Reason != "" {
				t.Errorf("outcome %+v", out)
			}
			if got := content(t, r.dst, "dir/k"); string(got) != string(want) {
				t.Errorf("%d other bytes arrived", len(got))
			}
			if got, err := r.dst.Stat(t.Context(), "dir/k"); err != nil || !reflect.DeepEqual(got.Meta.User, in.Meta.User) || got.Meta.ContentType != in.Meta.ContentType {
				t.Errorf("metadata %+v, %v, want %+v", got.Meta, err, in.Meta)
			}
		})
	}
}

// An agent asks the source once for the checksums of an object, not for every
// part.
func TestPartsDoNotAskTheSourceEachTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var asked storagetest.Tally
	src := r.src
	r.src, r.dst = storagetest.Faulty(src, storagetest.Faults{Tally: &asked}), &targetOf{Store: memstore.New()}
	r.start(func(c *config.Agent) { c.Streams = 1 })
	u := r.begin(1, object(t, src, "k", storagetest.Bytes(1, bigSize)))
	before := asked.Calls("stat")
	r.fill(2, &u)
	if n := asked.Calls("stat") - before; n != 1 {
		t.Errorf("the source was asked %d times for seven parts, want once", n)
	}
}

// A begin that needs no upload ends as a copy does.
func TestBeginWithoutUpload(t *testing.T) {
	t.Parallel()
	want := storagetest.Bytes(1, bigSize)
	tests := []struct {
		name   string
		dst    storage.Store
		there  bool
		change func(*testing.T, *rig, *work.Item)
		want   work.ObjectOutcome
	}{
		{"server-side", memstore.New(), false, nil, work.ObjectOutcome{Outcome: work.Copied}},
		{"no parts", streamOnly{memstore.New()}, false, nil, work.ObjectOutcome{Outcome: work.Copied}},
		{"one part at most", &targetOf{Store: memstore.New(), limits: &storage.Limits{MaxParts: 1}}, false, nil, work.ObjectOutcome{Outcome: work.Copied}},
		{"the same is there", &targetOf{Store: memstore.New()}, true,
			func(_ *testing.T, _ *rig, it *work.Item) { it.Objects[0].Check = true }, work.ObjectOutcome{Outcome: work.Skipped, Reason: "etag"}},
		{"it was copied before", &targetOf{Store: memstore.New()}, true,
			func(_ *testing.T, _ *rig, it *work.Item) { it.Epoch = 2 }, work.ObjectOutcome{Outcome: work.Copied, Reason: "present"}},
		{"no longer big", &targetOf{Store: memstore.New()}, false,
			func(t *testing.T, r *rig, it *work.Item) {
				put(t, r.src, "k", want[:splitSize-1])
				it.Objects[0].ETag = ""
			}, work.ObjectOutcome{Outcome: work.Copied}},
		{"changed", &targetOf{Store: memstore.New()}, false,
			func(t *testing.T, r *rig, _ *work.Item) { put(t, r.src, "k", want[1:]) },
			work.ObjectOutcome{Outcome: work.Changed, Fault: work.SrcChanged}},
		{"too large for the target", &targetOf{Store: memstore.New(), limits: &storage.Limits{MaxObject: bigSize - 1, MaxParts: 100}}, false, nil,
			work.ObjectOutcome{Outcome: work.Failed, Fault: work.Unsupported}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.dst = tt.dst
			it := bigItem(1, work.Begin, object(t, r.src, "k", want))
			if tt.there {
				put(t, tt.dst, "k", want)
			}
			if tt.change != nil {
				tt.change(t, r, &it)
			}
			r.start()
			res := r.result(it)
			out := outcome(t, res)
			if out.Outcome != tt.want.Outcome || out.Reason != tt.want.Reason || out.Fault != tt.want.Fault {
				t.Errorf("outcome %+v, want %+v", out, tt.want)
			}
			if moved := res.Moved > 0; moved != (tt.want == work.ObjectOutcome{Outcome: work.Copied}) {
				t.Errorf("%d bytes moved", res.Moved)
			}
			if got := content(t, tt.dst, "k"); out.Outcome == work.Copied && string(got) != string(content(t, r.src, "k")) {
				t.Error("the target has not what the source has")
			}
		})
	}
}

// Whatever comes twice, what was done stays done.
func TestRepeatedParts(t *testing.T) {
	t.Parallel()
	for name, quiet := range map[string]bool{"target vouches": false, "target vouches for nothing": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.dst = &targetOf{Store: memstore.New(), quiet: quiet}
			want := storagetest.Bytes(1, bigSize)
			r.start()
			u := r.begin(1, object(t, r.src, "k", want))
			r.fill(2, &u)
			first := slices.Clone(u.parts)
			r.fill(12, &u)
			if !reflect.DeepEqual(u.parts, first) {
				t.Errorf("parts %+v, at first %+v", u.parts, first)
			}
			if out := outcome(t, r.result(u.finish(22))); out.Outcome != work.Copied || out.Reason != "" {
				t.Errorf("outcome %+v", out)
			}
			again := u.finish(23)
			again.Epoch = 2
			out := outcome(t, r.result(again))
			if out.Outcome != work.Copied || out.Reason != "present" || out.Proof != "crc32c" || out.Checksum != crcOf(want) {
				t.Errorf("and again: %+v, want it recognised", out)
			}
			failed(t, r.result(u.part(24, 1)), work.Transient, true)
			put(t, r.dst, "k", storagetest.Bytes(2, bigSize))
			again.ID = 25
			failed(t, r.result(again), work.Transient, true)
			if got := content(t, r.dst, "k"); string(got) != string(storagetest.Bytes(2, bigSize)) {
				t.Error("what somebody else wrote was removed")
			}
		})
	}
}

// An upload is aborted although its job is over, and its source out of reach.
func TestAbortOfCanceledJob(t *testing.T) {
	t.Parallel()
	for _, state := range []work.JobState{work.Canceled, work.Paused, work.Succeeded} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.dst = &targetOf{Store: memstore.New()}
			a := r.start()
			u := r.begin(1, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
			r.fill(2, &u)
			if err := r.hub.SetJob(testContext(t), 1, work.JobControl{State: state}); err != nil {
				t.Fatal(err)
			}
			r.eventually("the agent knows", func() bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return a.states[1] == state
			})
			abort := u.item(12, work.Abort)
			abort.Source = "test://nowhere/"
			if res := r.result(abort); res.Fault != "" {
				t.Errorf("abort: %+v", res)
			}
			if exists(t, r.dst, u) {
				t.Error("the upload is still there")
			}
		})
	}
}

// A begin whose answer was lost leaves nothing behind.
func TestBeginIsSweptUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := &targetOf{Store: memstore.New()}
	r.dst = storagetest.Faulty(target, storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
		if c.Op == "begin" && c.N == 1 {
			return storagetest.Applied
		}
		return ""
	}})
	r.start()
	it := bigItem(1, work.Begin, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
	if out := outcome(t, r.result(it)); out.Outcome != work.Retry || out.Fault != work.Transient {
		t.Errorf("outcome %+v, want it to be tried again", out)
	}
	left, err := target.Pending(t.Context(), "k")
	if err != nil || len(left) != 1 {
		t.Fatalf("left behind: %v, %v, want one upload", left, err)
	}
	other, err := target.Store.Begin(t.Context(), "another", 10, 5, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := r.begin(2, it.Objects[0], func(it *work.Item) { it.Attempt = 2 })
	if left, err = target.Pending(t.Context(), "k"); err != nil || len(left) != 1 || left[0].ID != u.upload.ID {
		t.Errorf("left behind: %v, %v, want the new upload %v", left, err, u.upload)
	}
	if left, err = target.Pending(t.Context(), "another"); err != nil || len(left) != 1 || left[0].ID != other.ID {
		t.Errorf("the uploads of another key are %v, %v", left, err)
	}
	r.fill(10, &u)
	if out := outcome(t, r.result(u.finish(20))); out.Outcome != work.Copied {
		t.Errorf("outcome %+v", out)
	}
}

// An agent that is killed between opening an upload and reporting it leaves one
// that the finish finds. The begin that comes after it must not: it may have been
// reported.
func TestKilledAfterBegin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := &targetOf{Store: memstore.New()}
	r.dst = target
	began, goOn := make(chan bool), make(chan bool)
	target.onBegin = func() { began <- true; <-goOn }
	first := r.start()
	it := bigItem(1, work.Begin, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
	r.publish(it)
	<-began
	first.bus.Close() // nobody hears of it
	first.Kill()
	target.onBegin = nil
	close(goOn)
	first.wait(t)
	if left, err := target.Pending(t.Context(), "k"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v, although it could be aborted", left, err)
	}
	if _, err := target.Store.Begin(t.Context(), "k", bigSize, splitSize, storage.PutOptions{}); err != nil { // one that could not
		t.Fatal(err)
	}
	r.start()
	u := r.begin(2, it.Objects[0], func(it *work.Item) { it.Epoch = 2 })
	if left, err := target.Pending(t.Context(), "k"); err != nil || len(left) != 2 {
		t.Errorf("uploads %v, %v, want that of the dead agent and another", left, err)
	}
	r.fill(10, &u)
	if out := outcome(t, r.result(u.finish(20))); out.Outcome != work.Copied {
		t.Errorf("outcome %+v", out)
	}
	if left, err := target.Pending(t.Context(), "k"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What a begin opened is reported although its job was canceled meanwhile: the
// coordinator has it aborted.
func TestBeginOfCanceledJobIsReported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := &targetOf{Store: memstore.New()}
	r.dst = target
	began, goOn := make(chan bool), make(chan bool)
	target.onBegin = func() { began <- true; <-goOn }
	a := r.start()
	it := bigItem(1, work.Begin, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
	r.publish(it)
	<-began
	if err := r.hub.SetJob(testContext(t), 1, work.JobControl{State: work.Canceled}); err != nil {
		t.Fatal(err)
	}
	h := a.all()[0]
	<-h.moving.Done()
	close(goOn)
	res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
	if res.Upload == nil || res.Object == nil || res.Object.Key != "k" {
		t.Errorf("%+v, want the upload", res)
	}
	a.stop()
	a.wait(t)
	r.gone(it)
}

// Parts in hand are finished when an agent drains, and given back when its
// grace time is over.
func TestDrainAmongParts(t *testing.T) {
	t.Parallel()
	for name, inTime := range map[string]bool{"finished": true, "given back": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			target := &targetOf{Store: memstore.New()}
			r.dst = target
			inside, goOn := make(chan bool, 100), make(chan bool)
			target.onPart = func(ctx context.Context) {
				inside <- true
				select {
				case <-goOn:
				case <-ctx.Done():
				}
			}
			first := r.start(func(c *config.Agent) {
				c.Streams = 2
				if !inTime {
					c.Grace = config.Duration(time.Millisecond)
				}
			})
			u := r.begin(1, object(t, r.src, "k", storagetest.Bytes(1, bigSize)))
			u.parts = make([]work.StoredPart, u.upload.Parts(u.object.Size))
			for i := range u.parts {
				r.publish(u.part(work.ItemID(2+i), i+1))
			}
			<-inside
			<-inside
			if inTime {
				first.Drain()
				close(goOn)
			} else {
				first.stop()
			}
			first.wait(t)
			if !inTime {
				close(goOn)
			}
			r.start()
			byFirst := 0
			for _, res := range r.results(func(rs []work.Result) bool { return len(rs) == len(u.parts) }) {
				if res.Fault != "" || res.Part == nil {
					t.Fatalf("part: %+v", res)
				}
				u.parts[res.Part.N-1] = *res.Part
				if res.Agent == first.cfg.Name {
					byFirst++
				}
			}
			if (byFirst >= 2) != inTime || byFirst > 0 && !inTime {
				t.Errorf("%d parts were stored by the agent that stopped", byFirst)
			}
			if out := outcome(t, r.result(u.finish(200))); out.Outcome != work.Copied || out.Checksum != crcOf(storagetest.Bytes(1, bigSize)) {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}

// A result that cannot be reported, of an item whose stores could not even be
// opened, does no harm.
func TestUnopenedItemIsNotReported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.start()
	it := bigItem(1, work.Begin, work.Object{Key: "k", Size: bigSize})
	it.Target = "test://nowhere/"
	a.bus.Close()
	h := &held{agent: a.Agent, item: it, outcomes: make([]work.ObjectOutcome, 1)}
	h.moving, h.abandon = context.WithCancelCause(t.Context())
	h.starting, h.stop = context.WithCancelCause(h.moving)
	h.pair, h.err = a.ends(t.Context(), it)
	if how, err := h.close(&bus.Delivery{}); h.err == nil || how != "returned" || err == nil {
		t.Errorf("close = %s, %v, after %v", how, err, h.err)
	}
}
