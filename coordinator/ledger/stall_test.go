package ledger_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

// rule counts a job as stalled after a minute; tests age jobs instead of
// waiting.
var rule = ledger.StallRule{After: time.Minute, Gone: 30 * time.Second, Watched: time.Hour}

// age makes it long ago that a job came on.
func (b *bench) age(ids ...work.JobID) {
	b.t.Helper()
	for _, id := range ids {
		b.exec(`UPDATE tranship.jobs SET created_at = created_at - interval '10 minutes', moved_at = moved_at - interval '10 minutes' WHERE id = $1`, id)
	}
}

// beat lets agents of the default site be heard from.
func (b *bench) beat(agents ...work.Presence) {
	b.t.Helper()
	for i := range agents {
		agents[i].Site, agents[i].Started = work.DefaultSite, time.Now()
		if agents[i].State == "" {
			agents[i].State = "running"
		}
	}
	b.must(b.Beat(b.ctx(), agents))
}

// stalled fails the test unless exactly these jobs stand still, as "job cause".
func (b *bench) stalled(r ledger.StallRule, want ...string) ledger.Stalls {
	b.t.Helper()
	found, err := b.Stalled(b.ctx(), r)
	b.must(err)
	var got []string
	for _, s := range found.All {
		got = append(got, s.Job.String()+" "+string(s.Cause))
		if s.Why == "" || s.Next == "" || s.Since.IsZero() {
			b.t.Errorf("a stall that says too little: %+v", s)
		}
		if j := b.job(s.Job); j.Stalled == nil || j.Stalled.Why != s.Why || !j.Stalled.Since.Equal(s.Since) || *j.Stalled != s {
			b.t.Errorf("the job keeps %+v of the stall %+v", j.Stalled, s)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		b.t.Errorf("stalled are %q, want %q", got, want)
	}
	return found
}

// told returns the events of a job about its stalls.
func (b *bench) told(id work.JobID) string {
	b.t.Helper()
	return b.text(`SELECT coalesce(string_agg(what, ' ' ORDER BY id), '') FROM tranship.events WHERE job_id = $1 AND what IN ('stalled', 'moving')`, id)
}

func TestStalled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beat(work.Presence{Agent: "a"})
	id := b.create()
	b.stalled(rule) // it is new
	b.age(id)
	found := b.stalled(rule, "1 unknown")
	if s := found.All[0]; s.Ready != 1 || s.Queued != 0 || len(found.Fresh) != 1 || found.Fresh[0] != s || time.Since(s.Since) < 9*time.Minute {
		t.Errorf("found %+v", found)
	}
	scan := b.claimOne()
	if found = b.stalled(rule, "1 unknown"); found.All[0].Queued != 1 || len(found.Fresh) != 0 {
		t.Errorf("found %+v, want it known", found)
	}
	if jobs, _, err := b.Jobs(b.ctx(), work.JobQuery{}); err != nil || jobs[0].Stalled == nil {
		t.Errorf("the listing does not say that the job is stalled: %+v, %v", jobs, err)
	}
	b.record(page(scan, false, "a"))
	if found = b.stalled(rule); len(found.Moving) != 1 || found.Moving[0] != id {
		t.Errorf("moving again: %v, want the job", found.Moving)
	}
	if found = b.stalled(rule); len(found.Moving) != 0 {
		t.Errorf("moving once more: %v", found.Moving)
	}
	if got := b.told(id); got != "stalled moving" {
		t.Errorf("the audit log says %q", got)
	}
	if b.job(id).Stalled != nil {
		t.Error("a job that moves is still called stalled")
	}
	b.age(id)
	b.stalled(ledger.StallRule{After: time.Hour, Gone: time.Minute, Watched: time.Hour}) // not so long
	young := rule
	young.Watched = rule.After / 2
	b.stalled(young) // it may have been nobody there to move it
	b.stalled(rule, "1 unknown")
	b.stalled(young, "1 unknown") // it is known by now
	b.record(page(scan, true))    // the end
	b.record(all(b.claimOne(), "copied"))
	b.finish(id, work.Succeeded)
	b.stalled(rule)
	if got := b.told(id); got != "stalled moving stalled moving" {
		t.Errorf("at the end the audit log says %q", got)
	}
}

