package agent

import (
	"context"
	"fmt"
	"io"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// present compares the object with what stands at the target. The outcome is
// empty if it has to be copied.
//
// The checksums that the stores vouch for are compared; where they have none
// in common, the end that lacks one is read through. What cannot be found out,
// because the target may only be written, say, is taken for different.
func (t *transfer) present(ctx context.Context) (work.ObjectOutcome, error) {
	there, err := t.dst.Stat(ctx, t.obj.Key)
	switch storage.FaultOf(err) {
	case "":
	case work.NotFound, work.Denied, work.Unsupported:
		return work.ObjectOutcome{}, nil
	default:
		return work.ObjectOutcome{}, t.to(err)
	}
	in := storage.Info{Key: t.obj.Key, Size: t.obj.Size, ETag: t.obj.ETag}
	if in.ETag == "" {
		if in, err = t.pin(ctx); err != nil {
			return work.ObjectOutcome{}, err
		}
	}
	if there.Size != in.Size {
		return work.ObjectOutcome{}, nil
	}
	if t.options.Compare == work.CompareSize && !t.again {
		return work.ObjectOutcome{Outcome: work.Skipped, Reason: "size"}, nil
	}
	same, reason, sums, err := t.alike(ctx, in, there)
	if err != nil || !same {
		return work.ObjectOutcome{}, err
	}
	if t.again {
		return work.ObjectOutcome{Outcome: work.Copied, Reason: "present",
			Proof: best(sums.Algos()).String(), Checksum: checksum(sums)}, nil
	}
	return work.ObjectOutcome{Outcome: work.Skipped, Reason: reason, Checksum: checksum(sums)}, nil
}

// alike compares the contents of two objects of the same size and returns how
// it knows: the reason, and the sums that are equal.
func (t *transfer) alike(ctx context.Context, in, there storage.Info) (same bool, reason string, sums storage.Sums, err error) {
	ours, theirs := spelt(t.src, in.ETag), spelt(t.dst, there.ETag)
	if both, differ := ours.Compare(theirs); both != 0 && differ == 0 {
		return true, "etag", ours, nil
	}
	if in, err = t.pin(ctx); err != nil {
		return false, "", sums, err
	}
	ours, theirs = in.Sums, there.Sums
	if theirs.Algos() == 0 {
		if theirs, err = t.read(ctx, t.dst, there, oneOf(ours)); err != nil {
			return false, "", sums, t.to(err)
		}
	}
	if ours.Algos()&theirs.Algos() == 0 {
		if ours, err = t.read(ctx, t.src, in, oneOf(theirs)); err != nil {
			return false, "", sums, t.from(err)
		}
	}
	both, differ := ours.Compare(theirs)
	return differ == 0, "checksum", only(ours, both), nil
}

// oneOf returns the checksum of a set that is quickest to compute, CRC32C if
// the set is empty.
func oneOf(s storage.Sums) storage.Algos {
	if a := cheapest(s.Algos()); a != 0 {
		return a
	}
	return storage.CRC32C
}

// read reads an object through and returns its checksum.
func (t *transfer) read(ctx context.Context, from *end, in storage.Info, algo storage.Algos) (storage.Sums, error) {
	n, err := t.reserve(ctx)
	if err != nil {
		return storage.Sums{}, err
	}
	defer t.budget.give(n)
	body, got, err := from.Get(ctx, t.obj.Key, in.ETag, 0, -1)
	if err != nil {
		return storage.Sums{}, err
	}
	defer body.Close()
	if got.Size != in.Size {
		return storage.Sums{}, &storage.Error{Op: "read", Store: from.url, Key: t.obj.Key, Fault: work.SrcChanged,
			Err: fmt.Errorf("its size is now %d, was %d", got.Size, in.Size)}
	}
	tp := &tap{body: body, flight: t.flight, left: in.Size, digest: storage.NewDigest(algo)}
	_, err = io.Copy(io.Discard, tp)
	return tp.seen, err
}
