package agent

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	partStreams = 4 // of one object
	partTries   = 3 // of one part, for passing faults
)

// combinable are the checksums of which that of the whole follows from those
// of its parts.
const combinable = storage.CRC32C | storage.CRC64NVME

// A division is an object on its way in parts. Whoever has a stream takes the
// next part; the first failure ends them all.
type division struct {
	*transfer
	mp     storage.Multipart
	in     storage.Info
	upload storage.Upload
	algos  storage.Algos

	next   atomic.Int64   // the last part that was taken
	stored []storage.Part // part n stands at n-1; written by whoever took it
	seen   []storage.Sums // the same, of the bytes that passed
}

// sizeOf returns how large the parts of an object must be: at least as large
// as usual, and as the target wants them.
func sizeOf(size, usual int64, l storage.Limits) (int64, error) {
	const grain = 1 << 20
	part := max(usual, l.MinPart)
	if l.MaxParts > 0 {
		least := (size + int64(l.MaxParts) - 1) / int64(l.MaxParts)
		part = max(part, (least+grain-1)/grain*grain)
	}
	if l.MaxPart > 0 && part > l.MaxPart || l.MaxObject > 0 && size > l.MaxObject {
		return 0, &storage.Error{Op: "divide", Store: "the target", Fault: work.Unsupported,
			Err: fmt.Errorf("%d bytes are more than it takes", size)}
	}
	return part, nil
}

// parts copies a big object, several parts at once while there are streams to
// spare.
func (t *transfer) parts(ctx context.Context, mp storage.Multipart, in storage.Info) (work.ObjectOutcome, error) {
	size, err := sizeOf(in.Size, t.part, mp.Limits())
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	opts := storage.PutOptions{Meta: in.Meta, Sums: toSend(t.options.Verify, in.Sums, 0)}
	d := &division{transfer: t, mp: mp, in: in, algos: toHash(t.options.Verify, in.Sums, 0, false) & combinable}
	if d.upload, err = mp.Begin(ctx, t.obj.Key, in.Size, size, opts); err != nil {
		return work.ObjectOutcome{}, t.to(err)
	}
	n := (in.Size + size - 1) / size
	d.stored, d.seen = make([]storage.Part, n), make([]storage.Sums, n)
	err = d.run(ctx)
	var dst storage.Info
	var seen storage.Sums
	if err == nil {
		seen = d.combine()
		opts.Sums = merge(opts.Sums, seen)
		dst, err = d.commit(ctx, opts)
	}
	if err != nil {
		return work.ObjectOutcome{}, also(err, d.abort(ctx))
	}
	dst.Sums = merge(dst.Sums, only(seen, d.vouched()))
	return t.conclude(ctx, evidence{size: in.Size, src: in.Sums, seen: seen, dst: dst})
}

// vouched returns the checksums that the target named for every part. They
// were compared as the parts arrived there, so it has vouched for the whole.
func (d *division) vouched() storage.Algos {
	all := combinable
	for _, p := range d.stored {
		all &= p.Sums.Algos()
	}
	return all
}

// run moves all parts.
func (d *division) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	var helping atomic.Int32
	for {
		for helping.Load() < partStreams-1 && d.left() > 1 && d.streams.TryAcquire(1) {
			helping.Add(1)
			helpers.Go(func() {
				defer helping.Add(-1)
				d.help(ctx, fail)
			})
		}
		more, err := d.one(ctx)
		if err != nil {
			fail(err)
		}
		if err != nil || !more {
			break
		}
	}
	helpers.Wait()
	return context.Cause(ctx)
}

// left returns how many parts nobody has taken.
func (d *division) left() int64 { return int64(len(d.stored)) - d.next.Load() }

// help moves parts with a stream that was to spare, until it is needed
// elsewhere or nothing is left.
func (d *division) help(ctx context.Context, fail context.CancelCauseFunc) {
	for {
		more, err := d.one(ctx)
		d.streams.Release(1)
		if err != nil {
			fail(err)
		}
		if err != nil || !more || !d.streams.TryAcquire(1) {
			return
		}
	}
}

// one moves the next part and reports whether there may be more. A panic of a
// driver is the part's error: it may run on a goroutine of its own.
func (d *division) one(ctx context.Context) (more bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{value: r, stack: debug.Stack()}
		}
	}()
	n := d.next.Add(1)
	if n > int64(len(d.stored)) {
		return false, nil
	}
	for try := 1; ; try++ {
		err := d.send(ctx, int(n))
		switch f := storage.FaultOf(err); {
		case err == nil:
			return true, nil
		case try == partTries || ctx.Err() != nil:
			return false, err
		case f != work.Transient && f != work.Throttled && f != work.Corrupt:
			return false, err
		}
		if err := d.open(ctx); err != nil {
			return false, err
		}
	}
}

// send moves part n from one connection to the other.
func (d *division) send(ctx context.Context, n int) error {
	held, err := d.reserve(ctx)
	if err != nil {
		return err
	}
	defer d.budget.give(held)
	off := int64(n-1) * d.upload.Part
	size := min(d.upload.Part, d.in.Size-off)
	body, _, err := d.src.Get(ctx, d.obj.Key, d.in.ETag, off, size)
	if err != nil {
		return d.from(err)
	}
	defer body.Close()
	tp := &tap{body: body, flight: d.flight, left: size, digest: storage.NewDigest(d.algos)}
	part, err := d.mp.PutPart(ctx, d.upload, n, tp, size, storage.Sums{})
	switch broke := tp.broke(); {
	case err != nil && broke != nil:
		return d.from(broke)
	case err != nil:
		return d.to(err)
	case tp.err == nil:
		return fmt.Errorf("put part %d of %s: the target did not read the body to its end", n, work.Quote(d.obj.Key))
	}
	if _, differ := tp.seen.Compare(part.Sums); differ != 0 {
		return mismatch("the target has another %s of part %d than was sent", differ, n)
	}
	d.stored[n-1], d.seen[n-1] = part, tp.seen
	return nil
}

// combine returns the checksums of the whole.
func (d *division) combine() storage.Sums {
	var whole storage.Sums
	for i, s := range d.seen {
		size := min(d.upload.Part, d.in.Size-int64(i)*d.upload.Part)
		if s.CRC32C != nil {
			whole.CRC32C = storage.CombineCRC32C(whole.CRC32C, s.CRC32C, size)
		}
		if s.CRC64NVME != nil {
			whole.CRC64NVME = storage.CombineCRC64NVME(whole.CRC64NVME, s.CRC64NVME, size)
		}
	}
	return whole
}

// commit puts the parts together, unless they are not what the source vouches
// for.
func (d *division) commit(ctx context.Context, opts storage.PutOptions) (storage.Info, error) {
	if d.options.Verify == work.VerifyChecksum {
		seen := d.combine()
		if _, differ := seen.Compare(d.in.Sums); differ != 0 {
			a := best(differ)
			return storage.Info{}, mismatch("what arrived is %s %x, the source vouches for %x", a, seen.Get(a), d.in.Sums.Get(a))
		}
	}
	var dst storage.Info
	err := d.flight.patiently(func() (err error) {
		dst, err = d.mp.Commit(ctx, d.upload, d.stored, opts)
		return err
	})
	return dst, d.to(err)
}

// abort frees the parts of an upload that came to nothing, also when the agent
// is about to stop.
func (d *division) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return d.mp.Abort(ctx, d.upload)
}

// A panicked is the error that a panic became.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }
