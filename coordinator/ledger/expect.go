package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tranship/tranship/internal/work"
)

// Expect tells which item the ledger has given out. From then on a database
// that has not is refused with work.ErrSetBack when a connection is made: a
// standby took over that lacks the last moments, or a dump was restored behind
// this program's back. Connections do not outlast either, so nothing is read
// from or written to such a database.
func (l *Ledger) Expect(last work.ItemID) {
	for {
		old := l.expected.Load()
		if int64(last) <= old || l.expected.CompareAndSwap(old, int64(last)) {
			return
		}
	}
}

// A wary connector makes connections to a database that has given out all the
// items that are expected of it.
type wary struct {
	driver.Connector
	expected *atomic.Int64
}

// Connect implements driver.Connector.
func (w wary) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil || w.expected.Load() == 0 {
		return conn, err
	}
	if err := w.check(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (w wary) check(ctx context.Context, conn driver.Conn) error {
	expected := w.expected.Load()
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return errors.New("the driver's connections cannot be asked")
	}
	rows, err := q.QueryContext(ctx, `SELECT last_value FROM items_id_seq`, nil)
	if err != nil {
		return fmt.Errorf("read the last item's id: %w", err)
	}
	last := make([]driver.Value, 1)
	if err := errors.Join(rows.Next(last), rows.Close()); err != nil {
		return fmt.Errorf("read the last item's id: %w", err)
	}
	if id, ok := last[0].(int64); !ok || id < expected {
		return fmt.Errorf("%w: its last item is %v, and %d was seen", work.ErrSetBack, last[0], expected)
	}
	return nil
}
