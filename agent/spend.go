package agent

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// bounds are the allowances that an item keeps to.
type bounds struct {
	version  uint64       // of the limits that they were chosen from
	src, dst []*allowance // of the stores
	all      []*allowance // of the site and the job
}

// bounds returns the allowances that an item keeps to now.
func (h *held) bounds() *bounds {
	l := h.agent.limits
	version := l.version.Load() // first: what is newer than it says is only chosen once more
	if b := h.bound.Load(); b != nil && b.version == version {
		return b
	}
	b := &bounds{version: version}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.shares {
		switch a.Scope {
		case work.LimitStore:
			if h.pair.src.concerned(a.Name, h.item.Source) {
				b.src = append(b.src, a)
			}
			if h.pair.dst.concerned(a.Name, h.item.Target) {
				b.dst = append(b.dst, a)
			}
		case work.LimitSite:
			if a.Name == l.site {
				b.all = append(b.all, a)
			}
		case work.LimitJob:
			if a.Name == h.item.Job.String() {
				b.all = append(b.all, a)
			}
		}
	}
	h.bound.Store(b)
	return b
}

// concerned reports whether a limit of stores by this name is about the end,
// as jobs name it, as what that comes to, or by its name in the configuration.
// Of an end that is not open only its URL is known.
func (e *end) concerned(limit, url string) bool {
	if work.ConcernsStore(limit, url) {
		return true
	}
	return e != nil && slices.ContainsFunc([]string{e.place.URL, e.place.Named}, func(also string) bool {
		return also != "" && work.ConcernsStore(limit, also)
	})
}

// A side is where bytes pass: they count for each store that they leave or
// reach, and once for the site and the job.
type side int

const (
	atSource side = 1 << iota
	atTarget
)

// sideOf returns on which side of the transfer an end is.
func (t *transfer) sideOf(e *end) side {
	if e == t.src {
		return atSource
	}
	return atTarget
}

// on returns the allowances of one thing that passes there.
func (b *bounds) on(s side) []*allowance {
	var found []*allowance
	if s&atSource != 0 {
		found = append(found, b.src...)
	}
	if s&atTarget != 0 {
		found = append(found, b.dst...)
	}
	return found
}

// holder returns the item that the stream works for, nil if it is idle.
func (f *flight) holder() *held {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.item
}

// bounds returns what bounds the stream now, nil if nothing does.
func (f *flight) bounds() *bounds {
	h := f.holder()
	if h == nil || h.agent == nil || h.agent.limits == nil {
		return nil
	}
	if b := h.bounds(); len(b.src)+len(b.dst)+len(b.all) > 0 {
		return b
	}
	return nil
}

// admit waits until the agent knows what it may use, if a limit bounds the item.
func (f *flight) admit(ctx context.Context) error {
	h := f.holder()
	if h == nil || !h.item.Limited {
		return nil
	}
	return h.agent.limits.open(ctx, f, nil, nil)
}

// A toll has bytes of a body pass no faster than they may.
type toll struct {
	ctx    context.Context
	flight *flight
	at     side
	again  bool // they were counted for the site and the job before
}

// piece returns how many of n bytes may be taken at once.
func (t *toll) piece(n int) int {
	if t == nil {
		return n
	}
	b := t.flight.bounds()
	if b == nil {
		return n
	}
	for _, a := range slices.Concat(b.on(t.at), b.all) {
		n = min(n, min(max(a.bytes.Load().Burst()*4/pieces, leastPiece), mostPiece))
	}
	return n
}

// pay waits until so many bytes may pass. It returns errNoShare if there is no
// share for too long.
func (t *toll) pay(n int64) error {
	if t == nil {
		return nil
	}
	b := t.flight.bounds()
	if b == nil {
		return nil
	}
	all := b.on(t.at)
	if !t.again {
		all = append(all, b.all...)
	}
	for _, a := range all {
		a.bytes.used.Add(n)
		for left := n; left > 0; {
			piece := min(left, int64(max(a.bytes.Load().Burst(), 1)))
			if err := t.flight.draw(t.ctx, a, &a.bytes, int(piece)); err != nil {
				return err
			}
			left -= piece
		}
	}
	return nil
}

