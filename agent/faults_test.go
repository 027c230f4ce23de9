package agent

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A source that changed is noticed, whatever the way and the moment.
func TestSourceChanged(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "streamed": 20 << 10, "in parts": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dst := range []storage.Store{memstore.New(), noCopy(memstore.New()), fileStore(t)} {
				src := memstore.New()
				obj := object(t, src, "k", storagetest.Bytes(1, size))
				put(t, src, "k", storagetest.Bytes(2, size))
				_, err := carry(t, newTransfer(src, dst, obj))
				if !storage.Is(err, work.SrcChanged) || outcomeOf(err).Outcome != work.Changed {
					t.Errorf("to %T: %v, want %s", dst, err, work.SrcChanged)
				}
				if content(t, dst, "k") != nil {
					t.Errorf("to %T: the changed object was copied", dst)
				}
			}
		})
	}
	t.Run("in the middle", func(t *testing.T) {
		t.Parallel()
		src, dst := fileStore(t), noCopy(memstore.New())
		obj := object(t, src, "k", storagetest.Bytes(1, 60<<10))
		changing := &onRead{Store: src, do: func() { put(t, src, "k", storagetest.Bytes(2, 60<<10)) }}
		out, err := carry(t, newTransfer(changing, dst, obj))
		// The open file is still the old one: it may be copied, if whole.
		if err == nil {
			if got := content(t, dst, "k"); string(got) != string(storagetest.Bytes(1, 60<<10)) {
				t.Errorf("outcome %+v of a mixture", out)
			}
		} else if !storage.Is(err, work.SrcChanged) {
			t.Errorf("%v, want %s", err, work.SrcChanged)
		}
	})
	t.Run("looked at afresh", func(t *testing.T) {
		t.Parallel()
		src, dst := memstore.New(), noCopy(memstore.New())
		obj := object(t, src, "k", storagetest.Bytes(1, 1000))
		put(t, src, "k", storagetest.Bytes(2, 2000))
		obj.ETag = ""
		if out, err := carry(t, newTransfer(src, dst, obj)); err != nil || out.Outcome != work.Copied {
			t.Fatalf("%+v, %v, want it copied as it is now", out, err)
		}
		if got := content(t, dst, "k"); string(got) != string(storagetest.Bytes(2, 2000)) {
			t.Error("other bytes arrived")
		}
	})
}

// onRead does something once, when the first body has been half read.
type onRead struct {
	storage.Store
	do func()
}

func (s *onRead) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := s.Store.Get(ctx, key, etag, off, n)
	if err != nil || s.do == nil {
		return body, in, err
	}
	do := s.do
	s.do = nil
	half := io.LimitReader(body, in.Size/2)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(half, readerFunc(func([]byte) (int, error) { do(); return 0, io.EOF }), body), body}, in, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Whatever goes wrong, a wrong object is never called copied, and never stays
