package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// An opening is what a begin came to, if it opened an upload.
type opening struct {
	object work.Object // the version that the parts read
	upload work.Upload // without an ID: none
}

func (o *opening) opened(d *division) {
	o.object = work.Object{Key: d.obj.Key, Size: d.in.Size, ETag: d.in.ETag, ModTime: d.in.ModTime}
	o.upload = work.Upload{ID: d.upload.ID, Part: d.upload.Part, Dropped: d.dropped, Stood: stood(d.over), Repeated: d.again}
}

// shared reports whether the parts of an object of size bytes are left to
// items of their own, which any agent may take.
func (t *transfer) shared(size int64) bool {
	return t.opening != nil && t.options.KindFor(size) == work.Begin
}

// forBegin is the carrier of an object that goes in shared parts from the size
// on that its job says, which may be less than what goes in one piece else.
func (c *carrier) forBegin(o work.Options) *carrier {
	below := c.whole
	if o.Split > 0 {
		below = min(below, o.Split-1)
	}
	return &carrier{budget: c.budget, streams: c.streams, lounge: c.lounge,
		sizes: sizes{held: min(c.held, below), whole: below, part: c.split, split: c.split}}
}

// resume goes on with the upload that an item names.
func (t *transfer) resume(it work.Item) (*division, error) {
	mp, ok := t.dst.multipart()
	if !ok {
		return nil, &storage.Error{Op: "open", Store: t.dst.url, Key: t.obj.Key, Fault: work.Unsupported,
			Err: fmt.Errorf("the target takes no parts, and item %d is a %s", it.ID, it.Kind)}
	}
	in := storage.Info{Key: t.obj.Key, Size: t.obj.Size, ETag: t.obj.ETag}
	d := t.divide(mp, in, storage.Upload{ID: it.Upload.ID, Part: it.Upload.Part})
	d.before, d.over, d.repeated = it.Upload.Dropped, overStood(it.Upload.Stood), it.Upload.Repeated
	return d, nil
}

// storePart does a part item.
func (t *transfer) storePart(ctx context.Context, it work.Item, v *vouched) (work.StoredPart, error) {
	d, err := t.resume(it)
	if err != nil {
		return work.StoredPart{}, err
	}
	if err := t.open(ctx); err != nil {
		return work.StoredPart{}, err
	}
	have, err := t.vouches(ctx, v)
	if err != nil {
		return work.StoredPart{}, err
	}
	d.algos = partAlgos(t.options.Verify, have)
	if err := d.put(ctx, it.N); err != nil {
		return work.StoredPart{}, err
	}
	t.src.fine()
	t.dst.fine()
	return d.stored[it.N-1], nil
}

// vouches returns the checksums that the source vouches for. It asks if that
// matters and is not remembered.
func (t *transfer) vouches(ctx context.Context, v *vouched) (storage.Algos, error) {
	if !strict(t.options.Verify) {
		return 0, nil
	}
	x := version{t.src.url, t.obj.Key, t.obj.ETag}
	if have, ok := v.of(x); ok {
		return have, nil
	}
	in, err := t.look(ctx)
	if err != nil {
		return 0, err
	}
	v.note(x, in.Sums.Algos())
	return in.Sums.Algos(), nil
}

// look asks the source for the version whose parts are moved.
func (t *transfer) look(ctx context.Context) (in storage.Info, err error) {
	err = t.tries(ctx, func() error {
		in, err = t.pin(ctx)
		return err
	}, work.Transient)
	if err == nil && in.Size != t.obj.Size {
		err = t.changed(fmt.Errorf("its size is now %d, was %d", in.Size, t.obj.Size))
	}
	return in, err
}

// finish does a finish item.
func (t *transfer) finish(ctx context.Context, it work.Item) (work.ObjectOutcome, error) {
	d, err := t.resume(it)
	if err != nil {
		return work.ObjectOutcome{}, err
	}
	for i, p := range it.Parts {
		if p.N != i+1 || p.Tag == "" {
			return work.ObjectOutcome{}, &storage.Error{Op: "commit", Store: t.dst.url, Key: t.obj.Key, Fault: work.Internal,
				Err: fmt.Errorf("part %d stands in place %d of the finish", p.N, i+1)}
		}
	}
	copy(d.stored, it.Parts)
	if err := t.open(ctx); err != nil {
		return work.ObjectOutcome{}, err
	}
	if d.in, err = t.look(ctx); err != nil {
		return work.ObjectOutcome{}, err
	}
	var out work.ObjectOutcome
	err = t.turn.insist(ctx, t.carrier, t.flight, []*end{t.src, t.dst}, func() (err error) {
		for {
			if out, err = d.end(ctx); !t.droppable(err) {
				return err
			}
		}
	})
	if err == nil {
		t.src.fine()
		t.dst.fine()
	}
	if err != nil {
		return t.ruled(err)
	}
	return out, nil
}

// end puts the parts together and proves the whole, once.
func (d *division) end(ctx context.Context) (work.ObjectOutcome, error) {
	var err error
	if d.meta, err = d.metadata(ctx, d.in); err != nil {
		return work.ObjectOutcome{}, err
	}
	d.dropped = union(d.before, d.dropped)
	dst, err := d.commit(ctx)
	switch {
	case err == nil:
		d.again = true // should the proof have to be repeated
		if d.repeated {
			_ = d.sweep(ctx) // of a begin that nobody heard of; it does not matter to the object
		}
		return d.prove(ctx, dst)
	case errors.Is(err, errGone) && d.again:
		return d.stands(ctx, err)
	case storage.Clashed(err):
		return d.stands(ctx, d.inTheWay(err))
	}
	return work.ObjectOutcome{}, err
}

// giveUp does an abort item. The source is not open.
func (t *transfer) giveUp(ctx context.Context, it work.Item) error {
	d, err := t.resume(it)
	if err != nil {
		return err
	}
	return t.turn.insist(ctx, t.carrier, t.flight, []*end{t.dst}, func() error {
		return t.to(t.flight.patiently(func() error { return d.mp.Abort(ctx, d.upload) }))
	})
}
