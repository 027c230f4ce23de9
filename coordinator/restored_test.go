package coordinator

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/ledger/ledgertest"
	"github.com/tranship/tranship/internal/work"
)

// A ledger is replaced by a copy of half an hour ago while agents are at work.
// What they report of items that the copy does not know must not be taken for
// what became of the items that it gives the same ids.
func TestLedgerIsSetBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c1, stop := b.coordinator("c1")
	b.agent("a1")
	const n = 2000
	first, lost, next := b.fill(n), b.fill(n), b.fill(n)
	reached, release := b.hold(n / 2)
	j1 := b.job(c1, "mem://"+first+"/from", "faulty://"+first+"/to", work.DefaultOptions())
	b.receive(reached)
	dump := ledgertest.Copy(t, b.url)
	release()
	b.counts(b.ended(j1.ID, work.Succeeded), n, 0, 0)

	// After the dump: a job whose items are in the agent's hands at the end.
	reached, release = b.hold(n / 4)
	j2 := b.job(c1, "mem://"+lost+"/from", "faulty://"+lost+"/to", work.DefaultOptions())
	b.receive(reached)
	stop()
	b.restore(dump)
	c2, _ := b.coordinator("c2")
	j3 := b.job(c2, "mem://"+next+"/from", "faulty://"+next+"/to", work.DefaultOptions())
	b.agent("a2") // the other one is busy with what was lost
	b.await(j3.ID, "listed", func(j work.Job) bool { return j.Planned == n && !j.Scanning })
	release()

	b.counts(b.ended(j3.ID, work.Succeeded), n, 0, 0)
	b.same("mem://"+next+"/from", "mem://"+next+"/to")
	j1 = b.ended(j1.ID, work.Succeeded)
	if j1.Copied+j1.Skipped != n {
		t.Errorf("the job of the dump: %+v", j1.Counts)
	}
	b.same("mem://"+first+"/from", "mem://"+first+"/to")
	if j3.ID <= j2.ID {
		t.Errorf("the first job after the restore is %d, and %d was lost", j3.ID, j2.ID)
	}
	if _, err := b.ledger.Job(t.Context(), j2.ID); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("the lost job: %v", err)
	}
	events, err := b.ledger.Events(t.Context(), j1.ID, 0, 100)
	if err != nil || !slices.ContainsFunc(events, func(e work.Event) bool { return e.What == "restored" }) {
		t.Errorf("the job's history does not tell of the restore: %+v, %v", events, err)
	}
	b.until("agents are not told of the lost job", func() bool {
		jobs, err := c2.bus.Jobs(t.Context())
		return err == nil && !slices.Contains(jobs, j2.ID)
	})
}

// A ledger is replaced by a copy that was made when all of a job was listed: it
// has given out the same ids, and is older all the same.
func TestLedgerIsSetBackWithoutNewIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c1, stop := b.coordinator("c1")
	b.agent("a1")
	const n = 2000
	name := b.fill(n)
	reached, release := b.hold(n / 2)
	j := b.job(c1, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	b.receive(reached)
	b.await(j.ID, "listed", func(j work.Job) bool { return j.Planned == n && !j.Scanning })
	dump := ledgertest.Copy(t, b.url)
	release()
	b.ended(j.ID, work.Succeeded)
	b.until("the queue remembers a later time", func() bool { return c1.herald.remember(t.Context()) == nil })
	then, err := b.ledger.Issued(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	b.restore(dump)
	now, err := b.ledger.Issued(t.Context())
	if err != nil || now.Item != then.Item || now.Job != then.Job {
		t.Fatalf("the copy gave out %+v, %v, and the ledger %+v: this tests nothing", now, err, then)
	}
	b.coordinator("c2")
	j = b.ended(j.ID, work.Succeeded)
	if j.Copied+j.Skipped != n {
		t.Errorf("counters: %+v", j.Counts)
	}
	events, err := b.ledger.Events(t.Context(), j.ID, 0, 100)
	if err != nil || !slices.ContainsFunc(events, func(e work.Event) bool { return e.What == "restored" }) {
		t.Errorf("the job's history does not tell of the restore: %+v, %v", events, err)
	}
}

// A standby that lacks the last moments takes over while a coordinator runs:
// the coordinator ends before it writes a thing, and the next one puts the
// ledger right.
func TestLedgerIsSetBackUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 1000
	name := b.fill(n)
	c1 := New(config.Default().Coordinator, Deps{Ledger: b.ledger, Bus: b.connect("c1"), Log: b.log("c1")})
	ended := make(chan error, 1)
	go func() { ended <- c1.Run(t.Context()) }()
	b.agent("a1")
	reached, release := b.hold(n / 2)
	j := b.job(c1, "mem://"+name+"/from", "faulty://"+name+"/to", work.DefaultOptions())
	standby := ledgertest.Copy(t, b.url)
	b.receive(reached)
	ledgertest.Replace(t, b.url, standby)
	select {
	case err := <-ended:
		if !errors.Is(err, work.ErrSetBack) {
			t.Fatalf("the coordinator ended with %v, want ErrSetBack", err)
		}
	case <-time.After(patience):
		t.Fatal("the coordinator works on")
	}
	release()
	b.restore(b.url)
	b.coordinator("c2")
	j = b.ended(j.ID, work.Succeeded)
	if j.Copied+j.Skipped != n {
		t.Errorf("counters: %+v", j.Counts)
	}
	b.same("mem://"+name+"/from", "mem://"+name+"/to")
}

