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
	split int64 // the same, if other agents move them too
}

var usualSizes = sizes{held: bufferLimit, whole: 16 << 20, part: 16 << 20, split: 32 << 20}

// A carrier is what all streams share.
type carrier struct {
	sizes
	budget  *budget
	streams *semaphore.Weighted // one for each object or part on its way
	*lounge
}

// A transfer is one object on its way.
type transfer struct {
	*carrier
	pair
	options work.Options
	obj     work.Object
	again   bool // it may have been copied before: in an earlier delivery or attempt
	attempt int
	flight  *flight
	lease   *lease            // of the item; nil: none
	over    storage.Condition // on which the object is stored; set by looking at the target
	pinned  *storage.Info     // what the source says, once it was asked
	opening *opening          // of a begin; nil: parts are moved here
	turn    turn
	dropped string           // what of the metadata was left behind: see metadata
	misfits []storage.Misfit // fields that the target's server has refused
}

// run copies the object, or finds that it need not, and says what became of
// it. It returns an error if it is not at the target; errRefused if nothing can
// be said of it, because a store refuses to be asked.
func (t *transfer) run(ctx context.Context) (work.ObjectOutcome, error) {
	var out work.ObjectOutcome
	err := t.turn.insist(ctx, t.carrier, t.flight, []*end{t.src, t.dst}, func() (err error) {
		for {
			if out, err = t.try(ctx); !t.droppable(err) {
				t.mayBeDone(err)
				return err
			}
		}
	})
	if storage.Clashed(err) {
		out, err = t.clashed(ctx, err)
	}
	if err != nil {
		return t.ruled(err)
	}
	t.src.fine()
	t.dst.fine()
	return out, nil
}

// mayBeDone has the object compared before it is tried again, if it may have
// been stored although err says that it was not.
func (t *transfer) mayBeDone(err error) {
	t.again = t.again || storage.Is(err, work.Transient) && !refusal(err)
}

// open waits until both stores may be asked; see turn.
func (t *transfer) open(ctx context.Context) error {
	return t.turn.wait(ctx, t.carrier, t.flight, t.src, t.dst)
}

// from notes an error of the source, to one of the target.
func (t *transfer) from(err error) error { return t.src.note(err) }
func (t *transfer) to(err error) error   { return t.dst.note(err) }

// try copies the object once. It looks at the target before it opens the source:
// see the package's documentation.
func (t *transfer) try(ctx context.Context) (work.ObjectOutcome, error) {
	t.over = t.listed()
	if t.again || t.obj.Check {
		out, err := t.present(ctx)
		if err != nil || out.Outcome != "" {
			return out, err
		}
	}
	mp, parted := t.dst.multipart()
	copier, serverSide := t.copier()

	in := storage.Info{Key: t.obj.Key, Size: t.obj.Size, ETag: t.obj.ETag}
	if in.ETag == "" || serverSide || parted && in.Size > t.whole {
		var err error
		if in, err = t.pin(ctx); err != nil {
			return work.ObjectOutcome{}, err
		}
	}
	if err := t.archived(in); err != nil {
		return work.ObjectOutcome{}, err
	}
	if serverSide {
		out, err := t.serverCopy(ctx, copier, in)
		if err != nil || out.Outcome != "" {
			return out, err
		}
	}
	var e evidence
	var err error
	switch {
	case in.Size <= t.held:
		e, err = t.buffered(ctx, in)
	case in.Size <= t.whole || !parted || mp.Limits().MaxParts <= 1 || t.wholeOnly(in):
		e, err = t.streamed(ctx, in)
	default:
		return t.parts(ctx, mp, in)
	}
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	return t.conclude(ctx, e) // only now, when what held the body is free for reading back
}

