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
// because the target may only be written, say, is taken for different. What
// stands there is then what the object is stored over.
func (t *transfer) present(ctx context.Context) (work.ObjectOutcome, error) {
	there, err := t.dst.Stat(ctx, t.obj.Key)
	t.over = seen(there, err)
	switch {
	case storage.Is(err, work.NotFound) || forbidden(err):
		return work.ObjectOutcome{}, nil
	case err != nil:
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
	same, err := t.alike(ctx, in, there)
	if err != nil || same.how == "" {
		return work.ObjectOutcome{}, err
	}
	if !t.again {
		return work.ObjectOutcome{Outcome: work.Skipped, Reason: same.how, Checksum: checksum(same.sums)}, nil
	}
	if in, err = t.pin(ctx); err != nil {
		return work.ObjectOutcome{}, err
	}
	if err := t.missing(ctx, in); err != nil {
		return work.ObjectOutcome{}, err
	}
	return work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Proof: same.proof,
		Checksum: checksum(same.sums), Dropped: t.dropped}, nil
}

// missing finds out what was left behind when the object was copied, by
// whichever way.
func (t *transfer) missing(ctx context.Context, in storage.Info) error {
	var err error
	if _, ok := t.copier(); ok && t.src.Traits().Name == t.dst.Traits().Name {
		_, err = t.copiedMetadata(in)
	} else {
		_, err = t.metadata(ctx, in)
	}
	return err
}

// A likeness says how two objects are known to be equal.
type likeness struct {
	how   string // etag or checksum; empty: they are not
	proof string
	sums  storage.Sums // that are equal
}

// alike compares the contents of two objects of the same size.
func (t *transfer) alike(ctx context.Context, in, there storage.Info) (likeness, error) {
	readBack := t.again && t.options.Verify == work.VerifyReadback
	ours, theirs := spelt(t.src, in.ETag), spelt(t.dst, there.ETag)
	if both, differ := ours.Compare(theirs); both != 0 && differ == 0 && !readBack {
		return likeness{how: "etag", proof: best(both).String(), sums: ours}, nil
	}
	in, err := t.pin(ctx)
	if err != nil {
		return likeness{}, err
	}
	ours, theirs = in.Sums, there.Sums
	if theirs.Algos() == 0 || readBack {
		if theirs, err = t.readTarget(ctx, there, oneOf(ours)); err != nil {
			return likeness{}, err
		}
	}
	weak := ""
	if ours.Algos()&theirs.Algos() == 0 {
		seen, err := t.read(ctx, t.src, in, oneOf(theirs)|cheapest(ours.Algos()))
		if err != nil {
			return likeness{}, t.from(err)
		}
		if _, differ := seen.Compare(ours); differ != 0 {
			a := best(differ)
			return likeness{}, mismatch("what was read is %s %x, the source vouches for %x", a, seen.Get(a), ours.Get(a))
		}
		if ours.Algos() == 0 {
			weak = work.ProofOfTarget
		}
		ours = seen
	}
	both, differ := ours.Compare(theirs)
	if differ != 0 {
		return likeness{}, nil
	}
	return likeness{how: "checksum", proof: best(both).String() + weak, sums: only(ours, both)}, nil
}

// oneOf returns the checksum of a set that is quickest to compute, CRC32C if
// the set is empty.
func oneOf(s storage.Sums) storage.Algos {
	if a := cheapest(s.Algos()); a != 0 {
		return a
	}
	return storage.CRC32C
}

// read reads an object through and returns its checksums.
func (t *transfer) read(ctx context.Context, from *end, in storage.Info, algos storage.Algos) (storage.Sums, error) {
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
	tp := &tap{body: body, of: from.url, looks: true, flight: t.flight, left: in.Size, digest: storage.NewDigest(algos),
		toll: &toll{ctx: ctx, flight: t.flight, at: t.sideOf(from)}}
	_, err = io.Copy(io.Discard, tp)
	return tp.seen, err
}
