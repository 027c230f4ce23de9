package agent

import (
	"context"
	"fmt"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// conclude decides whether what was written is what it should be, and takes it
// back if not. What was left behind on the way is added to the outcome.
func (t *transfer) conclude(ctx context.Context, e evidence) (work.ObjectOutcome, error) {
	t.again = true // should this have to be repeated, for it stands there now
	proof, err := prove(t.options.Verify, e)
	if err == nil && t.options.Verify == work.VerifyReadback {
		if e, err = t.readBack(ctx, e); err == nil {
			proof, err = prove(t.options.Verify, e)
		}
	}
	switch {
	case storage.Is(err, work.Corrupt):
		return work.ObjectOutcome{}, also(err, t.takeBack(ctx, e.dst))
	case err != nil:
		return work.ObjectOutcome{}, err
	}
	sum := checksum(e.seen)
	if sum == "" {
		sum = checksum(merge(e.dst.Sums, e.src))
	}
	return work.ObjectOutcome{Outcome: work.Copied, Proof: proof, Checksum: sum, Dropped: t.dropped}, nil
}

// readBack reads the version that was just written whole, and returns the
// evidence with what was read in the place of what the target says. Of a copy
// that the server made, of which the source vouches for nothing, the source is
// read through too: else there would be nothing to compare with.
func (t *transfer) readBack(ctx context.Context, e evidence) (evidence, error) {
	if e.seen.Algos()|e.src.Algos() == 0 {
		in, err := t.pin(ctx)
		if err != nil {
			return e, err
		}
		if e.seen, err = t.read(ctx, t.src, in, storage.CRC32C); err != nil {
			return e, t.from(err)
		}
	}
	there := e.dst
	there.Size = e.size
	sums, err := t.readTarget(ctx, there, cheapest(e.seen.Algos())|cheapest(e.src.Algos()))
	if err != nil {
		return e, err
	}
	e.dst.Sums = sums
	return e, nil
}

// readTarget reads a version of the object at the target through.
func (t *transfer) readTarget(ctx context.Context, there storage.Info, algos storage.Algos) (storage.Sums, error) {
	sums, err := t.read(ctx, t.dst, there, algos)
	switch storage.FaultOf(err) {
	case work.SrcChanged, work.NotFound: // of the target, that is
		err = &storage.Error{Op: "read back", Store: t.dst.url, Key: t.obj.Key, Fault: work.Transient,
			Err: fmt.Errorf("somebody else changed the object at the target meanwhile: %w", err)}
	}
	return sums, t.to(err)
}

// takeBack removes what was just written and is wrong, unless something else
// stands there by now: another agent may have been handed the same object.
func (t *transfer) takeBack(ctx context.Context, wrong storage.Info) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	now, err := t.dst.Store.Stat(ctx, t.obj.Key) // no limit may keep it there
	switch {
	case storage.Is(err, work.NotFound):
		return nil
	case err == nil && (now.ETag != wrong.ETag || t.lease.over()):
		return nil // whoever has the item now compares first
	case err == nil:
		err = t.dst.Delete(ctx, t.obj.Key)
	}
	if err != nil {
		return fmt.Errorf("the wrong object still stands at the target: %w", err)
	}
	return nil
}
