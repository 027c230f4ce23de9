package storagetest

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A Kind is a way to fail.
type Kind string

// The ways to fail as networks and clouds do. A kind that makes no sense for a
// call leaves it alone.
const (
	Lost       Kind = "lost"        // the request never arrives, though the body may be half read: Transient
	Applied    Kind = "applied"     // a change is done and yet reported as failed: Transient; for readers as Lost
	Throttled  Kind = "throttled"   // refused: Throttled
	RetryAfter Kind = "retry-after" // refused: Throttled, and the error says for how long (Faults.After)
	Denied     Kind = "denied"      // refused: Denied
	Expired    Kind = "expired"     // refused: Denied, and the error says that the credentials have expired
	Slow       Kind = "slow"        // waits for Delay before the call, and once in the middle of a body
	Broken     Kind = "broken"      // a body or listing that was read breaks off with an error: Transient
	Short      Kind = "short"       // a body that was read ends early as if it were whole
	Long       Kind = "long"        // a body that was read goes on behind its end
	Flipped    Kind = "flipped"     // one bit of a body that was read is wrong
	Garbled    Kind = "garbled"     // one bit of a body that is written is wrong; the sums in the options stay right
)

// The ways to lie: the call succeeds, and something is not as it should be. The
// store does not look at the sums that Commit is given when it damages an
// object, for one that did would notice by itself.
const (
	// Swapped commits an upload with two of its parts in each other's place.
	// The size is right and so was each part's answer. Whoever compares the
	// checksum of the whole that the store names with that of the parts in
	// order notices, and whoever reads the object back.
	Swapped Kind = "swapped"
	// Doubled commits an upload with one part in its neighbour's place as well
	// as in its own. It is noticed as Swapped is.
	Doubled Kind = "doubled"
	// Truncated commits an upload without one of its middle parts, and answers
	// with the full size and no checksum. Whoever asks for the object's size
	// afterwards notices, by Stat or List, and whoever reads it back; not who
	// trusts the answer.
	Truncated Kind = "truncated"
	// Stale serves the content that a key had before the last change made
	// through the faulty store, if it is long enough, as if it were the new:
	// with its ETag, size and checksums. Whoever compares what was read with
	// the checksums that the source vouches for notices; if it vouches for
	// none, nobody does who reads once.
	Stale Kind = "stale"
	// Lied gives a false ETag and false checksums in an answer; what is stored
	// or read is right. Whoever compares the checksums with the bytes takes the
	// object for damaged and must try again; whoever pins a read to the ETag
	// finds the object changed; a part with a false tag cannot be committed.
	// Where the store vouches for no checksum, only a second look at the ETag
	// shows the lie.
	Lied Kind = "lied"
	// Mistagged gives a false ETag alone in an answer. Whoever pins a read to it
	// finds the object changed.
	Mistagged Kind = "mistagged"
	// Kept does not store what is put where something stands already, and
	// answers with what the store says of that. Whoever compares the size and
	// the checksums in the answer with what was sent notices.
	Kept Kind = "kept"
	// Perjured stores an object with one bit wrong and vouches in the answer
	// for the right bytes; the ETag is that of the wrong ones. Whoever asks for
	// the checksums afterwards notices, and whoever reads the object back; not
	// who trusts the answer.
	Perjured Kind = "perjured"
)

// A Call is a request to a faulty store.
type Call struct {
	Op  string // list, stat, get, put, delete, copy, begin, part, commit, abort, pending, tags, keeps or probe
	Key string // empty for list and probe; of a part with "#" and its number
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
	// After is how long RetryAfter asks to be left alone.
	After time.Duration
	// Remember keeps what a key held before each change, in memory, so that a
	// Script can have it served by Stale. A rate of Stale does so too.
	Remember bool
	// Tally, if set, counts what happens.
	Tally *Tally
}

// Faulty returns a store that passes everything on to s but fails as f says.
// It is a Copier or a Multipart if s is. It is a Tagger, Keeper, Fitter and
// Prober in any case: where s has no such power, it has no tags, keeps every
// key, holds all metadata and knows no facts. Copies between two faulty stores
// are copies between the stores behind them.
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
	past past
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
var kinds = []Kind{Lost, Applied, Throttled, Denied, Slow, Broken, Short, Flipped, Garbled,
	RetryAfter, Expired, Swapped, Doubled, Truncated, Stale, Lied, Long, Mistagged, Kept, Perjured}

// refusals are the kinds that can strike every request, and end it.
var refusals = []Kind{Lost, Applied, Throttled, RetryAfter, Denied, Expired}

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

// failed is the error of a kind, as a driver would report it.
func (f *faulty) failed(c Call, k Kind) error {
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
	case RetryAfter:
		e.Fault, e.After, e.Err = work.Throttled, f.After, errors.New("injected: slow down for a while")
	case Denied:
		e.Fault, e.Err = work.Denied, errors.New("injected: access denied")
	case Expired:
		e.Fault, e.Expired, e.Err = work.Denied, true, errors.New("injected: the credentials have expired")
	}
	return e
}

// A change is a call that changes something.
type change struct {
	Call
	body io.Reader // nil: none
	size int64
	lies []Kind // those that can strike it
	do   func(body io.Reader) error
	keep func(body io.Reader) error // in its place, for Kept
}

// change passes a call that changes something on, or fails it. Of a lie it says
// which one struck, for the caller to tell it.
func (f *faulty) change(ctx context.Context, c change) (Kind, error) {
	fits := slices.Concat(refusals, []Kind{Slow}, c.lies)
	if c.size > 0 {
		fits = append(fits, Garbled)
	}
	k := f.begin(ctx, c.Call, fits...)
	body := c.body
	switch k {
	case Lost:
		if body != nil {
			_, _ = io.CopyN(io.Discard, body, c.size/2) // what was sent into the void
		}
		return k, f.failed(c.Call, k)
	case Throttled, RetryAfter, Denied, Expired:
		return k, f.failed(c.Call, k)
	case Applied:
		if err := c.do(body); err != nil {
			return k, err
		}
		return k, f.failed(c.Call, k)
	case Kept:
		return k, c.keep(body)
	case Slow:
		if c.size > 0 {
			body = &spoiled{Reader: body, at: c.size / 2, spoil: func([]byte) (int, error) { wait(ctx, f.Delay); return -1, nil }}
		}
	case Garbled:
		body = &spoiled{Reader: body, at: f.rng(c.Call).Int64N(c.size), spoil: flip}
	}
	return k, c.do(body)
}

// look passes a call that only looks on, or fails it.
func (f *faulty) look(ctx context.Context, c Call, more ...Kind) (Kind, error) {
	k := f.begin(ctx, c, slices.Concat(refusals, []Kind{Slow}, more)...)
	if slices.Contains(refusals, k) {
		return k, f.failed(c, k)
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