// What the queue remembers of the ledger is lost. A coordinator that runs tells
// it again; one that starts goes on with ids that the queue cannot know.
func TestMarkIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c1, stop := b.coordinator("c1")
	name := b.fill(10)
	from, to := "mem://"+name+"/from", "mem://"+name+"/to"
	j1 := b.job(c1, from, to, work.DefaultOptions())
	published := func() bool {
		m, err := c1.bus.Mark(t.Context())
		return err == nil && m.Issued.Item > 0
	}
	b.until("an item is published", published)
	lose := func() {
		t.Helper()
		if err := b.jetstream().DeleteStream(t.Context(), "KV_TRANSHIP_LEDGER"); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	b.until("the queue remembers the item again, though nothing is published", published)

	stop()
	lose()
	c2, _ := b.coordinator("c2")
	if j2 := b.job(c2, from, to, work.DefaultOptions()); j2.ID <= j1.ID+jobMargin {
		t.Errorf("job %d has an id that a later self of the ledger may have given out", j2.ID)
	}
	events, err := b.ledger.Events(t.Context(), j1.ID, 0, 100)
	if err != nil || !slices.ContainsFunc(events, func(e work.Event) bool { return e.What == "doubted" }) {
		t.Errorf("the open job is not doubted: %+v, %v", events, err)
	}
}

// A coordinator that dies while it puts a ledger right leaves the rest to the
// next one, which begins again; those after it find nothing to do.
func TestPuttingRightIsFinished(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.connect("dead")
	if err := conn.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := work.Issued{Job: 5, Item: 50}
	err := conn.MoveMark(t.Context(), func(work.Mark) work.Mark { return work.Mark{Issued: was, SetBack: &work.Issued{}} })
	if err != nil {
		t.Fatal(err)
	}
	// The last it did was to skip ids: now the ledger does not look set back.
	if err := b.ledger.Skip(t.Context(), work.Issued{Job: was.Job + jobMargin, Item: was.Item + itemMargin}); err != nil {
		t.Fatal(err)
	}
	c1, stop := b.coordinator("c1")
	b.until("the mark is whole", func() bool {
		m, err := conn.Mark(t.Context())
		return err == nil && m.SetBack == nil && m.Issued.Beyond(was)
	})
	name := b.fill(10)
	j := b.job(c1, "mem://"+name+"/from", "mem://"+name+"/to", work.DefaultOptions())
	stop()
	b.coordinator("c2")
	b.agent("a1")
	b.counts(b.ended(j.ID, work.Succeeded), 10, 0, 0)
	events, err := b.ledger.Events(t.Context(), j.ID, 0, 100)
	if err != nil || slices.ContainsFunc(events, func(e work.Event) bool { return e.What == "restored" }) {
		t.Errorf("the ledger was put right once more: %+v, %v", events, err)
	}
	if j.ID <= was.Job {
		t.Errorf("job %d has an id that was given out before", j.ID)
	}
}
