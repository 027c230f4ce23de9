package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	// wholeLimit is the size up to which an object goes in one piece, although
	// it is big, if only so its source's checksum can be compared.
	wholeLimit = 5 << 30
	// throttleTries is how often an object is tried while a store asks to slow
	// down, before that counts as a failed attempt.
	throttleTries = 5
	// copyRefusals is how many server-side copies between two stores may be
	// refused in a row before no more are tried.
	copyRefusals = 8
	// lastWords bounds a request that must be made although its context ended.
	lastWords = 20 * time.Second
)

// Sizes decide which way an object goes.
type sizes struct {
	held  int64 // up to this it goes by way of memory; at most bufferLimit
	whole int64 // up to this in one piece; above it in parts, if the target takes parts
	part  int64 // of this size, or more
}

var usualSizes = sizes{held: bufferLimit, whole: 16 << 20, part: 16 << 20}

// A carrier is what all streams share.
type carrier struct {
	sizes
	budget  *budget
	streams *semaphore.Weighted // one for each object or part on its way
}

// A transfer is one object on its way.
type transfer struct {
	*carrier
	pair
	options work.Options
	obj     work.Object
	again   bool // it may have been copied before: in an earlier delivery or attempt
	flight  *flight
	pinned  *storage.Info // what the source says, once it was asked
}

// run copies the object, or finds that it need not, and says what became of
// it. It returns an error if it is not at the target.
func (t *transfer) run(ctx context.Context) (work.ObjectOutcome, error) {
	for try := 1; ; try++ {
		if err := t.open(ctx); err != nil {
			return work.ObjectOutcome{}, err
		}
		out, err := t.try(ctx)
		switch {
		case err == nil:
			t.src.gate.fine()
			t.dst.gate.fine()
			return out, nil
		case !storage.Is(err, work.Throttled) || try == throttleTries || ctx.Err() != nil:
			return work.ObjectOutcome{}, err
		}
	}
}

// open waits until both stores may be asked.
func (t *transfer) open(ctx context.Context) error {
	if err := t.src.gate.wait(ctx); err != nil {
		return err
	}
	return t.dst.gate.wait(ctx)
}

// from notes an error of the source, to one of the target.
func (t *transfer) from(err error) error { return t.src.note(err) }
func (t *transfer) to(err error) error   { return t.dst.note(err) }

func (e *end) note(err error) error {
	if storage.Is(err, work.Throttled) {
		e.gate.throttled()
	}
	return err
}

func (t *transfer) try(ctx context.Context) (work.ObjectOutcome, error) {
	if t.again || t.obj.Check {
		out, err := t.present(ctx)
		if err != nil || out.Outcome != "" {
			return out, err
		}
	}
	mp, parted := t.dst.Store.(storage.Multipart)
	copier, serverSide := t.dst.Store.(storage.Copier)
	serverSide = serverSide && t.refused.Load() < copyRefusals

	in := storage.Info{Key: t.obj.Key, Size: t.obj.Size, ETag: t.obj.ETag}
	if in.ETag == "" || serverSide || parted && in.Size > t.whole {
		var err error
		if in, err = t.pin(ctx); err != nil {
			return work.ObjectOutcome{}, err
		}
	}
	if serverSide {
		out, err := t.serverCopy(ctx, copier, in)
		if err != nil || out.Outcome != "" {
			return out, err
		}
	}
	switch {
	case in.Size <= t.held:
		return t.buffered(ctx, in)
	case in.Size <= t.whole || !parted || mp.Limits().MaxParts <= 1 || t.wholeOnly(in):
		return t.streamed(ctx, in)
	}
	return t.parts(ctx, mp, in)
}

// pin asks the source for the object and makes sure that it is the version
// that was listed, if one was.
func (t *transfer) pin(ctx context.Context) (storage.Info, error) {
	if t.pinned != nil {
		return *t.pinned, nil
	}
	in, err := t.src.Stat(ctx, t.obj.Key)
	if err != nil {
		return in, t.from(err)
	}
	if t.obj.ETag != "" && in.ETag != t.obj.ETag {
		return in, t.changed(fmt.Errorf("its version is now %q, was %q", in.ETag, t.obj.ETag))
	}
	t.pinned = &in
	return in, nil
}

// changed is the error of a source that is not what was listed.
func (t *transfer) changed(err error) error {
	return &storage.Error{Op: "read", Store: t.src.url, Key: t.obj.Key, Fault: work.SrcChanged, Err: err}
}

// wholeOnly reports whether the source's checksums can be compared only if the
// object goes in one piece: an MD5 cannot be put together from parts.
func (t *transfer) wholeOnly(in storage.Info) bool {
	have := in.Sums.Algos()
	most := t.dst.Traits().MaxPut
	return t.options.Verify == work.VerifyChecksum && have != 0 && have&combinable == 0 &&
		in.Size <= wholeLimit && (most == 0 || in.Size <= most)
}

// serverCopy lets the target copy by itself. The outcome is empty if the
// stores cannot do that.
func (t *transfer) serverCopy(ctx context.Context, c storage.Copier, in storage.Info) (work.ObjectOutcome, error) {
	opts := storage.PutOptions{Meta: in.Meta, Sums: toSend(t.options.Verify, in.Sums, 0)}
	var dst storage.Info
	err := t.flight.patiently(func() (err error) {
		dst, err = c.CopyFrom(ctx, t.obj.Key, t.src.Store, in, opts)
		return err
	})
	switch storage.FaultOf(err) {
	case "":
	case work.Unsupported, work.Denied: // the agent may be allowed what the target is not
		t.refused.Add(1)
		return work.ObjectOutcome{}, nil
	default:
		return work.ObjectOutcome{}, t.to(err)
	}
	t.refused.Store(0)
	t.flight.passed(in.Size)
	return t.conclude(ctx, evidence{size: in.Size, src: in.Sums, dst: dst})
}

