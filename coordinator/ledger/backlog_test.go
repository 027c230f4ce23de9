package ledger_test

import (
	"testing"
	"time"

	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/work"
)

func TestBacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check := func(what string, ready, queued int64, oldest bool) {
		t.Helper()
		got, err := b.Backlog(b.ctx())
		b.must(err)
		if (got.Oldest > 0) != oldest || got.Oldest > time.Hour+time.Minute {
			t.Errorf("%s: the oldest waits for %v", what, got.Oldest)
		}
		got.Oldest = 0
		if want := (ledger.Backlog{Ready: ready, Queued: queued}); got != want {
			t.Errorf("%s: Backlog = %+v, want %+v", what, got, want)
		}
	}
	check("nothing there", 0, 0, false)
	id := b.ready(5)
	b.exec(`UPDATE tranship.items SET not_before = now() - interval '1 hour' WHERE job_id = $1 AND state = 'ready'`, id)
	check("all ready", 5, 0, true)
	b.claim(2)
	check("some queued", 3, 2, true)
	b.exec(`UPDATE tranship.items SET not_before = now() + interval '1 hour' WHERE job_id = $1`, id)
	check("none due", 3, 2, false)
	_, err := b.Pause(b.ctx(), id, "tester")
	b.must(err)
	check("paused", 0, 0, false)
	_, err = b.Resume(b.ctx(), id, "tester")
	b.must(err)
	b.exec(`UPDATE tranship.items SET state = $2 WHERE job_id = $1`, id, string(work.Canceled))
	check("closed", 0, 0, false)
}
