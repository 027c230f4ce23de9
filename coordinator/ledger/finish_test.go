package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestEmptySource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	b.finishNone()
	b.record(page(b.claimOne(), true))
	j := b.finish(id, work.Succeeded)
	if j.Planned != 0 || j.Scanning {
		t.Errorf("job = %+v", j)
	}
}

// TestUnbalanced: counters that lie keep a job from succeeding, loudly and
// once.
func TestUnbalanced(t *testing.T) {
	t.Parallel()
	lies := map[string]string{
		"a lost item":          `DELETE FROM tranship.items WHERE kind = 'copy'`,
		"a kept counter":       `UPDATE tranship.jobs SET copied = 1, skipped = 1`,
		"planned too much":     `UPDATE tranship.jobs SET planned = 3`,
		"outcomes of an item":  `UPDATE tranship.items SET copied = 1, failed = 1 WHERE kind = 'copy'`,
		"a batch set aside":    `UPDATE tranship.items SET state = 'dead' WHERE kind = 'copy'`,
		"objects handed away":  `UPDATE tranship.items SET copied = 1, handed = 1 WHERE kind = 'copy'`,
		"objects doubled":      `INSERT INTO tranship.items (job_id, kind, site, state, objects_count, copied) SELECT job_id, kind, site, state, 1, 1 FROM tranship.items WHERE kind = 'copy'`,
		"a counter of a state": `UPDATE tranship.jobs SET copied = 0, failed = 2`,
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id, it := b.scanned("a", "b")
			b.record(all(it, "copied"))
			b.exec(lie)
			for range 2 {
				b.finishNone()
				b.exec(`UPDATE tranship.jobs SET checked_at = checked_at - interval '1 hour'`)
			}
			j := b.job(id)
			if j.State != work.Running || !strings.Contains(j.Error, "do not add up") {
				t.Errorf("the job is %s with the error %q", j.State, j.Error)
			}
			events, err := b.Events(b.ctx(), id, 0, 10)
			b.must(err)
			if len(events) != 2 || events[1].What != "unbalanced" {
				t.Errorf("events = %+v, want one that tells of it", events)
			}
			balance, err := b.Balance(b.ctx(), id)
			b.must(err)
			if balance.Holds() && balance.Counted.Open == 0 {
				t.Errorf("Balance = %+v, which holds", balance)
			}
		})
	}
}

func TestBalanceOfNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.Balance(b.ctx(), 7); !errors.Is(err, work.ErrNoJob) {
		t.Errorf("Balance(7) = %v, want ErrNoJob", err)
	}
}

// TestUnbalancedRecovers: once the cause is gone the job ends.
func TestUnbalancedRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a")
	b.record(all(it, "copied"))
	b.exec(`UPDATE tranship.jobs SET planned = 2`)
	b.finishNone()
	b.exec(`UPDATE tranship.jobs SET planned = 1`)
	b.finishNone() // it is looked at again after a minute only
	b.exec(`UPDATE tranship.jobs SET checked_at = checked_at - interval '1 hour'`)
	if j := b.finish(id, work.Succeeded); j.Error != "" {
		t.Errorf("the job succeeded with the error %q", j.Error)
	}
}

func TestPausedJobDoesNotEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, it := b.scanned("a")
	_, err := b.Pause(b.ctx(), id, "me")
	b.must(err)
	b.record(all(it, "copied")) // an agent had it in hand
	b.finishNone()
	_, err = b.Resume(b.ctx(), id, "me")
	b.must(err)
	b.finish(id, work.Succeeded)
}
