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
// so nothing is read from or written to such a database.
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
	if err != nil || w.expected.item.Load() == 0 && w.expected.tick.Load() == 0 {
		return conn, err
	}
	if err := w.check(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (w wary) check(ctx context.Context, conn driver.Conn) error {
	item, tick := w.expected.item.Load(), w.expected.tick.Load()
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return errors.New("the driver's connections cannot be asked")
	}
	rows, err := q.QueryContext(ctx, expectedQuery, nil)
	if err != nil {
		return fmt.Errorf("read how far the ledger has come: %w", err)
	}
	found := make([]driver.Value, 2)
	if err := errors.Join(rows.Next(found), rows.Close()); err != nil {
		return fmt.Errorf("read how far the ledger has come: %w", err)
	}
	foundItem, _ := found[0].(int64)
	foundTick, _ := found[1].(int64)
	return compare(foundItem, item, foundTick, tick)
}

// compare returns work.ErrSetBack if something is less than was seen.
func compare(item, seenItem, tick, seenTick int64) error {
	switch {
	case item < seenItem:
		return fmt.Errorf("%w: its last item is %d, and %d was seen", work.ErrSetBack, item, seenItem)
	case tick < seenTick:
		return fmt.Errorf("%w: its clock is at %d, and %d was seen", work.ErrSetBack, tick, seenTick)
	}
	return nil
}