// draw takes n from a cistern, waiting for it to fill.
func (f *flight) draw(ctx context.Context, a *allowance, b *cistern, n int) error {
	h := f.holder()
	if h == nil {
		return context.Cause(ctx)
	}
	for {
		if err := h.agent.limits.open(ctx, f, a, b); err != nil {
			return err
		}
		grew := a.grew.get()
		l := b.Load()
		if l.Limit() == 0 {
			return nil // it is not bounded
		}
		r := l.ReserveN(time.Now(), n)
		if !r.OK() {
			return nil // the share has just become less than the piece: it is one piece too much
		}
		if r.Delay() == 0 {
			return nil
		}
		began := time.Now()
		anew, err := f.pace(ctx, r.Delay(), grew)
		b.waited.Add(int64(time.Since(began)))
		if err != nil || anew {
			r.Cancel()
		}
		if err != nil || !anew {
			return err
		}
	}
}

// pace waits for d, or until the share has grown. The stream is not stalled
// meanwhile.
func (f *flight) pace(ctx context.Context, d time.Duration, grew <-chan struct{}) (anew bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	err = f.patiently(func() error {
		select {
		case <-timer.C:
		case <-grew:
			anew = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return nil
	})
	return anew, err
}

// A flightKey is that of the flight in the context of what it does.
type flightKey struct{}

// asks waits until a store may be asked, for the flight in whose context that
// is; anything else is not bounded.
func (e *end) asks(ctx context.Context) error {
	f, ok := ctx.Value(flightKey{}).(*flight)
	if !ok {
		return nil
	}
	b := f.bounds()
	if b == nil {
		return nil
	}
	s := atTarget
	if h := f.holder(); h != nil && e.url == h.item.Source {
		s = atSource
	}
	for _, a := range slices.Concat(b.on(s), b.all) {
		a.requests.used.Add(1)
		if err := f.draw(ctx, a, &a.requests, 1); err != nil {
			return err
		}
	}
	return nil
}

// List implements storage.Store.
func (e *end) List(ctx context.Context, r work.Range, fn func([]storage.Info) error) error {
	if err := e.asks(ctx); err != nil {
		return err
	}
	first := true
	return e.Store.List(ctx, r, func(infos []storage.Info) error {
		if !first {
			if err := e.asks(ctx); err != nil {
				return err
			}
		}
		first = false
		return fn(infos)
	})
}

// Stat implements storage.Store.
func (e *end) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := e.asks(ctx); err != nil {
		return storage.Info{}, err
	}
	return e.Store.Stat(ctx, key)
}

// Get implements storage.Store.
func (e *end) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if err := e.asks(ctx); err != nil {
		return nil, storage.Info{}, err
	}
	return e.Store.Get(ctx, key, etag, off, n)
}

// Put implements storage.Store.
func (e *end) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if err := e.asks(ctx); err != nil {
		return storage.Info{}, err
	}
	return e.Store.Put(ctx, key, body, size, opts)
}

// multipart returns the end as what takes objects in parts, if it does. What ends
// an upload is never held up.
func (e *end) multipart() (storage.Multipart, bool) {
	mp, ok := e.Store.(storage.Multipart)
	if !ok {
		return nil, false
	}
	return &parted{mp, e}, true
}

// A parted end takes objects in parts.
type parted struct {
	storage.Multipart
	end *end
}

// Begin implements storage.Multipart.
func (p *parted) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	if err := p.end.asks(ctx); err != nil {
		return storage.Upload{}, err
	}
	return p.Multipart.Begin(ctx, key, size, part, opts)
}

// PutPart implements storage.Multipart.
func (p *parted) PutPart(ctx context.Context, u storage.Upload, n int, body io.Reader, size int64, sums storage.Sums) (storage.Part, error) {
	if err := p.end.asks(ctx); err != nil {
		return storage.Part{}, err
	}
	return p.Multipart.PutPart(ctx, u, n, body, size, sums)
}

// Commit implements storage.Multipart.
func (p *parted) Commit(ctx context.Context, u storage.Upload, parts []storage.Part, opts storage.PutOptions) (storage.Info, error) {
	if err := p.end.asks(ctx); err != nil {
		return storage.Info{}, err
	}
	return p.Multipart.Commit(ctx, u, parts, opts)
}