// copier returns the target if it may be able to copy by itself.
func (t *transfer) copier() (storage.Copier, bool) {
	c, ok := t.dst.Store.(storage.Copier)
	return c, ok && t.refused.Load() < copyRefusals
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

// wholeOnly reports whether the object goes in one piece, although it is big,
// because an MD5 cannot be put together from parts: then the target need not be
// read for it. What several agents share goes in parts all the same.
func (t *transfer) wholeOnly(in storage.Info) bool {
	have := in.Sums.Algos()
	most := t.dst.Traits().MaxPut
	return strict(t.options.Verify) && have != 0 && have&combinable == 0 &&
		(most == 0 || in.Size <= most) && !t.shared(in.Size)
}

// serverCopy lets the target copy by itself. The outcome is empty if the
// stores cannot do that.
func (t *transfer) serverCopy(ctx context.Context, c storage.Copier, in storage.Info) (work.ObjectOutcome, error) {
	meta, err := t.copiedMetadata(in)
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	opts := storage.PutOptions{Meta: meta, Sums: toSend(t.options.Verify, in.Sums, 0), If: t.over}
	var dst storage.Info
	err = t.flight.patientlyFor(in.Size, func() (err error) {
		if err := t.dst.asks(ctx); err != nil {
			return err
		}
		if err := t.leased(); err != nil {
			return err
		}
		dst, err = c.CopyFrom(ctx, t.obj.Key, t.src.Store, in, opts)
		return err
	})
	switch {
	case err == nil:
	case forbidden(err): // the agent may be allowed what the target is not
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
	src := &source{ReadCloser: body, sums: merge(got.Sums, in.Sums)}
	if err = t.archived(got); err == nil {
		err = t.classify(ctx, &got)
	}
	if err == nil {
		src.meta, err = t.metadata(ctx, got)
	}
	if err != nil {
		_ = body.Close() // it is not read
		return nil, err
	}
	return src, nil
}

// buffered copies a small object by way of memory: the target's client can send it
// again, and is told its checksum beforehand.
func (t *transfer) buffered(ctx context.Context, in storage.Info) (evidence, error) {
	var buf *buffer
	err := t.flight.patiently(func() (err error) {
		buf, err = t.budget.buffer(ctx, in.Size)
		return err
	})
	if err != nil {
		return evidence{}, err
	}
	defer t.budget.free(buf)
	src, err := t.get(ctx, in)
	if err != nil {
		return evidence{}, err
	}
	tp := t.tap(src, in.Size, toHash(t.options.Verify, src.sums, t.dst.expected(), true))
	tp.toll = &toll{ctx: ctx, flight: t.flight, at: atSource}
	b := buf.b[:in.Size]
	err = tp.drain(b)
	if closing := src.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return evidence{}, t.from(err)
	}
	opts := storage.PutOptions{Meta: src.meta, Sums: toSend(t.options.Verify, src.sums, tp.seen.Algos()), If: t.over}
	if opts.Sums.Algos() == 0 && strict(t.options.Verify) {
		opts.Sums = only(tp.seen, storage.CRC32C)
	}
	if err := (&toll{ctx: ctx, flight: t.flight, at: atTarget, again: true}).pay(in.Size); err != nil {
		return evidence{}, err
	}
	dst, err := t.dst.Put(ctx, t.obj.Key, &fenced{paced{bytes.NewReader(b), t.flight}, t.fence()}, in.Size, opts)
	if err != nil {
		return evidence{}, t.to(err)
	}
	e := evidence{size: in.Size, src: src.sums, seen: tp.seen, dst: dst}
	if theirs := dst.Sums.Algos(); theirs != 0 && theirs&(tp.seen.Algos()|src.sums.Algos()) == 0 {
		d := storage.NewDigest(theirs)
		d.Write(b)
		e.seen = merge(e.seen, d.Sums())
	}
	return e, nil
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
func (t *transfer) streamed(ctx context.Context, in storage.Info) (evidence, error) {
	n, err := t.reserve(ctx)
	if err != nil {
		return evidence{}, err
	}
	defer t.budget.give(n)
	src, err := t.get(ctx, in)
	if err != nil {
		return evidence{}, err
	}
	defer src.Close()
	algos := toHash(t.options.Verify, src.sums, t.dst.expected(), false)
	tp := t.tap(src, in.Size, algos)
	tp.lease, tp.toll = t.fence(), &toll{ctx: ctx, flight: t.flight, at: atSource | atTarget}
	opts := storage.PutOptions{Meta: src.meta, Sums: toSend(t.options.Verify, src.sums, algos), If: t.over}
	dst, err := t.dst.Put(ctx, t.obj.Key, tp, in.Size, opts)
	switch broke := tp.broke(); {
	case err != nil && broke != nil:
		return evidence{}, t.from(broke) // the cause; what the target says is only its echo
	case err != nil:
		return evidence{}, t.to(err)
	case tp.err == nil:
		return evidence{}, fmt.Errorf("put %s: the target did not read the body to its end", work.Quote(t.obj.Key))
	}
	if opts.Sums.Algos() == 0 {
		t.dst.names.Store(uint32(dst.Sums.Algos()))
	}
	return evidence{size: in.Size, src: src.sums, seen: tp.seen, dst: dst}, nil
}

// tap looks at a body of n bytes.
func (t *transfer) tap(src *source, n int64, algos storage.Algos) *tap {
	tp := &tap{body: src, flight: t.flight, left: n, digest: storage.NewDigest(algos)}
	if strict(t.options.Verify) {
		tp.want = src.sums
	}
	return tp
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
	meta storage.Meta // as the target is to keep it
	sums storage.Sums // vouched for by the store
}
