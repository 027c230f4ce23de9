package ledger

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tranship/tranship/internal/work"
)

// Record writes results to the ledger in one transaction and reports how many
// of them changed something. What becomes of each is up to decide, which must
// look at nothing but its arguments: the item as its row says, whose range
// begins behind what was applied of it, and whose objects are there only if
// the result opens an upload, or names a fault or an outcome other than copied
// and skipped.
//
// Recording a result twice, late, or of an item that is closed or unknown
// changes nothing and is no error: a caller may repeat any batch. A success or
// a page counts for an open item whatever its epoch; a failure counts only
// from the item's current epoch on. Results of one item are applied in the
// order given. An upload that a result opens and that nothing comes of, for the
// result is late or not the only one, is recorded as one to be aborted.
//
// A result that cannot be applied is recorded as a failure of its item
// (work.Internal) and logged; it does not keep the others from being recorded.
// When Record returns an error, the batch must be given again.
func (l *Ledger) Record(ctx context.Context, results []work.Result, decide func(work.Item, work.Result) work.Verdict) (changed int, err error) {
	changed, err = l.record(ctx, results, decide)
	if err != nil {
		return changed, fmt.Errorf("record %d results: %w", len(results), err)
	}
	return changed, nil
}

// record divides a batch that the database refuses until what it refuses
// stands alone. Order is kept: the first half is recorded before the second.
func (l *Ledger) record(ctx context.Context, results []work.Result, decide decider) (changed int, err error) {
	if len(results) == 0 {
		return 0, nil
	}
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		changed, err = l.recordTx(ctx, tx, results, decide)
		return err
	})
	if err == nil || !refusesData(err) {
		return changed, err
	}
	if len(results) == 1 {
		return l.recordPoison(ctx, results[0], err, decide)
	}
	half := len(results) / 2
	first, err := l.record(ctx, results[:half], decide)
	if err != nil {
		return first, err
	}
	second, err := l.record(ctx, results[half:], decide)
	return first + second, err
}

// refusesData reports whether the database refused what was to be written, so
// that doing it again would be in vain.
func refusesData(err error) bool {
	e := pq.As(err)
	if e == nil {
		return false
	}
	switch e.Code.Class() {
	case "22", "23", "54": // data, constraint, limit
		return true
	}
	return false
}

// recordPoison records, in place of a result that cannot be, that it cannot
// be: its item then has a failure, which is tried again within bounds and ends
// in the open. If not even that works, the item stays on the queue as it is.
func (l *Ledger) recordPoison(ctx context.Context, r work.Result, reason error, decide decider) (changed int, err error) {
	l.log.ErrorContext(ctx, "result refused", "job_id", r.Job, "item", r.Item, "agent", r.Agent, "epoch", r.Epoch, "err", reason)
	err = l.inTx(ctx, func(tx *sqlx.Tx) error {
		changed, err = l.recordTx(ctx, tx, []work.Result{poisoned(r, reason)}, decide)
		return err
	})
	if err != nil && refusesData(err) {
		l.log.ErrorContext(ctx, "result dropped", "job_id", r.Job, "item", r.Item, "agent", r.Agent, "epoch", r.Epoch, "err", err)
		return 0, nil
	}
	return changed, err
}

// poisoned is what is recorded in place of a result that cannot be.
func poisoned(r work.Result, reason error) work.Result {
	return work.Result{
		Job: r.Job, Item: r.Item, Kind: r.Kind, Epoch: r.Epoch, Agent: r.Agent, At: r.At, TookMS: r.TookMS,
		Fault: work.Internal, Error: work.Clip(plain("the result could not be recorded: " + reason.Error())),
	}
}

// recordTx applies the results to the rows in memory and writes what changed.
func (l *Ledger) recordTx(ctx context.Context, tx *sqlx.Tx, results []work.Result, decide decider) (changed int, err error) {
	b, err := loadBatch(ctx, tx, results)
	if err != nil {
		return 0, err
	}
	if len(b.rows) > 0 {
		load := func(ids []int64) error { return b.loadObjects(ctx, tx, ids) }
		if changed, err = b.applyAll(ctx, l.log, results, decide, load); err != nil {
			return 0, err
		}
	}
	if changed > 0 {
		if err := b.write(ctx, tx); err != nil {
			return 0, err
		}
	}
	strays, err := keepStrays(ctx, tx, results)
	return changed + strays, err
}
