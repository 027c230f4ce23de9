package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

var noticeRule = ledger.NoticeRule{FailureRate: 0.05}

// toOps addresses every notice to one receiver.
func toOps(n work.Notice) ([]work.Delivery, error) {
	return []work.Delivery{{Receiver: "ops", Body: string(n.Kind)}}, nil
}

// noticed fails the test unless exactly this is told now, as "job kind".
func (b *bench) noticed(want ...string) []work.Notice {
	b.t.Helper()
	b.alone()
	told, err := b.Notices(b.ctx(), noticeRule, toOps)
	b.must(err)
	var got []string
	for _, n := range told {
		got = append(got, n.Job.ID.String()+" "+strings.TrimPrefix(string(n.Kind), "job."))
		if n.ID == "" || n.At.IsZero() {
			b.t.Errorf("a notice that says too little: %+v", n)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		b.t.Errorf("told is %q, want %q", got, want)
	}
	return told
}

// Each end is told once, a retried job's once more.
func TestEndsAreNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.noticed()
	id, _ := b.incomplete()
	told := b.noticed("1 finished")
	if n := told[0]; n.Job.State != work.Incomplete || n.Job.Failed != 4 || len(n.Faults) != 3 || n.Faults[0].Name != "denied" || n.Faults[0].Count != 2 {
		t.Errorf("the notice says %+v", n)
	}
	b.noticed()

	b.retry(4, work.RetryQuery{Job: id})
	b.noticed()
	b.record(all(b.claimOne(), "copied"))
	b.finish(id, work.Succeeded)
	b.noticed("1 finished")
	b.noticed()

	canceled, failed := b.create(), b.create()
	_, err := b.Cancel(b.ctx(), canceled, "me")
	b.must(err)
	b.exec(`UPDATE tranship.jobs SET state = 'failed', error = 'no such bucket', finished_at = now() WHERE id = $1`, failed)
	b.noticed("2 canceled", "3 failed")
	b.noticed()
	if n := b.text(`SELECT count(*) FROM tranship.deliveries`); n != "4" {
		t.Errorf("%s deliveries, want 4", n)
	}
}

// A stall is told when it begins and when the job moves again, each time. Whoever
// holds a job or retries it needs not be told that it stands.
func TestStallsAreNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beat(work.Presence{Agent: "a"})
	id := b.create()
	stand := func() {
		t.Helper()
		b.age(id)
		b.stalled(rule, "1 unknown")
	}
	move := func() {
		t.Helper()
		b.exec(`UPDATE tranship.jobs SET moved_at = now() WHERE id = $1`, id)
		b.stalled(rule)
	}
	stand()
	if n := b.noticed("1 stalled")[0]; n.Job.Stalled == nil || n.Job.Stalled.Why == "" {
		t.Errorf("the notice does not say why: %+v", n.Job)
	}
	b.noticed()
	move()
	b.noticed("1 moving")
	b.noticed()
	stand()
	move()
	b.noticed() // it was short
	stand()
	b.noticed("1 stalled")
	_, err := b.Pause(b.ctx(), id, "me")
	b.must(err)
	b.noticed()
	_, err = b.Resume(b.ctx(), id, "me")
	b.must(err)
	b.noticed() // nothing has moved
	stand()
	b.noticed("1 stalled")
	_, err = b.Cancel(b.ctx(), id, "me")
	b.must(err)
	b.noticed("1 canceled")
	b.noticed()
}