// What is held, has ended or is not due yet does not stand still.
func TestNotStalled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beat(work.Presence{Agent: "a"})
	paused, canceled, waits := b.create(), b.create(), b.create()
	b.age(paused, canceled, waits)
	b.stalled(rule, "1 unknown", "2 unknown", "3 unknown")
	_, err := b.Pause(b.ctx(), paused, "me")
	b.must(err)
	_, err = b.Cancel(b.ctx(), canceled, "me")
	b.must(err)
	b.stalled(rule, "3 unknown")
	_, err = b.Resume(b.ctx(), paused, "me") // it was held, it did not stand still
	b.must(err)
	b.stalled(rule, "3 busy") // as far as is known, agents are at work on the other
	b.exec(`UPDATE tranship.items SET not_before = now() + interval '1 minute' WHERE job_id = $1`, waits)
	b.stalled(rule, "3 busy") // it is said of it, and it has not moved
	b.exec(`UPDATE tranship.jobs SET stalled = NULL`)
	b.stalled(rule)
	for id, want := range map[work.JobID]string{paused: "stalled", canceled: "stalled", waits: "stalled"} {
		if got := b.told(id); got != want {
			t.Errorf("the audit log of job %d says %q, want %q", id, got, want)
		}
	}
	id := b.create() // of which an upload alone is left to abort
	b.age(id)
	b.exec(`UPDATE tranship.items SET kind = 'abort' WHERE job_id = $1`, id)
	b.stalled(rule)
}

// Bytes that move keep a job from being stalled for as long as it takes; what
// other jobs move does not.
func TestSlowIsNotStalled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	slow, dead := b.create(), b.create()
	b.age(slow, dead)
	b.beat(work.Presence{Agent: "a", Rate: 9, Moving: []work.JobID{slow, 99}})
	found := b.stalled(rule, "2 busy")
	if !found.All[0].Waits() {
		t.Error("a job that waits for its turn needs somebody")
	}
	b.age(slow)
	b.beat(work.Presence{Agent: "a", Rate: 9, Moving: []work.JobID{}})
	b.stalled(rule, "1 unknown", "2 unknown")
	b.beat(work.Presence{Agent: "a", Rate: 9}) // of the version before: nobody knows which
	if found := b.stalled(rule); len(found.Moving) != 2 {
		t.Errorf("moving again are %v", found.Moving)
	}
	b.age(slow, dead)
	b.beat(work.Presence{Agent: "a"}) // nothing moves
	b.stalled(rule, "1 unknown", "2 unknown")
	_, err := b.Pause(b.ctx(), slow, "me")
	b.must(err)
	before := b.text(`SELECT moved_at FROM tranship.jobs WHERE id = $1`, slow)
	b.beat(work.Presence{Agent: "a", Moving: []work.JobID{slow}}) // its last bytes
	if after := b.text(`SELECT moved_at FROM tranship.jobs WHERE id = $1`, slow); after != before {
		t.Errorf("a paused job moved: at %s, then at %s", before, after)
	}
}

// A store that refuses for ever keeps results coming, but brings nothing on.
func TestRetriesDoNotMove(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beat(work.Presence{Agent: "a"})
	id, it := b.scanned("a", "b\xff")
	b.age(id)
	b.stalled(rule, "1 unknown")
	b.record(all(it, "retry throttled"))
	found := b.stalled(rule, "1 fault")
	if why := found.All[0].Why; !strings.Contains(why, "throttled") || !strings.Contains(why, "because of throttled") {
		t.Errorf("why: %q", why)
	}
	it = b.claimOne()
	b.stalled(rule, "1 fault")
	b.record(outcomes(it, "copied", "retry transient"))
	b.stalled(rule)
	b.record(all(b.claimOne(), "copied"))

	parts, items := b.begun(2)
	b.age(parts)
	b.record(faulty(items[0], work.Corrupt))
	if found = b.stalled(rule, "2 fault"); !strings.Contains(found.All[0].Why, "because of corrupt") {
		t.Errorf("why: %q", found.All[0].Why)
	}
	b.record(stored(items[1]))
	b.stalled(rule)

	scan := b.create()
	b.age(scan, parts)
	b.record(stored(b.claim(10)[0]))
	b.must(err(b.Cancel(b.ctx(), parts, "me")))
	b.record(faulty(b.itemOf(scan), work.Transient))
	b.stalled(rule, "3 fault")
	b.record(page(b.itemOf(scan), true, "c"))
	b.stalled(rule)
}

