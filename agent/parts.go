package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

const (
	partStreams = 4 // of one object that one agent moves
	partTries   = 3 // of one part, for passing faults
)

// errGone means that the target knows nothing of an upload any more: it was
// aborted, or put together already.
var errGone = errors.New("the upload is no longer there")

// A division is an object on its way in parts, all moved by this agent or each
// by any. With one agent, whoever has a stream takes the next part, and the
// first failure ends them all.
type division struct {
	*transfer
	mp       storage.Multipart
	in       storage.Info
	upload   storage.Upload
	meta     storage.Meta  // what the object is stored with
	before   string        // what was dropped of it when the upload was opened
	repeated bool          // its begin: see work.Upload
	algos    storage.Algos // to compute of every part

	next   atomic.Int64      // the last part that was taken
	stored []work.StoredPart // part n stands at n-1; written by whoever took it
}

// sizeOf returns how large the parts of an object must be: as large as usual,
// or as many bytes more as the target wants, or as there may be parts.
func sizeOf(size, usual int64, l storage.Limits) (int64, error) {
	const grain = 1 << 20
	refuse := func(format string, args ...any) error {
		return &storage.Error{Op: "divide", Store: "the target", Fault: work.Unsupported, Err: fmt.Errorf(format, args...)}
	}
	if l.MaxObject > 0 && size > l.MaxObject {
		return 0, refuse("the object has %d bytes, and the target holds at most %d in one", size, l.MaxObject)
	}
	most := int64(work.MaxParts)
	if l.MaxParts > 0 {
		most = min(most, int64(l.MaxParts))
	}
	least := (size + most - 1) / most
	part := max(usual, l.MinPart)
	if part < least {
		part = (least + grain - 1) / grain * grain
	}
	if l.MaxPart > 0 {
		part = min(part, l.MaxPart)
	}
	if part < least {
		return 0, refuse("the object has %d bytes, and there may be at most %d parts of %d bytes", size, most, part)
	}
	return part, nil
}

// divide prepares an object for its parts.
func (t *transfer) divide(mp storage.Multipart, in storage.Info, u storage.Upload) *division {
	u.Key, u.Size = t.obj.Key, in.Size
	d := &division{transfer: t, mp: mp, in: in, upload: u}
	d.stored = make([]work.StoredPart, work.Upload{Part: u.Part}.Parts(u.Size))
	return d
}

// parts copies a big object, several parts at once while there are streams to
// spare. For a begin it only opens the upload.
func (t *transfer) parts(ctx context.Context, mp storage.Multipart, in storage.Info) (work.ObjectOutcome, error) {
	size, err := sizeOf(in.Size, t.part, mp.Limits())
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	d := t.divide(mp, in, storage.Upload{Part: size})
	if d.meta, err = t.metadata(ctx, in); err != nil {
		return work.ObjectOutcome{}, err
	}
	if err := d.begin(ctx); err != nil {
		return work.ObjectOutcome{}, err
	}
	if t.shared(in.Size) {
		t.opening.opened(d)
		return work.ObjectOutcome{Outcome: work.Begun}, nil
	}
	d.algos = partAlgos(t.options.Verify, in.Sums.Algos())
	var dst storage.Info
	if err = d.run(ctx); err == nil {
		dst, err = d.commit(ctx)
	}
	if err != nil {
		return work.ObjectOutcome{}, also(err, d.abort(ctx))
	}
	return d.prove(ctx, dst)
}

// begin opens the upload. If that was done before, what it left behind when
// its answer was lost is removed first. But what an earlier delivery of a begin
// has opened may be in the ledger, and its parts be on their way: it is left to
// end.
func (d *division) begin(ctx context.Context) error {
	if d.again && (d.opening == nil || d.attempt > 1) {
		if err := d.sweep(ctx); err != nil {
			return d.to(err)
		}
	}
	return d.flight.patiently(func() error {
		u, err := d.mp.Begin(ctx, d.obj.Key, d.in.Size, d.upload.Part, d.putOptions())
		if err != nil {
			return d.to(err)
		}
		d.upload = u
		return nil
	})
}