// The failure rate is told once a job, as soon as there are enough objects to
// speak of one, also if the job ends at the same moment.
func TestFailureRateIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, fast := b.create(), b.create()
	set := func(id work.JobID, copied, failed int) {
		t.Helper()
		b.exec(`UPDATE tranship.jobs SET planned = 100000, copied = $2, failed = $3 WHERE id = $1`, id, copied, failed)
	}
	set(id, 0, 99)
	b.noticed() // too few to say anything
	set(id, 95, 5)
	b.noticed() // as many as may
	set(id, 94, 6)
	b.noticed("1 failure_rate")
	set(id, 1000, 900)
	b.noticed()
	b.exec(`UPDATE tranship.jobs SET state = 'incomplete', finished_at = now() WHERE id = $1`, id)
	set(fast, 50, 50)
	b.exec(`UPDATE tranship.jobs SET state = 'incomplete', finished_at = now() WHERE id = $1`, fast)
	b.noticed("1 finished", "2 failure_rate", "2 finished")
	b.noticed()

	other := b.create()
	set(other, 0, 1000)
	if told, err := b.Notices(b.ctx(), ledger.NoticeRule{}, toOps); err != nil || len(told) != 0 {
		t.Errorf("without a rate %+v is told, %v", told, err)
	}
}

// However many coordinators look, each notice is there once.
func TestNoticesAreKeptOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	const jobs = 30
	for range jobs {
		_, err := b.Cancel(b.ctx(), b.create(), "me")
		b.must(err)
	}
	var wg sync.WaitGroup
	told := make([]int, 4)
	for i := range told {
		wg.Go(func() {
			some, err := b.Notices(b.ctx(), noticeRule, toOps)
			if err != nil {
				t.Error(err)
			}
			told[i] = len(some)
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range told {
		sum += n
	}
	if n := b.text(`SELECT count(*) || ' ' || count(DISTINCT job_id) || ' ' || count(DISTINCT notice) FROM tranship.deliveries`); sum != jobs || n != "30 30 30" {
		t.Errorf("told %v, deliveries, jobs and notices %s, want %d of each", told, n, jobs)
	}
}

// What cannot be kept is not told of: the next turn finds it again.
func TestNoticeIsNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.alone()
	_, err := b.Cancel(b.ctx(), b.create(), "me")
	b.must(err)
	broken := errors.New("broken")
	if _, err := b.Notices(b.ctx(), noticeRule, func(work.Notice) ([]work.Delivery, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("Notices = %v, want %v", err, broken)
	}
	b.noticed("1 canceled")

	// Where nobody is told, what happened is past all the same.
	_, err = b.Cancel(b.ctx(), b.create(), "me")
	b.must(err)
	if told, err := b.Notices(b.ctx(), noticeRule, func(work.Notice) ([]work.Delivery, error) { return nil, nil }); err != nil || len(told) != 1 {
		t.Errorf("Notices to nobody = %+v, %v", told, err)
	}
	b.noticed()
}

// An upgrade tells nobody of what ended before it, and of everything after it.
func TestNoNoticesOfThePast(t *testing.T) {
	t.Parallel()
	b, conn := firstVersion(t)
	for i, state := range []string{"succeeded", "incomplete", "failed", "canceled", "running"} {
		finished := "now()"
		if state == "running" {
			finished = "NULL"
		}
		_, err := conn.ExecContext(t.Context(), fmt.Sprintf(`
			INSERT INTO jobs (name, source, target, options, site, class, state, planned, failed, finished_at)
			VALUES ('j%d', 's', 't', '{}', 'default', 'norm', '%s', 1000, 1000, %s)`, i, state, finished))
		b.must(err)
	}
	b.must(conn.Close())
	_, err := ledger.Migrate(t.Context(), b.url)
	b.must(err)
	b.Ledger, err = ledger.Open(t.Context(), b.url, ledger.Options{})
	b.must(err)
	defer b.Close()
	b.noticed("5 failure_rate")
	b.exec(`UPDATE tranship.jobs SET state = 'incomplete', finished_at = now() WHERE id = 5`)
	b.noticed("5 finished")
	// One of them is retried, and comes to nothing again.
	b.exec(`INSERT INTO tranship.items (job_id, kind, site, state, spec) VALUES (3, 'scan', 'default', 'dead', '{}')`)
	_, err = b.Retry(b.ctx(), work.RetryQuery{Job: 3}, "me")
	b.must(err)
	b.noticed()
	b.exec(`UPDATE tranship.jobs SET state = 'failed', finished_at = now() WHERE id = 3`)
	b.noticed("3 failed")
}
