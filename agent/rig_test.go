package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/filestore"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// smallSizes let objects of some KiB go all ways.
var smallSizes = sizes{held: 4 << 10, whole: 64 << 10, part: 16 << 10, split: 16 << 10}

// A rig is a queue, the coordinator's side of it, and two stores that items
// name test://src/ and test://dst/.
type rig struct {
	t        testing.TB
	server   *bus.Server
	hub      *bus.Bus
	src, dst storage.Store

	mu      sync.Mutex
	stores  map[string]storage.Store // by host of test://
	agents  int
	ackWait time.Duration   // of the queue
	prepare func(*Agent)    // before it runs
	seen    map[string]bool // results that were taken
	handed  map[work.ItemID]work.Item
	metrics *prometheus.Registry // of all agents
}

func newRig(t testing.TB) *rig { return newRigOf(t, 0) }

func newRigOf(t testing.TB, ackWait time.Duration) *rig {
	t.Helper()
	ctx := testContext(t)
	server, err := bus.StartServer(ctx, bus.ServerOptions{Dir: t.TempDir(), MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	r := &rig{t: t, server: server, src: memstore.New(), dst: memstore.New(), stores: map[string]storage.Store{},
		ackWait: ackWait, prepare: func(*Agent) {}, seen: map[string]bool{},
		handed: map[work.ItemID]work.Item{}, metrics: prometheus.NewRegistry()}
	r.hub = r.connect("coordinator")
	if err := r.hub.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.hub.AddSite(ctx, "s"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) connect(name string) *bus.Bus {
	r.t.Helper()
	b, err := bus.Connect(testContext(r.t), bus.Options{Server: r.server, Name: name, AckWait: r.ackWait})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(b.Close)
	return b
}

// open is the opener of test://.
func (r *rig) open(_ context.Context, u *url.URL, _ storage.Credentials) (storage.Store, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.stores[u.Host]; ok {
		return s, nil
	}
	return nil, &storage.Error{Op: "open", Store: u.String(), Fault: work.Invalid, Err: fmt.Errorf("no test store %q", u.Host)}
}

// A running is an agent whose Run was called.
type running struct {
	*Agent
	stop context.CancelFunc
	done chan error
}

// start runs an agent on the rig's stores until it is stopped, or the test ends.
func (r *rig) start(change ...func(*config.Agent)) *running {
	r.t.Helper()
	r.mu.Lock()
	r.stores["src"], r.stores["dst"] = r.src, r.dst
	r.agents++
	cfg := config.Agent{
		Name: fmt.Sprintf("agent-%d", r.agents), Site: "s", Streams: 8, Memory: 16 << 20,
		Grace: config.Duration(patience),
	}
	r.mu.Unlock()
	for _, c := range change {
		c(&cfg)
	}
	var log *slog.Logger
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	a, err := New(cfg, Deps{
		Bus: r.connect(cfg.Name), Log: log, Version: "1.2.3", Metrics: r.metrics,
		Stores: storage.Drivers{"test": r.open, "mem": memstore.Open, "file": filestore.Opener([]string{"/"})},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	a.carrier.sizes = smallSizes
	r.prepare(a)
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{Agent: a, stop: cancel, done: make(chan error, 1)}
	go func() { run.done <- a.Run(ctx) }()
	r.t.Cleanup(func() {
		a.Kill()
		run.wait(r.t)
		cancel()
	})
	return run
}

// wait waits until Run has returned.
func (a *running) wait(t testing.TB) {
	t.Helper()
	select {
	case err := <-a.done:
		a.done <- err
		if err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Run did not return")
	}
}

// item returns a copy item of the rig's stores.
func item(id work.ItemID, objects ...work.Object) work.Item {
	it := work.Item{
		Job: 1, ID: id, Kind: work.Copy, Class: work.Norm, Site: "s", Epoch: 1, Attempt: 1,
		Source: "test://src/", Target: "test://dst/", Options: work.DefaultOptions(), Objects: objects,
	}
	if len(objects) == 0 {
		it.Kind, it.Range = work.Scan, &work.Range{}
	}
	return it
}

func (r *rig) publish(items ...work.Item) {
	r.t.Helper()
	for _, it := range items {
		r.handed[it.ID] = it
	}
	for i, rc := range r.hub.Publish(testContext(r.t), items) {
		if rc.Err != nil || !rc.Stored {
			r.t.Fatalf("Publish(item %d) = %+v, want stored", items[i].ID, rc)
		}
	}
}

// again hands out an item that was given back, once its old message is gone.
func (r *rig) again(id work.ItemID) {
	r.t.Helper()
	it := r.handed[id]
	it.Epoch++
	r.handed[id] = it
	r.gone(it)
}

// results takes results until enough says so. The queue may hand out the very
// same result twice when its answers are late; that is left out. What was given
// back is handed out again.
func (r *rig) results(enough func([]work.Result) bool) []work.Result {
	r.t.Helper()
	ctx := testContext(r.t)
	var all []work.Result
	for !enough(all) {
		var returned []work.ItemID
		got, ack, err := r.hub.Results(ctx, 100, time.Second)
		if err != nil {
			r.t.Fatalf("after %d results: %v", len(all), err)
		}
		for _, res := range got {
			b, err := res.Encode()
			if err != nil {
				r.t.Fatal(err)
			}
			switch {
			case r.seen[string(b)]:
			case res.Returned:
				returned = append(returned, res.Item)
			default:
				all = append(all, res)
			}
			r.seen[string(b)] = true
		}
		if err := ack(ctx); err != nil {
			r.t.Fatal(err)
		}
		for _, id := range returned {
			r.again(id)
		}
	}
	return all
}

// result has one item done and returns its result.
func (r *rig) result(it work.Item) work.Result {
	r.t.Helper()
	r.publish(it)
	all := r.results(func(rs []work.Result) bool { return len(rs) > 0 })
	if len(all) != 1 || all[0].Item != it.ID || all[0].Job != it.Job || all[0].Kind != it.Kind {
		r.t.Fatalf("results %+v, want one of item %d", all, it.ID)
	}
	return all[0]
}

// gone fails unless the queue has forgotten the items. It is for when no agent
// is running: it has the items stored again.
func (r *rig) gone(items ...work.Item) {
	r.t.Helper()
	ctx := testContext(r.t)
	for _, it := range items {
		r.eventually(fmt.Sprintf("item %d is gone from the queue", it.ID), func() bool {
			return r.hub.Publish(ctx, []work.Item{it})[0].Stored
		})
	}
}

// waiting returns the items that are on the queue for anybody, in order.
func (r *rig) waiting(n int) []work.Item {
	r.t.Helper()
	ctx := testContext(r.t)
	var got []work.Item
	for len(got) < n && ctx.Err() == nil {
		ds, err := r.hub.Take(ctx, "s", n-len(got), time.Second)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, d := range ds {
			got = append(got, d.Item)
			if err := d.Ack(); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	slices.SortFunc(got, func(a, b work.Item) int { return int(a.ID - b.ID) })
	return got
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// put stores an object at one end.
func put(t testing.TB, s storage.Store, key string, content []byte, meta ...storage.Meta) storage.Info {
	t.Helper()
	var opts storage.PutOptions
	if len(meta) > 0 {
		opts.Meta = meta[0]
	}
	in, err := s.Put(context.Background(), key, bytes.NewReader(content), int64(len(content)), opts)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// object stores an object and returns it as a listing would.
func object(t testing.TB, s storage.Store, key string, content []byte) work.Object {
	t.Helper()
	in := put(t, s, key, content)
	return work.Object{Key: key, Size: in.Size, ETag: in.ETag}
}

// content reads an object; nil if there is none.
func content(t testing.TB, s storage.Store, key string) []byte {
	t.Helper()
	body, _, err := s.Get(context.Background(), key, "", 0, -1)
	if storage.Is(err, work.NotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A doorkeeper lets nobody put anything before it is opened.
type doorkeeper struct {
	storage.Store
	knocked chan string // keys, as they come
	open    chan struct{}
	inside  atomic.Int64
	most    atomic.Int64
	puts    atomic.Int64
}

func newDoorkeeper() *doorkeeper {
	return &doorkeeper{Store: streamOnly{memstore.New()}, knocked: make(chan string, 10_000), open: make(chan struct{})}
}

func (d *doorkeeper) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	d.puts.Add(1)
	for n := d.inside.Add(1); ; {
		if most := d.most.Load(); n <= most || d.most.CompareAndSwap(most, n) {
			break
		}
	}
	defer d.inside.Add(-1)
	d.knocked <- key
	select {
	case <-d.open:
		return d.Store.Put(ctx, key, body, size, opts)
	case <-ctx.Done():
		return storage.Info{}, ctx.Err()
	}
}

// knocks waits until n have knocked.
func (d *doorkeeper) knocks(t testing.TB, n int) {
	t.Helper()
	for range n {
		select {
		case <-d.knocked:
		case <-time.After(patience):
			t.Fatal("nobody came")
		}
	}
}

// objects stores n objects and returns them as listed.
func objects(t testing.TB, s storage.Store, n, size int) []work.Object {
	t.Helper()
	list := make([]work.Object, n)
	for i := range list {
		list[i] = object(t, s, fmt.Sprintf("k%05d", i), storagetest.Bytes(i, size))
	}
	return list
}

// streamOnly hides the optional powers of a store.
type streamOnly struct{ storage.Store }

// partsOnly hides that a store can copy by itself.
type partsOnly struct {
	storage.Store
	storage.Multipart
}

func noCopy(s *memstore.Store) storage.Store { return partsOnly{s, s} }

func partsOnlyOf(s storage.Store) storage.Store { return partsOnly{s, s.(storage.Multipart)} }
