package sim

import (
	"errors"
	"time"

	"github.com/tranship/tranship/internal/work"
)

// nature is what happens to the source, the target, the streams and the
// clocks.
func (w *world) nature() {
	if w.chance(w.odds.change) {
		w.source.change()
	}
	if w.chance(w.odds.storm) {
		w.queue.storm()
	}
	if w.chance(w.odds.jump) {
		w.jump()
	}
	if w.chance(w.odds.storm) {
		w.target.stubborn = w.within(3 * time.Minute)
	}
}

// jump moves one of the clocks, forwards or backwards.
func (w *world) jump() {
	d := time.Duration(w.rng.IntN(10*60)-5*60) * time.Second
	switch n := w.rng.IntN(2 + len(w.coords)); n {
	case 0:
		w.queue.jump(d)
	case 1:
		w.logf("ledger: its clock jumps by %s", d)
		w.ledger.Advance(d)
	default:
		w.coords[n-2].skew += d
		w.logf("%s: its clock jumps by %s", w.coords[n-2].name, d)
	}
}

// users do something to the job, by way of a coordinator.
func (w *world) users() {
	if !w.chance(w.odds.meddle) {
		return
	}
	l := w.coords[w.rng.IntN(len(w.coords))].alive()
	if l == nil {
		return
	}
	switch n := w.rng.IntN(40); {
	case n < 1:
		l.command("cancel", func() (work.Job, error) {
			j, err := w.ledger.Cancel(l.ctx, w.job, "user")
			if err == nil {
				w.guard.cancels()
			}
			return j, err
		})
	case n < 12:
		l.command("pause", func() (work.Job, error) { return w.ledger.Pause(l.ctx, w.job, "user") })
	case n < 24:
		l.command("resume", func() (work.Job, error) { return w.ledger.Resume(l.ctx, w.job, "user") })
	default:
		l.command("retry", l.retry)
	}
}

// retry tries again what failed: all, by its fault, or by its prefix.
func (l *life) retry() (work.Job, error) {
	q := work.RetryQuery{Job: l.job}
	switch l.rng.IntN(4) {
	case 0:
		q.Fault = work.Faults()[l.rng.IntN(len(work.Faults()))]
	case 1:
		q.Prefix = string(rune('a' + l.rng.IntN(4)))
	}
	return l.retries(q)
}

func (l *life) retryAll() (work.Job, error) { return l.retries(work.RetryQuery{Job: l.job}) }

func (l *life) retries(q work.RetryQuery) (work.Job, error) {
	n, err := l.ledger.Retry(l.ctx, q, "user")
	if err != nil {
		return work.Job{}, err
	}
	l.logf("users: %d objects are tried again", n)
	if q.Fault == "" && q.Prefix == "" {
		l.guard.revived()
	}
	return l.ledger.Job(l.ctx, l.job)
}

// command does what a user asked for and tells the queue.
func (l *life) command(what string, do func() (work.Job, error)) {
	var j work.Job
	err := l.call(what, func() (err error) {
		j, err = do()
		if err == nil {
			l.logf("users: %s: the job is %s", what, j.State)
		}
		if errors.Is(err, work.ErrState) {
			return nil
		}
		return err
	})
	if err == nil && j.ID != 0 {
		l.tell(j.State)
	}
}
