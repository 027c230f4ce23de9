package storagetest

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A Kind is a way to fail.
type Kind string

// The ways to fail. A kind that makes no sense for a call leaves it alone.
const (
	Lost      Kind = "lost"      // the request never arrives, though the body may be half read: Transient
	Applied   Kind = "applied"   // a change is done and yet reported as failed: Transient; for readers as Lost
	Throttled Kind = "throttled" // refused: Throttled
	Denied    Kind = "denied"    // refused: Denied
	Slow      Kind = "slow"      // waits for Delay before the call, and once in the middle of a body
	Broken    Kind = "broken"    // a body or listing that was read breaks off with an error: Transient
	Short     Kind = "short"     // a body that was read ends early as if it were whole
	Flipped   Kind = "flipped"   // one bit of a body that was read is wrong
	Garbled   Kind = "garbled"   // one bit of a body that is written is wrong; the sums in the options stay right
)

// A Call is a request to a faulty store.
type Call struct {
	Op  string // list, stat, get, put, delete, copy, begin, part, commit or abort
	Key string // empty for list
	N   int    // how often the same was asked before, plus one; of a part: with the same number
}

// Faults say how a store fails.
type Faults struct {
	// Seed makes the choice by Rates repeatable: it depends on the seed and the
	// call alone, not on which goroutine comes first.
	Seed uint64
	// Rates are the chances, from 0 to 1, that a call fails in each way. At
	// most one strikes; they should add up to at most 1.
	Rates map[Kind]float64
	// Script, if set, is asked first; "" leaves the call to Rates. It is
	// called from several goroutines.
	Script func(Call) Kind
	// Delay is how long Slow waits.
	Delay time.Duration
	// Tally, if set, counts what happens.
	Tally *Tally
}

// Faulty returns a store that passes everything on to s but fails as f says.
// It has the optional powers that s has. Copies between two faulty stores are
// copies between the stores behind them.
func Faulty(s storage.Store, f Faults) storage.Store {
	if f.Tally == nil {
		f.Tally = &Tally{}
	}
	w := &faulty{inner: s, Faults: f}
	c, copies := s.(storage.Copier)
	m, parts := s.(storage.Multipart)
	switch {
	case copies && parts:
		return struct {
			*faulty
			faultyCopier
			faultyParts
		}{w, faultyCopier{w, c}, faultyParts{w, m}}
	case copies:
		return struct {
			*faulty
			faultyCopier
		}{w, faultyCopier{w, c}}
	case parts:
		return struct {
			*faulty
			faultyParts
		}{w, faultyParts{w, m}}
	}
	return w
}

type faulty struct {
	inner storage.Store
	Faults
}

// begin counts a call, waits if it is slow, and chooses its fault.
func (f *faulty) begin(ctx context.Context, c Call, fits ...Kind) Kind {
	c.N = f.Tally.call(c)
	kind := f.choose(c)
	for _, k := range fits {
		if k != kind {
			continue
		}
		f.Tally.strike(kind, c.Op)
		if kind == Slow {
			wait(ctx, f.Delay)
		}
		return kind
	}
	return ""
}

// kinds lists the kinds in the order in which they share the chance.
var kinds = []Kind{Lost, Applied, Throttled, Denied, Slow, Broken, Short, Flipped, Garbled}

func (f *faulty) choose(c Call) Kind {
	if f.Script != nil {
		if k := f.Script(c); k != "" {
			return k
		}
	}
	x := f.rng(c).Float64()
	for _, k := range kinds {
		if x -= f.Rates[k]; x < 0 {
			return k
		}
	}
	return ""
}

func (f *faulty) rng(c Call) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, c.Op+"\x00"+c.Key)
	return rand.New(rand.NewPCG(f.Seed, h.Sum64()+uint64(c.N)*0x9e3779b97f4a7c15))
}

// wait lets time pass, but no longer than ctx lasts.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// errors of the kinds, as a driver would report them.
func failed(c Call, k Kind) error {
	e := &storage.Error{Op: c.Op, Store: "faulty store", Key: c.Key, Fault: work.Transient}
	switch k {
	case Lost:
		e.Err = errors.New("injected: connection reset before the request")
	case Applied:
		e.Err = errors.New("injected: connection reset before the answer")
	case Broken:
		e.Err = errors.New("injected: connection reset in the body")
	case Throttled:
		e.Fault, e.Err = work.Throttled, errors.New("injected: slow down")
	case Denied:
		e.Fault, e.Err = work.Denied, errors.New("injected: access denied")
	}
	return e
}

// change passes a call that changes something on, or fails it.
func (f *faulty) change(ctx context.Context, c Call, body io.Reader, size int64, call func(io.Reader) error) error {
	fits := []Kind{Lost, Applied, Throttled, Denied, Slow}
	if size > 0 {
		fits = append(fits, Garbled)
	}
	switch k := f.begin(ctx, c, fits...); k {
	case Lost:
		if body != nil {
			_, _ = io.CopyN(io.Discard, body, size/2) // what was sent into the void
		}
		return failed(c, k)
	case Throttled, Denied:
		return failed(c, k)
	case Applied:
		if err := call(body); err != nil {
			return err
		}
		return failed(c, k)
	case Slow:
		if size > 0 {
			body = &spoiled{Reader: body, at: size / 2, spoil: func([]byte) (int, error) { wait(ctx, f.Delay); return -1, nil }}
		}
	case Garbled:
		at := f.rng(c).Int64N(size)
		body = &spoiled{Reader: body, at: at, spoil: flip}
	}
	return call(body)
}

// look passes a call that only looks on, or fails it.
func (f *faulty) look(ctx context.Context, c Call, more ...Kind) (Kind, error) {
	k := f.begin(ctx, c, append(more, Lost, Applied, Throttled, Denied, Slow)...)
	switch k {
	case Lost, Applied, Throttled, Denied:
		return k, failed(c, k)
	}
	return k, nil
}

// A spoiled reader does something at one place of a body.
type spoiled struct {
	io.Reader
	at    int64 // bytes until then; negative when it is past
	spoil func(p []byte) (n int, err error)
}

// Read implements io.Reader. spoil is called with the bytes from the place on;
// unless it returns -1 it says how many bytes are left of them, and the error
// that ends the body.
func (s *spoiled) Read(p []byte) (int, error) {
	if s.at < 0 || len(p) == 0 {
		return s.Reader.Read(p)
	}
	n, err := s.Reader.Read(p)
	if int64(n) <= s.at {
		s.at -= int64(n)
		return n, err
	}
	at := int(s.at)
	s.at = -1
	if m, end := s.spoil(p[at:n]); m >= 0 {
		return at + m, end
	}
	return n, err
}

func flip(p []byte) (int, error) {
	p[0] ^= 1 << (p[0] % 8)
	return -1, nil
}
