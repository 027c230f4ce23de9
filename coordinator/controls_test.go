package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tranship/tranship/internal/work"
)

type state = map[work.JobID]work.JobControl

// A table stands for both the ledger's open jobs and the queue's table.
type table struct {
	open, kept state
	calls      int
	err        error
}

func (b *table) OpenControls(context.Context) (state, error) { return b.open, nil }

func (b *table) SetJob(_ context.Context, id work.JobID, c work.JobControl) error {
	b.calls++
	if b.err == nil {
		b.kept[id] = c
	}
	return b.err
}

func (b *table) DropJob(_ context.Context, id work.JobID) error {
	b.calls++
	if b.err == nil {
		delete(b.kept, id)
	}
	return b.err
}

func (b *table) Jobs(context.Context) ([]work.JobID, error) {
	return slices.Collect(maps.Keys(b.kept)), nil
}

func TestControls(t *testing.T) {
	t.Parallel()
	running, paused := work.JobControl{State: work.Running}, work.JobControl{State: work.Paused}
	canceled := work.JobControl{State: work.Canceled}
	synctest.Test(t, func(t *testing.T) {
		b := &table{open: state{1: running, 2: paused}, kept: state{}}
		c := newControls(b, b)
		step := func(name string, want state, calls int) {
			t.Helper()
			b.calls = 0
			if err := c.sync(t.Context()); !errors.Is(err, b.err) {
				t.Fatalf("%s: sync = %v", name, err)
			}
			if !maps.Equal(b.kept, want) {
				t.Errorf("%s: the table is %v, want %v", name, b.kept, want)
			}
			if b.calls != calls {
				t.Errorf("%s: %d calls, want %d", name, b.calls, calls)
			}
		}
		step("first time", state{1: running, 2: paused}, 2)
		step("no change", state{1: running, 2: paused}, 0)
		b.open = state{1: paused, 2: paused, 3: running}
		step("one changed, one new", state{1: paused, 2: paused, 3: running}, 2)

		b.open = state{1: paused, 3: running}
		if err := c.tell(t.Context(), 2, work.Canceled); err != nil {
			t.Fatal(err)
		}
		step("one canceled", state{1: paused, 2: canceled, 3: running}, 0)
		time.Sleep(controlsLinger)
		b.err = errors.New("no answer")
		step("the queue is away", state{1: paused, 2: canceled, 3: running}, 1)
		b.err = nil
		step("it is back", state{1: paused, 3: running}, 3)

		b.kept = state{}
		time.Sleep(2 * controlsAnew)
		step("the table was lost", state{1: paused, 3: running}, 2)

		b.open = state{3: running}
		step("one ended", state{1: paused, 3: running}, 0)
		b.open = state{1: running, 3: running}
		step("it was opened again", state{1: running, 3: running}, 1)

		b.open = state{1: running}
		if err := c.tell(t.Context(), 3, work.Incomplete); err != nil {
			t.Fatal(err)
		}
		step("one finished here", state{1: running}, 0)

		b.kept[9] = running // of a ledger that was replaced by an older one
		time.Sleep(2 * controlsAnew)
		step("one that nobody knows", state{1: running, 9: running}, 1)
		time.Sleep(controlsLinger)
		step("a minute later", state{1: running}, 2)
	})
}
