package ledger_test

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestCreateJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := newJob()
	n.Name, n.Class, n.Site = "nul\x00 and \xff", work.Hi, "west"
	j, created, err := b.CreateJob(b.ctx(), n, work.Idempotency{})
	b.must(err)
	if !created || j.State != work.Running || j.Class != work.Hi || j.Site != "west" || j.Options != n.Options || !j.Scanning {
		t.Errorf("CreateJob = %+v, %v", j, created)
	}
	if j.Name != "nul\ufffd and \ufffd" {
		t.Errorf("name = %q", j.Name)
	}
	if j.CreatedAt.IsZero() || !j.StartedAt.IsZero() || !j.FinishedAt.IsZero() {
		t.Errorf("times = %v, %v, %v", j.CreatedAt, j.StartedAt, j.FinishedAt)
	}
	if got := b.job(j.ID); !reflect.DeepEqual(got, j) {
		t.Errorf("Job = %+v, want %+v", got, j)
	}
	items, err := b.Claim(b.ctx(), "west", 10)
	b.must(err)
	if len(items) != 1 || items[0].Kind != work.Scan || *items[0].Range != (work.Range{}) || items[0].Source != n.Source ||
		items[0].Target != n.Target || items[0].Options != n.Options || items[0].Class != work.Hi || items[0].Epoch != 1 || items[0].Attempt != 1 {
		t.Errorf("its items = %+v, want a scan of everything", items)
	}
	if _, err := items[0].Encode(); err != nil {
		t.Error(err)
	}
	events, err := b.Events(b.ctx(), j.ID, 0, 10)
	b.must(err)
	if len(events) != 1 || events[0].What != "created" || events[0].Who != "me" || events[0].Job != j.ID || events[0].At.IsZero() {
		t.Errorf("events = %+v, want its creation by me", events)
	}
	if _, err := b.Job(b.ctx(), 999); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("Job(999) = %v, want ErrNoJob", err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone() // all at once, in no order
	same := work.Idempotency{Key: "k", Hash: []byte{1, 0, 255}}

	var mu sync.Mutex
	made := map[work.JobID]int{}
	creations := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			j, created, err := b.CreateJob(b.ctx(), newJob(), same)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			made[j.ID]++
			if created {
				creations++
			}
		})
	}
	wg.Wait()
	if len(made) != 1 || creations != 1 {
		t.Errorf("50 requests with one key made the jobs %v in %d creations, want one", made, creations)
	}
	if n := b.text(`SELECT count(*) FROM tranship.items`); n != "1" {
		t.Errorf("there are %s scan items, want 1", n)
	}
	_, _, err := b.CreateJob(b.ctx(), newJob(), work.Idempotency{Key: "k", Hash: []byte{2}})
	if !errors.Is(err, work.ErrIdempotency) {
		t.Errorf("another request with the key: %v, want ErrIdempotency", err)
	}
	for range 2 { // without a key each request is new
		b.create()
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []work.JobID
	for i := range 5 {
		ids = append(ids, b.create(func(n *work.NewJob) { n.Name = fmt.Sprint(i) }))
	}
	_, err := b.Pause(b.ctx(), ids[1], "me")
	b.must(err)

	var got []work.JobID
	q := work.JobQuery{Limit: 2}
	for {
		jobs, next, err := b.Jobs(b.ctx(), q)
		b.must(err)
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	want := []work.JobID{ids[4], ids[3], ids[2], ids[1], ids[0]}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("pages of jobs = %v, want %v", got, want)
	}
	jobs, next, err := b.Jobs(b.ctx(), work.JobQuery{State: work.Paused})
	b.must(err)
	if len(jobs) != 1 || jobs[0].ID != ids[1] || next != "" {
		t.Errorf("paused jobs = %+v, next %q", jobs, next)
	}

	controls, err := b.OpenControls(b.ctx())
	b.must(err)
	if len(controls) != 5 || controls[ids[1]].State != work.Paused || controls[ids[0]].State != work.Running {
		t.Errorf("OpenControls = %v", controls)
	}
}

func TestForeignCursor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		b.create()
	}
	_, next, err := b.Jobs(b.ctx(), work.JobQuery{Limit: 1})
	b.must(err)
	for _, cursor := range []string{"x", "!", next[:len(next)-2], "e30"} {
		if _, _, err := b.Jobs(b.ctx(), work.JobQuery{Cursor: cursor}); !errors.Is(err, work.ErrCursor) {
			t.Errorf("Jobs with cursor %q: %v, want ErrCursor", cursor, err)
		}
	}
	if _, _, err := b.Objects(b.ctx(), work.ObjectQuery{Job: 1, Cursor: next}); !errors.Is(err, work.ErrCursor) {
		t.Errorf("Objects with a cursor of jobs: %v, want ErrCursor", err)
	}
	if _, _, err := b.Failures(b.ctx(), work.FailureQuery{Job: 1, Cursor: next}); !errors.Is(err, work.ErrCursor) {
		t.Errorf("Failures with a cursor of jobs: %v, want ErrCursor", err)
	}
}

