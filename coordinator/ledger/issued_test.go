package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

func (b *bench) issued() work.Issued {
	b.t.Helper()
	i, err := b.Issued(b.ctx())
	b.must(err)
	return i
}

func TestIssued(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // nothing restores what is in memory
	if got := b.issued(); got != (work.Issued{}) {
		t.Errorf("of an empty ledger: %+v", got)
	}
	first := b.create()
	if got := b.issued(); got != (work.Issued{Job: first, Item: 1}) {
		t.Errorf("after a job and its scan: %+v", got)
	}
	b.must(b.Skip(b.ctx(), work.Issued{Job: 100, Item: 1000}))
	b.must(b.Skip(b.ctx(), work.Issued{Job: 50, Item: 2000})) // which never goes back
	if got := b.issued(); got != (work.Issued{Job: 100, Item: 2000}) {
		t.Errorf("after ids were skipped: %+v", got)
	}
	newest, err := b.Newest(b.ctx())
	if err != nil || newest != (work.Issued{Job: first, Item: 1}) {
		t.Errorf("Newest = %+v, %v: what was skipped is not written", newest, err)
	}
	ticked, err := b.Tick(b.ctx())
	if err != nil || ticked != (work.Issued{Job: first, Item: 1, Tick: 1}) {
		t.Errorf("Tick = %+v, %v, want what is written, later", ticked, err)
	}
	b.must(b.Skip(b.ctx(), work.Issued{Tick: 9}))
	b.must(b.Skip(b.ctx(), work.Issued{Tick: 8}))
	if got := b.issued(); got != (work.Issued{Job: 100, Item: 2000, Tick: 9}) {
		t.Errorf("after the clock was set: %+v", got)
	}
	if id := b.create(); id != 101 {
		t.Errorf("the next job is %d, want 101", id)
	}
	if newest, err = b.Newest(b.ctx()); err != nil || newest.Item != 2001 {
		t.Errorf("Newest = %+v, %v, want item 2001", newest, err)
	}
}

// What is open after a restore is compared before it is copied: agents do so
// with an item that was handed out before.
func TestDoubt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // nothing restores what is in memory
	running := b.create()
	scan := b.claimOne()
	canceled := b.create()
	_, err := b.Cancel(b.ctx(), canceled, "me")
	b.must(err)
	b.record(page(scan, true, "a", "b"))

	for range 2 { // it may be repeated
		jobs, err := b.Doubt(b.ctx(), "restored", "a note")
		if err != nil || jobs != 1 {
			t.Fatalf("Doubt = %d, %v, want the one open job", jobs, err)
		}
	}
	it := b.claimOne()
	if it.Job != running || it.Epoch != 2 {
		t.Errorf("claimed %+v, want epoch 2: it looks handed out before", it)
	}
	b.record(all(it, "copied"))
	b.finish(running, work.Succeeded)
	events, err := b.Events(b.ctx(), running, 0, 10)
	b.must(err)
	noted := 0
	for _, e := range events {
		if e.What == "restored" && e.Note == "a note" {
			noted++
		}
	}
	if noted != 2 {
		t.Errorf("noted %d times: %+v", noted, events)
	}
}

// However many items there are, each is doubted, and none is that was handed out.
func TestDoubtMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // nothing restores what is in memory
	job := b.create()
	b.exec(`INSERT INTO tranship.items (job_id, kind, site, state, epoch, not_before)
		SELECT $1, (ARRAY['copy', 'part', 'scan'])[1 + n % 3], 'default', CASE WHEN n % 50 = 0 THEN 'waiting' ELSE 'ready' END,
			CASE WHEN n % 7 = 0 THEN 3 ELSE 0 END, now() + (n % 11) * interval '1 microsecond'
		FROM generate_series(1, 21000) AS n`, job)
	b.exec(`INSERT INTO tranship.items (job_id, kind, site, state) SELECT $1, 'copy', 'default', 'canceled' FROM generate_series(1, 10)`, job)
	_, err := b.Doubt(b.ctx(), "restored", "a note")
	b.must(err)
	for state, want := range map[string]string{
		`state IN ('ready', 'waiting') AND epoch = 1`: "18001", // with the job's scan
		`state IN ('ready', 'waiting') AND epoch = 3`: "3000",
		`state = 'canceled' AND epoch = 0`:            "10",
	} {
		if got := b.text(`SELECT count(*) FROM tranship.items WHERE ` + state); got != want {
			t.Errorf("%s items are %s, want %s", got, state, want)
		}
	}
}