// get opens the body of the pinned object and checks that it is what it was.
func (t *transfer) get(ctx context.Context, in storage.Info) (*source, error) {
	body, got, err := t.src.Get(ctx, t.obj.Key, in.ETag, 0, -1)
	if err != nil {
		return nil, t.from(err)
	}
	if got.Size != in.Size {
		_ = body.Close() // it is not read
		return nil, t.changed(fmt.Errorf("its size is now %d, was %d", got.Size, in.Size))
	}
	return &source{ReadCloser: body, meta: got.Meta, sums: merge(got.Sums, in.Sums)}, nil
}

// buffered copies a small object by way of memory: the target's client can send it
// again, and is told its checksum beforehand.
func (t *transfer) buffered(ctx context.Context, in storage.Info) (work.ObjectOutcome, error) {
	var buf *buffer
	err := t.flight.patiently(func() (err error) {
		buf, err = t.budget.buffer(ctx, in.Size)
		return err
	})
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	defer t.budget.free(buf)
	src, err := t.get(ctx, in)
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	tp := t.tap(src, in.Size, toHash(t.options.Verify, src.sums, t.dst.expected(), true))
	b := buf.b[:in.Size]
	err = tp.drain(b)
	if closing := src.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return work.ObjectOutcome{}, t.from(err)
	}
	opts := storage.PutOptions{Meta: src.meta, Sums: toSend(t.options.Verify, src.sums, tp.seen.Algos())}
	if opts.Sums.Algos() == 0 && t.options.Verify == work.VerifyChecksum {
		opts.Sums = only(tp.seen, storage.CRC32C)
	}
	dst, err := t.dst.Put(ctx, t.obj.Key, bytes.NewReader(b), in.Size, opts)
	if err != nil {
		return work.ObjectOutcome{}, t.to(err)
	}
	e := evidence{size: in.Size, src: src.sums, seen: tp.seen, dst: dst}
	if theirs := dst.Sums.Algos(); theirs != 0 && theirs&(tp.seen.Algos()|src.sums.Algos()) == 0 {
		d := storage.NewDigest(theirs)
		d.Write(b)
		e.seen = merge(e.seen, d.Sums())
	}
	return t.conclude(ctx, e)
}

// reserve waits until another body may pass, and returns what the budget must
// get back.
func (t *transfer) reserve(ctx context.Context) (n int64, err error) {
	err = t.flight.patiently(func() (err error) {
		n, err = t.budget.take(ctx, streamCost)
		return err
	})
	return n, err
}

// streamed copies an object from one connection to the other.
func (t *transfer) streamed(ctx context.Context, in storage.Info) (work.ObjectOutcome, error) {
	n, err := t.reserve(ctx)
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	defer t.budget.give(n)
	src, err := t.get(ctx, in)
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	defer src.Close()
	algos := toHash(t.options.Verify, src.sums, t.dst.expected(), false)
	tp := t.tap(src, in.Size, algos)
	opts := storage.PutOptions{Meta: src.meta, Sums: toSend(t.options.Verify, src.sums, algos)}
	dst, err := t.dst.Put(ctx, t.obj.Key, tp, in.Size, opts)
	switch broke := tp.broke(); {
	case err != nil && broke != nil:
		return work.ObjectOutcome{}, t.from(broke) // the cause; what the target says is only its echo
	case err != nil:
		return work.ObjectOutcome{}, t.to(err)
	case tp.err == nil:
		return work.ObjectOutcome{}, fmt.Errorf("put %s: the target did not read the body to its end", work.Quote(t.obj.Key))
	}
	if opts.Sums.Algos() == 0 {
		t.dst.names.Store(uint32(dst.Sums.Algos()))
	}
	return t.conclude(ctx, evidence{size: in.Size, src: src.sums, seen: tp.seen, dst: dst})
}

// tap looks at a body of n bytes.
func (t *transfer) tap(src *source, n int64, algos storage.Algos) *tap {
	tp := &tap{body: src, flight: t.flight, left: n, digest: storage.NewDigest(algos)}
	if t.options.Verify == work.VerifyChecksum {
		tp.want = src.sums
	}
	return tp
}

// conclude decides whether what was written is what it should be, and takes it
// back if not.
func (t *transfer) conclude(ctx context.Context, e evidence) (work.ObjectOutcome, error) {
	proof, err := prove(t.options.Verify, e)
	if err != nil {
		return work.ObjectOutcome{}, also(err, t.takeBack(ctx, e.dst))
	}
	sum := checksum(e.seen)
	if sum == "" {
		sum = checksum(merge(e.dst.Sums, e.src))
	}
	return work.ObjectOutcome{Outcome: work.Copied, Proof: proof, Checksum: sum}, nil
}

// takeBack removes what was just written and is wrong, unless something else
// stands there by now: another agent may have been handed the same object.
func (t *transfer) takeBack(ctx context.Context, wrong storage.Info) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	now, err := t.dst.Stat(ctx, t.obj.Key)
	switch {
	case storage.Is(err, work.NotFound):
		return nil
	case err == nil && now.ETag != wrong.ETag:
		return nil
	case err == nil:
		err = t.dst.Delete(ctx, t.obj.Key)
	}
	if err != nil {
		return fmt.Errorf("the wrong object still stands at the target: %w", err)
	}
	return nil
}

// also adds what else went wrong to an error, whose fault it keeps.
func also(err, more error) error {
	if more == nil {
		return err
	}
	return fmt.Errorf("%w; also: %v", err, more)
}

// A source is an open body with what is known of its object.
type source struct {
	io.ReadCloser
	meta storage.Meta
	sums storage.Sums // vouched for by the store
}