func TestOpenJob(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := newJob()
	older, newer := b.create(), b.create()
	b.create(func(n *work.NewJob) { n.Target = "mem://elsewhere" })
	b.create(func(n *work.NewJob) { n.Options.MaxAttempts++ })
	find := func(want work.JobID) {
		t.Helper()
		j, ok, err := b.OpenJob(b.ctx(), n.Source, n.Target, n.Options)
		b.must(err)
		if ok != (want != 0) || j.ID != want {
			t.Errorf("OpenJob = job %d, %v, want %d", j.ID, ok, want)
		}
	}
	find(newer)
	_, err := b.Cancel(b.ctx(), newer, "me")
	b.must(err)
	find(older)
	_, err = b.Pause(b.ctx(), older, "me")
	b.must(err)
	find(older)
	_, err = b.Cancel(b.ctx(), older, "me")
	b.must(err)
	find(0)
}

// TestControl walks through what may be asked of a job in each state.
func TestControl(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type call func(id work.JobID) (work.Job, error)
	calls := map[string]call{
		"pause":  func(id work.JobID) (work.Job, error) { return b.Pause(b.ctx(), id, "me") },
		"resume": func(id work.JobID) (work.Job, error) { return b.Resume(b.ctx(), id, "me") },
		"cancel": func(id work.JobID) (work.Job, error) { return b.Cancel(b.ctx(), id, "me") },
	}
	ended := func() work.JobID {
		id := b.create()
		b.record(page(b.claimOne(), true))
		b.finish(id, work.Succeeded)
		return id
	}
	tests := []struct {
		from  string
		call  string
		want  work.JobState // empty: ErrState
		event string        // the last
	}{
		{"running", "pause", work.Paused, "paused"},
		{"running", "resume", work.Running, "created"},
		{"running", "cancel", work.Canceled, "canceled"},
		{"paused", "pause", work.Paused, "paused"},
		{"paused", "resume", work.Running, "resumed"},
		{"paused", "cancel", work.Canceled, "canceled"},
		{"canceled", "pause", "", "canceled"},
		{"canceled", "resume", "", "canceled"},
		{"canceled", "cancel", work.Canceled, "canceled"},
		{"ended", "pause", "", "succeeded"},
		{"ended", "resume", "", "succeeded"},
		{"ended", "cancel", "", "succeeded"},
	}
	for _, tt := range tests {
		t.Run(tt.call+" a job that is "+tt.from, func(t *testing.T) {
			var id work.JobID
			if tt.from == "ended" {
				id = ended()
			} else {
				id = b.create()
				defer calls["cancel"](id)
			}
			switch tt.from {
			case "paused":
				calls["pause"](id)
			case "canceled":
				calls["cancel"](id)
			}
			j, err := calls[tt.call](id)
			if (tt.want == "") != errors.Is(err, work.ErrState) || tt.want != "" && (err != nil || j.State != tt.want) {
				t.Errorf("got state %q, %v, want %q", j.State, err, tt.want)
			}
			if tt.want == work.Canceled && j.FinishedAt.IsZero() {
				t.Error("a canceled job has no end")
			}
			events, err := b.Events(b.ctx(), id, 0, 100)
			b.must(err)
			seen := map[string]int{}
			for _, e := range events {
				seen[e.What]++
			}
			if last := events[len(events)-1].What; last != tt.event || seen[last] != 1 {
				t.Errorf("events = %v, the last %q, want one %q", seen, last, tt.event)
			}
		})
	}
	for name, call := range calls {
		if _, err := call(99999); !errors.Is(err, work.ErrNoJob) {
			t.Errorf("%s of an unknown job: %v, want ErrNoJob", name, err)
		}
	}
}

func TestCancelWithLateResults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	scan := b.claimOne()
	b.record(page(scan, false, "a", "b"))
	it := b.claimOne()
	b.record(page(work.Item{Job: id, ID: scan.ID, Kind: work.Scan, Epoch: 1, Range: &work.Range{After: "b"}}, false, "c"))
	before := b.job(id).Counts

	j, err := b.Cancel(b.ctx(), id, "me")
	b.must(err)
	if j.State != work.Canceled || j.Counts != before || j.Scanning {
		t.Errorf("canceled job = %+v, want the counters %+v", j, before)
	}
	b.recorded(0, all(it, "copied"), page(scan, true, "d"))
	if n := len(b.claim(100)); n != 0 {
		t.Errorf("%d items of a canceled job were claimed", n)
	}
	b.must(b.Release(b.ctx(), []work.Item{it, scan}))
	b.must(b.Requeued(b.ctx(), []work.Item{it, scan}))
	if states := b.text(`SELECT string_agg(DISTINCT state, ' ') FROM tranship.items`); states != "canceled" {
		t.Errorf("items are %s, want canceled", states)
	}
	b.counts(id, 3, 0, 0, 0, 0)
	b.finishNone()
	sites, err := b.ActiveSites(b.ctx())
	b.must(err)
	if len(sites) != 0 {
		t.Errorf("active sites = %v", sites)
	}
}

// TestCancelCutShort: the process that canceled died before it had closed the
// items.
func TestCancelCutShort(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	b.exec(`UPDATE tranship.jobs SET state = 'canceled' WHERE id = $1`, id)
	b.finishNone()
	if state := b.text(`SELECT state FROM tranship.items`); state != "canceled" {
		t.Errorf("the item is %s, want canceled", state)
	}
	if b.job(id).FinishedAt.IsZero() {
		t.Error("the job has no end")
	}
}
