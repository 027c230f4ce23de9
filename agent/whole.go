package agent

import (
	"context"
	"errors"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// combinable are the checksums of which that of the whole follows from those
// of its parts.
const combinable = storage.CRC32C | storage.CRC64NVME

// partAlgos returns the checksums to compute of parts whose source vouches for
// have: always CRC32C, and CRC64NVME where only that can be compared with what
// the source says of the whole.
func partAlgos(level work.Verify, have storage.Algos) storage.Algos {
	if strict(level) && have&combinable == storage.CRC64NVME {
		return combinable
	}
	return storage.CRC32C
}

// combine returns the checksums of the whole.
func (d *division) combine() storage.Sums {
	var whole storage.Sums
	all := combinable
	for i, p := range d.stored {
		_, size := d.extent(i + 1)
		sums := storage.Sums{CRC32C: p.CRC32C, CRC64NVME: p.CRC64NVME}
		all &= sums.Algos()
		if all&storage.CRC32C != 0 {
			whole.CRC32C = storage.CombineCRC32C(whole.CRC32C, p.CRC32C, size)
		}
		if all&storage.CRC64NVME != 0 {
			whole.CRC64NVME = storage.CombineCRC64NVME(whole.CRC64NVME, p.CRC64NVME, size)
		}
	}
	return only(whole, all)
}

// named returns the checksums that the target named for every part. They were
// compared as the parts arrived there, so it has vouched for the whole.
func (d *division) named() storage.Algos {
	for _, p := range d.stored {
		if !p.Named {
			return 0
		}
	}
	return storage.CRC32C
}

// commit puts the parts together, unless they are not what the source vouches
// for.
func (d *division) commit(ctx context.Context) (storage.Info, error) {
	whole := d.combine()
	if strict(d.options.Verify) {
		if _, differ := whole.Compare(d.in.Sums); differ != 0 {
			a := best(differ)
			return storage.Info{}, mismatch("what arrived is %s %x, the source vouches for %x", a, whole.Get(a), d.in.Sums.Get(a))
		}
	}
	opts := d.putOptions()
	opts.If = d.over
	opts.Sums = merge(opts.Sums, whole)
	parts := make([]storage.Part, len(d.stored))
	for i, p := range d.stored {
		_, size := d.extent(p.N)
		parts[i] = storage.Part{N: p.N, Size: size, Tag: p.Tag}
		if p.Named {
			parts[i].Sums.CRC32C = p.CRC32C
		}
	}
	var dst storage.Info
	err := d.tries(ctx, func() error {
		return d.flight.patiently(func() (err error) {
			if err := d.leased(); err != nil {
				return err
			}
			dst, err = d.mp.Commit(ctx, d.upload, parts, opts)
			if err = d.to(d.known(err)); !errors.Is(err, errGone) {
				d.mayBeDone(err)
			}
			return err
		})
	}) // after any fault but a refusal it may have been done
	return dst, err
}

// prove decides whether what the parts became is what it should be. If the
// source vouches only for what does not follow from the parts' checksums, the
// target is read through for that; at level readback conclude reads it anyway.
func (d *division) prove(ctx context.Context, dst storage.Info) (work.ObjectOutcome, error) {
	e := evidence{size: d.in.Size, src: d.in.Sums, seen: d.combine(), dst: dst}
	e.dst.Sums = merge(dst.Sums, only(e.seen, d.named()))
	if algos := e.unknown(); algos != 0 && d.options.Verify == work.VerifyChecksum {
		read, err := d.readTarget(ctx, dst, algos)
		if err != nil {
			return work.ObjectOutcome{}, err
		}
		e.dst.Sums = merge(e.dst.Sums, read)
	}
	return d.conclude(ctx, e)
}

// unknown returns the checksum that must be read from the target so that what
// the source vouches for is compared with anything, 0 if it is.
func (e evidence) unknown() storage.Algos {
	have := e.src.Algos()
	if have&(e.seen.Algos()|e.dst.Sums.Algos()) != 0 {
		return 0
	}
	return cheapest(have)
}

// stands looks whether the parts were put together before, and only the
// answer was lost. If what stands at the target is something else, the error
// is gone.
func (d *division) stands(ctx context.Context, gone error) (work.ObjectOutcome, error) {
	there, err := d.dst.Stat(ctx, d.obj.Key)
	switch {
	case err == nil:
	case storage.Is(err, work.NotFound), forbidden(err):
		return work.ObjectOutcome{}, gone
	default:
		return work.ObjectOutcome{}, d.to(err)
	}
	if there.Size != d.in.Size {
		return work.ObjectOutcome{}, gone
	}
	e := evidence{size: d.in.Size, src: d.in.Sums, seen: d.combine(), dst: there}
	if d.options.Verify == work.VerifyReadback {
		e.dst.Sums = storage.Sums{} // its word is not enough
	}
	algos := e.unknown()
	if e.dst.Sums.Algos()&(e.seen.Algos()|e.src.Algos()) == 0 {
		algos |= storage.CRC32C
	}
	if algos != 0 {
		read, err := d.readTarget(ctx, there, algos)
		if err != nil {
			return work.ObjectOutcome{}, err
		}
		e.dst.Sums = merge(e.dst.Sums, read)
	}
	proof, err := prove(work.VerifyChecksum, e)
	if err != nil {
		return work.ObjectOutcome{}, also(gone, err)
	}
	return work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Proof: proof, Checksum: checksum(e.seen), Dropped: d.dropped}, nil
}