// under its key.
func TestFaultsOfOneTry(t *testing.T) {
	t.Parallel()
	sizes := map[string]int{"small": 1000, "streamed": 20 << 10, "in parts": 100 << 10}
	tests := []struct {
		end    string
		op     string
		kind   storagetest.Kind
		faults []work.Fault // "": or it succeeds
	}{
		{"source", "get", storagetest.Lost, []work.Fault{work.Transient, ""}}, // a part is tried again at once
		{"source", "get", storagetest.Broken, []work.Fault{work.Transient, ""}},
		{"source", "get", storagetest.Short, []work.Fault{work.Transient, ""}},
		{"source", "get", storagetest.Flipped, []work.Fault{work.Corrupt}},
		{"source", "get", storagetest.Denied, []work.Fault{work.Denied}},
		{"source", "get", storagetest.Throttled, []work.Fault{""}},
		{"target", "put", storagetest.Lost, []work.Fault{work.Transient}},
		{"target", "put", storagetest.Applied, []work.Fault{work.Transient}},
		{"target", "put", storagetest.Garbled, []work.Fault{work.Corrupt}},
		{"target", "put", storagetest.Throttled, []work.Fault{""}},
		{"target", "put", storagetest.Denied, []work.Fault{work.Denied}},
		{"target", "begin", storagetest.Lost, []work.Fault{work.Transient}},
		{"target", "begin", storagetest.Throttled, []work.Fault{""}},
		{"target", "part", storagetest.Lost, []work.Fault{""}},
		{"target", "part", storagetest.Applied, []work.Fault{""}},
		{"target", "part", storagetest.Garbled, []work.Fault{""}},
		{"target", "part", storagetest.Throttled, []work.Fault{""}},
		{"target", "part", storagetest.Denied, []work.Fault{work.Denied}},
		{"target", "commit", storagetest.Lost, []work.Fault{work.Transient}},
		{"target", "commit", storagetest.Applied, []work.Fault{work.Transient}},
	}
	for _, tt := range tests {
		for name, size := range sizes {
			if parts := name == "in parts"; parts && tt.op == "put" || !parts && tt.end == "target" && tt.op != "put" {
				continue // it is not called
			}
			t.Run(strings.Join([]string{tt.end, tt.op, string(tt.kind), name}, " "), func(t *testing.T) {
				t.Parallel()
				src, dst := storage.Store(memstore.New()), noCopy(memstore.New())
				want := storagetest.Bytes(1, size)
				obj := object(t, src, "k", want)
				var struck atomic.Int64
				faults := storagetest.Faults{Seed: 1, Script: func(c storagetest.Call) storagetest.Kind {
					if c.Op == tt.op && c.N == 1 && (tt.kind != storagetest.Denied || struck.Add(1) == 1) {
						return tt.kind
					}
					return ""
				}}
				back := dst
				if tt.end == "source" {
					src = storagetest.Faulty(src, faults)
				} else {
					dst = storagetest.Faulty(dst, faults)
				}
				tr := newTransfer(src, dst, obj)
				out, err := carry(t, tr)
				ok := false
				for _, f := range tt.faults {
					ok = ok || storage.FaultOf(err) == f
				}
				if !ok {
					t.Errorf("%+v, %v, want one of %q", out, err, tt.faults)
				}
				got := content(t, back, "k")
				if err == nil && string(got) != string(want) || err != nil && got != nil && string(got) != string(want) {
					t.Errorf("%+v, %v, and the target has %d other bytes", out, err, len(got))
				}
				tr.again = true
				tr.flight = &flight{total: new(atomic.Int64)}
				if again, err2 := carry(t, tr); err2 != nil || again.Outcome != work.Copied {
					t.Errorf("and again: %+v, %v, want copied", again, err2)
				} else if got != nil && again.Reason != "present" {
					t.Errorf("and again: %+v of an object that is there, want it recognised", again)
				}
			})
		}
	}
}

// A target that stores other bytes than it was sent, and vouches for those,
// is found out; what it stored is removed.
func TestWrongBytesAreTakenBack(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "streamed": 20 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := memstore.New(), &liar{Store: streamOnly{memstore.New()}}
			tr := newTransfer(src, dst, object(t, src, "k", storagetest.Bytes(1, size)))
			_, err := carry(t, tr)
			if !storage.Is(err, work.Corrupt) {
				t.Errorf("%v, want %s", err, work.Corrupt)
			}
			if got := content(t, dst, "k"); got != nil {
				t.Error("the wrong object still stands at the target")
			}
			dst.meanwhile = func() { put(t, dst.Store, "k", storagetest.Bytes(1, size)) }
			if _, err = carry(t, tr); !storage.Is(err, work.Corrupt) {
				t.Errorf("%v, want %s", err, work.Corrupt)
			}
			if got := content(t, dst, "k"); got == nil {
				t.Error("the right object, which another agent put there meanwhile, was removed")
			}
		})
	}
}

// A liar flips a bit of what it is given and checks nothing.
type liar struct {
	storage.Store
	meanwhile func()
}

func (l *liar) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return storage.Info{}, err
	}
	b[len(b)/2] ^= 1
	opts.Sums = storage.Sums{}
	in, err := l.Store.Put(ctx, key, strings.NewReader(string(b)), size, opts)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return in, err
}

func TestServerSideCopyIsGivenUp(t *testing.T) {
	t.Parallel()
	src := memstore.New()
	var tally storagetest.Tally
	dst := storagetest.Faulty(memstore.New(), storagetest.Faults{Tally: &tally, Script: func(c storagetest.Call) storagetest.Kind {
		if c.Op == "copy" {
			return storagetest.Denied
		}
		return ""
	}})
	tr := newTransfer(src, dst, object(t, src, "k", []byte("x")))
	tr.options.Compare = work.CompareNone
	for range 2 * copyRefusals {
		tr.again = false
		if out, err := carry(t, tr); err != nil || out.Outcome != work.Copied {
			t.Fatalf("%+v, %v, want it carried", out, err)
		}
	}
	if n := tally.Calls("copy"); n != copyRefusals {
		t.Errorf("%d server-side copies tried, want %d", n, copyRefusals)
	}
}

func TestTextNamesTheReasonNotTheKey(t *testing.T) {
	t.Parallel()
	err := &storage.Error{Op: "put", Store: "s3://b/", Key: strings.Repeat("k", 1024), Fault: work.Denied, Err: errors.New("no right")}
	if got, want := textOf(err), "put s3://b/: no right"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}
