package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func allCopied(t *testing.T, r work.Result, n int) {
	t.Helper()
	if r.Fault != "" || len(r.Outcomes) != n {
		t.Fatalf("result %s %s with %d outcomes, want %d", r.Fault, r.Error, len(r.Outcomes), n)
	}
	for i, o := range r.Outcomes {
		if o.Outcome != work.Copied {
			t.Errorf("outcome of object %d is %+v, want copied", i, o)
		}
	}
}

func TestItemHasOneOutcomePerObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	list := objects(t, r.src, 100, 2000)
	list[10].Key = "missing"
	list[20].ETag = strings.Repeat("0", 32)
	list[30].Check = true
	put(t, r.dst, list[30].Key, storagetest.Bytes(30, 2000))
	r.dst = storagetest.Faulty(noCopy(r.dst.(*memstore.Store)), storagetest.Faults{Script: func(c storagetest.Call) storagetest.Kind {
		switch {
		case c.Op == "put" && c.Key == list[40].Key:
			return storagetest.Lost
		case c.Op == "put" && c.Key == list[50].Key:
			return storagetest.Denied
		}
		return ""
	}})
	a := r.start()
	it := item(7, list...)
	it.Epoch = 1
	res := r.result(it)
	want := map[int]work.ObjectOutcome{
		10: {Outcome: work.Failed, Fault: work.NotFound},
		20: {Outcome: work.Changed, Fault: work.SrcChanged},
		30: {Outcome: work.Skipped, Reason: "etag"},
		40: {Outcome: work.Retry, Fault: work.Transient},
		50: {Outcome: work.Failed, Fault: work.Denied},
	}
	for i, got := range res.Outcomes {
		if (got.Fault != "") != (got.Error != "") {
			t.Errorf("outcome of object %d is %+v", i, got)
		}
		got.Error, got.Checksum, got.Proof = "", "", ""
		w, ok := want[i]
		if !ok {
			w = work.ObjectOutcome{Outcome: work.Copied}
		}
		if got != w {
			t.Errorf("outcome of object %d is %+v, want %+v", i, got, w)
		}
	}
	if res.Agent != a.cfg.Name || res.Epoch != 1 || res.At.IsZero() || res.Moved < 95*2000 || res.Moved > 97*2000 {
		t.Errorf("result by %s of epoch %d at %v moved %d", res.Agent, res.Epoch, res.At, res.Moved)
	}
	a.stop()
	a.wait(t)
	r.gone(it)
	if p := a.Presence(); p.Objects != 98 || p.State != "draining" || p.Items != 0 || p.Streams != 0 {
		t.Errorf("presence %+v", p)
	}
}

func TestRedeliveredItemIsComparedFirst(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"delivered before", "of a later epoch", "of a later attempt"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			list := objects(t, r.src, 10, 2000)
			for i := range 5 {
				put(t, r.dst, list[i].Key, storagetest.Bytes(i, 2000))
			}
			it := item(1, list...)
			switch how {
			case "of a later epoch":
				it.Epoch = 2
			case "of a later attempt":
				it.Attempt = 2
			}
			r.publish(it)
			if how == "delivered before" {
				ds, err := r.hub.Take(testContext(t), "s", 1, patience)
				if err != nil || len(ds) != 1 {
					t.Fatal(err)
				}
				if err := ds[0].Nak(0); err != nil {
					t.Fatal(err)
				}
			}
			var tally storagetest.Tally
			r.dst = storagetest.Faulty(streamOnly{r.dst}, storagetest.Faults{Tally: &tally})
			r.start()
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })[0]
			allCopied(t, res, 10)
			for i, o := range res.Outcomes {
				if want := i < 5; (o.Reason == "present") != want {
					t.Errorf("object %d: %+v, want present: %v", i, o, want)
				}
			}
			if n := tally.Calls("put"); n != 5 {
				t.Errorf("%d objects were copied, want 5", n)
			}
		})
	}
}

func TestStoreThatCannotBeOpenedIsTheItemsFault(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	it := item(1, work.Object{Key: "k"})
	it.Target = "test://nowhere/"
	if res := r.result(it); res.Fault != work.Invalid || len(res.Outcomes) != 0 || res.Error == "" {
		t.Errorf("result %+v, want the fault %s", res, work.Invalid)
	}
	if res := r.result(item(2, objects(t, r.src, 1, 1)...)); res.Fault != "" {
		t.Errorf("the next item failed too: %+v", res)
	}
}