// sweep aborts uploads of the same key that hold no part. What cannot be swept,
// because uploads may not or cannot be listed, is left to the target's own
// rules.
func (d *division) sweep(ctx context.Context) error {
	left, err := d.mp.Pending(ctx, d.obj.Key)
	for _, u := range left {
		if err == nil {
			err = d.mp.Abort(ctx, u)
		}
	}
	if refusal(err) || storage.Is(err, work.Transient) {
		return err
	}
	return nil
}

// putOptions are those of the whole object. The sums are those of the source;
// those of the bytes are not known before all have passed.
func (d *division) putOptions() storage.PutOptions {
	return storage.PutOptions{Meta: d.meta, Sums: toSend(d.options.Verify, d.in.Sums, 0)}
}

// run moves all parts.
func (d *division) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	var helping atomic.Int32
	for {
		for helping.Load() < partStreams-1 && d.left() > 1 && d.spare() {
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
		d.spared()
		if err != nil {
			fail(err)
		}
		if err != nil || !more || !d.spare() {
			return
		}
	}
}

// spare takes a stream that nobody else needs, if there is one.
func (d *division) spare() bool {
	if !d.lane.tryEnter() {
		return false
	}
	if !d.streams.TryAcquire(1) {
		d.lane.leave()
		return false
	}
	return true
}

// spared gives it back.
func (d *division) spared() {
	d.streams.Release(1)
	d.lane.leave()
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
	err = d.put(ctx, int(n))
	return err == nil, err
}

// put moves part n, trying again what fails in passing.
func (d *division) put(ctx context.Context, n int) error {
	return d.tries(ctx, func() error { return d.send(ctx, n) }, work.Transient, work.Corrupt)
}

// tries does something up to partTries times while it fails with one of the
// faults. That a store refuses to be asked costs no try: open waits for as long
// as makes sense.
func (t *transfer) tries(ctx context.Context, do func() error, faults ...work.Fault) error {
	for try := 1; ; try++ {
		began := time.Now()
		err := judge(ctx, t.flight, []*end{t.src, t.dst}, began, do())
		switch {
		case err == nil:
			t.turn.served()
			return nil
		case ctx.Err() != nil || errors.Is(err, errGone):
			return err
		case refusal(err):
			try--
		case try >= partTries || !slices.Contains(faults, storage.FaultOf(err)):
			return err
		}
		if err := t.open(ctx); err != nil {
			return err
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
	off, size := d.extent(n)
	body, got, err := d.src.Get(ctx, d.obj.Key, d.in.ETag, off, size)
	if err != nil {
		return d.from(err)
	}
	defer body.Close()
	if got.Size != d.in.Size {
		return d.changed(fmt.Errorf("its size is now %d, was %d", got.Size, d.in.Size))
	}
	tp := &tap{body: body, flight: d.flight, left: size, digest: storage.NewDigest(d.algos),
		toll: &toll{ctx: ctx, flight: d.flight, at: atSource | atTarget}}
	part, err := d.mp.PutPart(ctx, d.upload, n, tp, size, storage.Sums{})
	switch broke := tp.broke(); {
	case err != nil && broke != nil:
		return d.from(broke)
	case err != nil:
		return d.to(d.known(err))
	case tp.err == nil:
		return fmt.Errorf("put part %d of %s: the target did not read the body to its end", n, work.Quote(d.obj.Key))
	}
	both, differ := tp.seen.Compare(part.Sums)
	if differ != 0 {
		return mismatch("the target has another %s of part %d than was sent", differ, n)
	}
	d.stored[n-1] = work.StoredPart{
		N: n, Tag: part.Tag, CRC32C: tp.seen.CRC32C, CRC64NVME: tp.seen.CRC64NVME,
		Named: both&storage.CRC32C != 0,
	}
	return nil
}

// extent returns where part n lies.
func (d *division) extent(n int) (off, size int64) {
	return work.Upload{Part: d.upload.Part}.Extent(n, d.upload.Size)
}

// known turns the answer that there is no such upload into errGone. Another
// attempt opens another.
func (d *division) known(err error) error {
	if !storage.Is(err, work.NotFound) {
		return err
	}
	return &storage.Error{Op: "write", Store: d.dst.url, Key: d.obj.Key, Fault: work.Transient, Err: fmt.Errorf("%w: %w", errGone, err)}
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