func err[T any](_ T, err error) error { return err }

// itemOf returns the one open item of a job that is due, handed out.
func (b *bench) itemOf(id work.JobID) work.Item {
	b.t.Helper()
	b.exec(`UPDATE tranship.items SET state = 'ready' WHERE job_id = $1 AND state = 'queued'`, id)
	return b.claimOne()
}

func TestStallCauses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	b.age(id)
	says := func(r ledger.StallRule, cause work.StallCause, words ...string) {
		t.Helper()
		s := b.stalled(r, "1 "+string(cause)).All[0]
		for _, w := range words {
			if !strings.Contains(s.Why+" | "+s.Next, w) {
				t.Errorf("%s is explained as %q, next %q, want %q in it", cause, s.Why, s.Next, w)
			}
		}
	}
	says(rule, work.StallNoAgent, "none was ever heard from", "fleet invite --site default")
	b.beat(work.Presence{Agent: "old"}, work.Presence{Agent: "older"})
	b.exec(`UPDATE tranship.agents SET last_seen = last_seen - CASE agent WHEN 'old' THEN interval '1 hour' ELSE interval '2 hours' END`)
	says(rule, work.StallNoAgent, "the last one, old, was heard from at 20")
	b.beat(work.Presence{Agent: "leaving", State: "draining"})
	says(rule, work.StallNoAgent, "about to stop", "fleet invite --site default")
	b.beat(work.Presence{Agent: "well"})
	says(rule, work.StallUnknown, "coordinator's log")
	b.exec(`UPDATE tranship.jobs SET source = 'store://old/'`)
	says(rule, work.StallNoAgent, "no agent at site default knows the store old", "Add old to stores")
	b.beat(work.Presence{Agent: "well", Stores: []string{"new", "old"}})
	says(rule, work.StallUnknown, "coordinator's log")
	b.exec(`UPDATE tranship.jobs SET source = 'mem://a', site = 'any'`)
	says(rule, work.StallUnknown) // agents of other sites count, too
	b.exec(`UPDATE tranship.jobs SET site = 'default'`)
	it := b.claimOne()
	says(rule, work.StallUnknown, "agents' logs")
	b.beat(work.Presence{Agent: "sick2", Trouble: "no"}, work.Presence{Agent: "sick1", Trouble: "the credentials\x00 have expired"})
	says(rule, work.StallTrouble, "agent sick1 cannot work: the credentials\ufffd have expired")
	queue := rule
	queue.QueueDown = true
	says(queue, work.StallQueue, "NATS")
	b.beat(work.Presence{Agent: "sick2"}, work.Presence{Agent: "sick1"})
	b.record(faulty(it, work.Throttled))
	says(rule, work.StallFault, "throttled", "tranship job objects 1 --open")
	other := b.create(func(n *work.NewJob) { n.Source = "mem://c" })
	b.exec(`UPDATE tranship.jobs SET moved_at = now() WHERE id = $1`, other)
	says(rule, work.StallFault, "throttled") // it is not only the others
	b.exec(`UPDATE tranship.items SET parent = NULL`)
	says(rule, work.StallBusy, "its turn")
	elsewhere := b.create(func(n *work.NewJob) { n.Site = "mars" })
	b.exec(`UPDATE tranship.jobs SET moved_at = now() WHERE id = $1`, elsewhere)
	b.exec(`UPDATE tranship.jobs SET moved_at = NULL WHERE id = $1`, other)
	says(rule, work.StallUnknown)
	if got := b.told(id); got != "stalled" {
		t.Errorf("the audit log says %q", got)
	}
}

// Many coordinators look at once: one of them finds the stall, and one the end.
func TestStallsAreToldOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	b.age(id)
	scan := b.claimOne()
	look := func() (fresh, moving int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					found, err := b.Stalled(t.Context(), rule)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					fresh, moving = fresh+len(found.Fresh), moving+len(found.Moving)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return fresh, moving
	}
	if fresh, moving := look(); fresh != 1 || moving != 0 {
		t.Errorf("the stall was found %d times and its end %d times", fresh, moving)
	}
	b.record(page(scan, false, "a"))
	if fresh, moving := look(); fresh != 0 || moving != 1 {
		t.Errorf("after the end the stall was found %d times and its end %d times", fresh, moving)
	}
	if got := b.told(id); got != "stalled moving" {
		t.Errorf("the audit log says %q", got)
	}
}