// Coordinators that start at once take turns.
func TestAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inside := make(chan struct{})
	second := make(chan error, 1)
	order := make(chan string, 2)
	b.must(b.Alone(b.ctx(), "test", func(ctx context.Context) error {
		go func() {
			close(inside)
			second <- b.Alone(b.ctx(), "test", func(context.Context) error { order <- "second"; return nil })
		}()
		<-inside
		b.waitForLock()
		order <- "first"
		return nil
	}))
	b.must(<-second)
	if a, b := <-order, <-order; a != "first" || b != "second" {
		t.Errorf("%s, then %s", a, b)
	}
	wrong := errors.New("wrong")
	if err := b.Alone(b.ctx(), "test", func(context.Context) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("Alone = %v, want what its function returned", err)
	}
}

// Who is alone stays so for longer than the database lets a transaction idle.
func TestAloneForLong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // what is in memory has no transactions
	const limit = time.Second
	l, err := ledger.Open(t.Context(), b.url, ledger.Options{Timeout: limit})
	b.must(err)
	defer l.Close()
	b.must(l.Alone(b.ctx(), "test", func(ctx context.Context) error {
		time.Sleep(3 * limit)
		if b.text(`SELECT pg_try_advisory_xact_lock(hashtext('tranship test'))`) != "false" {
			t.Error("another could begin")
		}
		return ctx.Err()
	}))
	lost := l.Alone(b.ctx(), "test", func(ctx context.Context) error {
		ledgertest.Copy(t, b.url) // which cuts connections
		<-ctx.Done()
		return nil
	})
	if lost == nil {
		t.Error("Alone = nil, and another could begin")
	}
}

// waitForLock returns when somebody waits for an advisory lock.
func (b *bench) waitForLock() {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if b.text(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (
			SELECT oid FROM pg_database WHERE datname = current_database())`) != "0" {
			return
		}
	}
	b.t.Fatal("nobody waits for the lock")
}

// A database that lacks what this program has seen of it is not worked on: a
// standby took over that is some moments behind.
func TestSetBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create()
	older := ledgertest.Copy(t, b.url)
	b.create()
	b.Expect(b.issued())
	b.Expect(work.Issued{Item: 1}) // which never goes back

	behind, err := ledger.Open(t.Context(), older, ledger.Options{Connections: 2})
	b.must(err)
	defer behind.Close()
	b.must(behind.Ping(t.Context()))
	behind.Expect(work.Issued{Tick: 1})
	if _, err := behind.Tick(t.Context()); !errors.Is(err, work.ErrSetBack) {
		t.Errorf("Tick of a clock that stands before what was seen: %v, want ErrSetBack", err)
	}
	behind.Expect(b.issued())
	wantSetBack := func(how string, err error) {
		t.Helper()
		if !errors.Is(err, work.ErrSetBack) || !strings.Contains(err.Error(), "start the coordinator again") {
			t.Errorf("a database that lacks an item, %s: %v, want ErrSetBack", how, err)
		}
	}
	wantSetBack("by the connection that is there", behind.Ping(t.Context()))
	ledgertest.Copy(t, older) // which cuts it
	_, err = behind.Newest(t.Context())
	if err != nil && !errors.Is(err, work.ErrSetBack) { // that it was cut
		_, err = behind.Newest(t.Context())
	}
	wantSetBack("by a new connection", err)

	// One that was replaced under connections that live on.
	b.exec(`UPDATE tranship.clock SET ticks = 5`)
	b.Expect(b.issued())
	b.must(b.Ping(t.Context()))
	b.exec(`UPDATE tranship.clock SET ticks = 4`)
	if err := b.Ping(t.Context()); !errors.Is(err, work.ErrSetBack) {
		t.Errorf("a database whose clock went back: %v, want ErrSetBack", err)
	}
	b.exec(`UPDATE tranship.clock SET ticks = 5`)

	ledgertest.Copy(t, b.url)
	if b.Ping(t.Context()) != nil {
		b.must(b.Ping(t.Context()))
	}
}