// At a shutdown what was begun is finished, and what was not goes back.
func TestDrainLosesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*running){
		"signal": func(a *running) { a.stop() },
		"drain":  func(a *running) { a.Drain() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			door := newDoorkeeper()
			r.dst = door
			list := objects(t, r.src, 20, 100)
			r.publish(item(1, list...))
			a := r.start(func(c *config.Agent) { c.Streams = 4 })
			door.knocks(t, 4)
			r.publish(item(2, list...), item(3, list...))
			r.eventually("an item waits", func() bool { return a.inHand() == 2 })
			end(a)
			r.eventually("the waiting item is given back", func() bool { return a.inHand() == 1 })
			if p := a.Presence(); p.Items != 1 || p.Streams != 4 {
				t.Errorf("presence %+v, want one item in hand", p)
			}
			close(door.open)
			a.wait(t)
			res := r.results(func(rs []work.Result) bool { return len(rs) > 0 })
			if len(res) != 1 || res[0].Item != 1 {
				t.Fatalf("%d results, of %d", len(res), res[0].Item)
			}
			allCopied(t, res[0], 20)
			if left := r.waiting(2); len(left) != 2 || left[0].ID != 2 || left[1].ID != 3 {
				t.Errorf("%d items left on the queue, want 2 and 3", len(left))
			}
			r.gone(item(1, list...))
		})
	}
}

// What does not finish within the grace time goes back, whole.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*running){
		"grace": func(a *running) { a.stop() },
		"kill":  func(a *running) { a.Kill() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			door := newDoorkeeper()
			r.dst = door
			it := item(1, objects(t, r.src, 20, 100)...)
			r.publish(it)
			a := r.start(func(c *config.Agent) {
				c.Streams = 4
				if name == "grace" {
					c.Grace = config.Duration(50 * time.Millisecond)
				}
			})
			door.knocks(t, 4)
			end(a)
			a.wait(t)
			if left := r.waiting(1); len(left) != 1 || left[0].ID != 1 {
				t.Errorf("%d items on the queue, want the one that was not finished", len(left))
			}
			if n := door.puts.Load(); n != 4 {
				t.Errorf("%d objects were begun, want 4", n)
			}
		})
	}
}

func TestAgentShowsItself(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(testContext(t))
	beats := make(chan work.Presence, 100)
	ended := make(chan error, 1)
	go func() { ended <- r.hub.Beats(ctx, func(p work.Presence) { beats <- p }) }()
	defer func() { cancel(); <-ended }()
	a := r.start()
	r.start()
	r.eventually("it is seen", func() bool {
		select {
		case p := <-beats:
			return p.Agent == a.cfg.Name && p.Site == "s" && p.State == "running" && p.Limit == 8 && p.Version == "1.2.3"
		default:
			_ = a.bus.Beat(a.Presence())
			return false
		}
	})
	r.eventually("it drains", func() bool { return r.hub.Drain(ctx, "s", a.cfg.Name) == nil })
	a.wait(t)
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	if got["tranship_agent_streams_limit"] != 2 || got["tranship_agent_bytes_total"] != 2 {
		t.Errorf("metrics %v, want those of two agents", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := config.Agent{Name: "a", Site: "s", Streams: 1, Memory: 1 << 20}
	if _, err := New(good, Deps{}); err != nil {
		t.Errorf("New(%+v) = %v", good, err)
	}
	for _, bad := range []config.Agent{
		{Name: "a.b", Site: "s", Streams: 1, Memory: 1 << 20},
		{Name: "a", Site: "", Streams: 1, Memory: 1 << 20},
		{Name: "a", Site: "s", Streams: -1, Memory: 1 << 20},
		{Name: "a", Site: "s", Streams: 1, Memory: 1},
	} {
		if _, err := New(bad, Deps{}); err == nil {
			t.Errorf("New(%+v) = nil, want an error", bad)
		}
	}
	for host, want := range map[string]string{"db1.example.org": "db1-example-org", "-x": "x", strings.Repeat("h", 60): strings.Repeat("h", 40)} {
		if got := nameOf(host); got != want {
			t.Errorf("nameOf(%q) = %q, want %q", host, got, want)
		}
	}
}
