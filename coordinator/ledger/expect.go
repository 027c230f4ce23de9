package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tranship/tranship/internal/work"
)

// Expect tells how far the ledger has come, in items and by its clock. From then
// on a database that has not is refused with work.ErrSetBack when a connection
// is made: a standby took over that lacks the last moments, or a dump was
// restored behind this program's back. Mostly connections do not outlast either,
// so nothing is read from or written to such a database; where they do, because
// tables were replaced under them, Ping finds out.
func (l *Ledger) Expect(i work.Issued) {
	raise(&l.expected.item, int64(i.Item))
	raise(&l.expected.tick, i.Tick)
}

// raise never goes back.
func raise(v *atomic.Int64, to int64) {
	for {
		old := v.Load()
		if to <= old || v.CompareAndSwap(old, to) {
			return
		}
	}
}

// expected is how far a database has to have come.
type expected struct{ item, tick atomic.Int64 }

func (e *expected) get() work.Issued {
	return work.Issued{Item: work.ItemID(e.item.Load()), Tick: e.tick.Load()}
}

// expectedQuery reads how far a database has come.
const expectedQuery = `SELECT last_value AS item, (SELECT ticks FROM clock) AS tick FROM items_id_seq`

// A wary connector makes connections to a database that has come as far as is
// expected of it.
type wary struct {
	driver.Connector
	expected *expected
}

// Connect implements driver.Connector.
func (w wary) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil || w.expected.get() == (work.Issued{}) {
		return conn, err
	}
	if err := w.check(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (w wary) check(ctx context.Context, conn driver.Conn) error {
	seen := w.expected.get() // before what it is compared with
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return errors.New("the driver's connections cannot be asked")
	}
	rows, err := q.QueryContext(ctx, expectedQuery, nil)
	if err != nil {
		return fmt.Errorf("read how far the ledger has come: %w", err)
	}
	row := make([]driver.Value, 2)
	if err := errors.Join(rows.Next(row), rows.Close()); err != nil {
		return fmt.Errorf("read how far the ledger has come: %w", err)
	}
	item, _ := row[0].(int64)
	tick, _ := row[1].(int64)
	return compare(work.Issued{Item: work.ItemID(item), Tick: tick}, seen)
}

// compare returns work.ErrSetBack if a database has not come as far as was seen.
func compare(found, seen work.Issued) error {
	switch {
	case found.Item < seen.Item:
		return fmt.Errorf("%w: its last item is %d, and %d was seen", work.ErrSetBack, found.Item, seen.Item)
	case found.Tick < seen.Tick:
		return fmt.Errorf("%w: its clock is at %d, and %d was seen", work.ErrSetBack, found.Tick, seen.Tick)
	}
	return nil
}
