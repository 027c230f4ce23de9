package agent

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/filestore"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func crcOf(b []byte) string {
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return "md5:" + hex.EncodeToString(sum[:])
}

// newTransfer returns the transfer of one object between two stores.
func newTransfer(src, dst storage.Store, obj work.Object) *transfer {
	return &transfer{
		carrier: &carrier{budget: newBudget(8 << 20), streams: semaphore.NewWeighted(4)},
		pair:    pair{src: &end{Store: src, url: "test://src/"}, dst: &end{Store: dst, url: "test://dst/"}, refused: new(atomic.Int32)},
		options: work.DefaultOptions(), obj: obj,
		flight: &flight{total: new(atomic.Int64)},
	}
}

// carry runs a transfer and checks that it gives back what it took.
func carry(t *testing.T, tr *transfer) (work.ObjectOutcome, error) {
	t.Helper()
	out, err := tr.run(testContext(t))
	if used := tr.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes of the budget were not given back", used)
	}
	if tr.streams.TryAcquire(4) {
		tr.streams.Release(4)
	} else {
		t.Error("a stream was not given back")
	}
	return out, err
}

func fileStore(t testing.TB) storage.Store {
	t.Helper()
	return fileStoreAt(t, t.TempDir())
}

func fileStoreAt(t testing.TB, dir string) storage.Store {
	t.Helper()
	s, err := filestore.Opener([]string{dir})(testContext(t), &url.URL{Scheme: "file", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// silent vouches for nothing but the ETag, which is opaque.
type silent struct{ storage.Store }

func (s silent) Traits() storage.Traits {
	t := s.Store.Traits()
	t.ETagIsMD5 = false
	return t
}

func (s silent) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := s.Store.Stat(ctx, key)
	in.Sums = storage.Sums{}
	return in, err
}

func (s silent) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := s.Store.Get(ctx, key, etag, off, n)
	in.Sums = storage.Sums{}
	return body, in, err
}

func (s silent) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.Store.Put(ctx, key, body, size, opts)
	in.Sums = storage.Sums{}
	return in, err
}

// tagged vouches for nothing but the ETag, which is the MD5.
type tagged struct{ silent }

func (s tagged) Traits() storage.Traits { return s.Store.Traits() }

func TestCopy(t *testing.T) {
	t.Parallel()
	mem := func(*testing.T) storage.Store { return streamOnly{memstore.New()} }
	file := func(t *testing.T) storage.Store { return streamOnly{fileStore(t)} }
	quiet := func(*testing.T) storage.Store { return silent{memstore.New()} }
	etag := func(*testing.T) storage.Store { return tagged{silent{memstore.New()}} }
	const small, medium = 16 << 10, 3 << 20
	tests := []struct {
		name     string
		src, dst func(*testing.T) storage.Store
		size     int
		verify   work.Verify
		proof    string
	}{
		{"nothing", mem, mem, 0, work.VerifyChecksum, "crc32c"},
		{"small", mem, mem, small, work.VerifyChecksum, "crc32c"},
		{"streamed", mem, mem, medium, work.VerifyChecksum, "crc32c"},
		{"to a file", mem, file, small, work.VerifyChecksum, "crc32c"},
		{"from a file", file, mem, medium, work.VerifyChecksum, "crc32c"},
		{"ETags are MD5s", etag, etag, small, work.VerifyChecksum, "md5"},
		{"ETags are MD5s, streamed", etag, etag, medium, work.VerifyChecksum, "md5"},
		{"MD5 to CRC32C", etag, file, medium, work.VerifyChecksum, "md5"},
		{"nothing vouched for, to MD5", quiet, etag, small, work.VerifyChecksum, "md5"},
		{"nothing vouched for, to MD5, streamed", quiet, etag, medium, work.VerifyChecksum, "md5"},
		{"target vouches for nothing", mem, quiet, small, work.VerifyChecksum, "size"},
		{"by size", mem, mem, small, work.VerifySize, "size"},
		{"by ETag", etag, etag, medium, work.VerifyETag, "md5"},
		{"by ETag that cannot be compared", etag, quiet, medium, work.VerifyETag, "size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src, dst := tt.src(t), tt.dst(t)
			want := storagetest.Bytes(1, tt.size)
			tr := newTransfer(src, dst, object(t, src, "dir/key", want))
			tr.options.Verify = tt.verify
			got, err := carry(t, tr)
			if err != nil {
				t.Fatal(err)
			}
			if want := (work.ObjectOutcome{Outcome: work.Copied, Proof: tt.proof, Checksum: crcOf(want)}); got != want {
				t.Errorf("outcome %+v, want %+v", got, want)
			}
			if got := content(t, dst, "dir/key"); string(got) != string(want) {
				t.Errorf("%d other bytes arrived", len(got))
			}
			if n := tr.flight.bytes.Load(); n != int64(tt.size) {
				t.Errorf("%d bytes counted, want %d", n, tt.size)
			}
		})
	}
}

func TestMetadataTravelsVerbatim(t *testing.T) {
	t.Parallel()
	meta := storage.Meta{
		ContentType: "text/x; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de",
		ContentDisposition: `attachment; filename="ü"`, CacheControl: "no-store",
		User: map[string]string{"a": "b c%20", "x-y": ""}, ModTime: time.Unix(1700000000, 0).UTC(),
	}
	for name, size := range map[string]int{"small": 10, "streamed": 2 << 20, "in parts": 17 << 20} {
		for _, way := range []string{"carried", "server-side"} {
			t.Run(name+" "+way, func(t *testing.T) {
				t.Parallel()
				src, dst := memstore.New(), storage.Store(memstore.New())
				if way == "carried" {
					dst = noCopy(dst.(*memstore.Store))
				}
				in := put(t, src, "k", storagetest.Bytes(1, size), meta)
				if _, err := carry(t, newTransfer(src, dst, work.Object{Key: "k", Size: in.Size, ETag: in.ETag})); err != nil {
					t.Fatal(err)
				}
				got, err := dst.Stat(t.Context(), "k")
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got.Meta, meta) {
					t.Errorf("metadata %+v, want %+v", got.Meta, meta)
				}
			})
		}
	}
}

func TestPresent(t *testing.T) {
	t.Parallel()
	old, now := storagetest.Bytes(1, 5000), storagetest.Bytes(2, 5000)
	mem := func(*testing.T) storage.Store { return streamOnly{memstore.New()} }
	file := func(t *testing.T) storage.Store { return streamOnly{fileStore(t)} }
	quiet := func(*testing.T) storage.Store { return silent{memstore.New()} }
	etag := func(*testing.T) storage.Store { return tagged{silent{memstore.New()}} }
	copied := work.ObjectOutcome{Outcome: work.Copied, Proof: "crc32c", Checksum: crcOf(now)}
	tests := []struct {
		name     string
		src, dst func(*testing.T) storage.Store
		there    []byte
		check    bool // as listed
		again    bool // as delivered
		compare  work.Compare
		want     work.ObjectOutcome
		moves    bool
	}{
		{"equal ETags", etag, etag, now, true, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Skipped, Reason: "etag", Checksum: md5Hex(now)}, false},
		{"equal files", file, file, now, true, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Skipped, Reason: "checksum", Checksum: crcOf(now)}, false},
		{"nobody vouches: both are read", quiet, quiet, now, true, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Skipped, Reason: "checksum", Checksum: crcOf(now)}, false},
		{"source is hashed against the target's MD5", quiet, etag, now, true, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Skipped, Reason: "checksum", Checksum: md5Hex(now)}, false},
		{"target is hashed against the source's MD5", etag, quiet, now, true, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Skipped, Reason: "checksum", Checksum: md5Hex(now)}, false},
		{"other content", mem, mem, old, true, false, work.CompareContent, copied, true},
		{"other content, nobody vouches", quiet, file, old, true, false, work.CompareContent, copied, true},
		{"other size", mem, mem, old[1:], true, false, work.CompareContent, copied, true},
		{"gone since it was listed", mem, mem, nil, true, false, work.CompareContent, copied, true},
		{"not asked to look", mem, mem, now, false, false, work.CompareContent, copied, true},
		{"by size alone", mem, mem, old, true, false, work.CompareSize, work.ObjectOutcome{Outcome: work.Skipped, Reason: "size"}, false},
		{"redelivered and there", mem, mem, now, false, true, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Proof: "md5", Checksum: md5Hex(now)}, false},
		{"redelivered and there, although nothing is compared", mem, mem, now, false, true, work.CompareNone,
			work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Proof: "md5", Checksum: md5Hex(now)}, false},
		{"redelivered and another", mem, mem, old, false, true, work.CompareSize, copied, true},
		{"redelivered and absent", mem, mem, nil, false, true, work.CompareContent, copied, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src, dst := tt.src(t), tt.dst(t)
			obj := object(t, src, "k", now)
			obj.Check = tt.check
			if tt.there != nil {
				put(t, dst, "k", tt.there)
			}
			var tally storagetest.Tally
			tr := newTransfer(src, storagetest.Faulty(dst, storagetest.Faults{Tally: &tally}), obj)
			tr.again, tr.options.Compare = tt.again, tt.compare
			got, err := carry(t, tr)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("outcome %+v, want %+v", got, tt.want)
			}
			if moved := tally.Calls("put") == 1; moved != tt.moves {
				t.Errorf("copied: %v, want %v", moved, tt.moves)
			}
			if !tt.moves && tt.compare == work.CompareSize {
				return // it was told not to look at the content
			}
			if got := content(t, dst, "k"); string(got) != string(now) {
				t.Error("the target has not what the source has")
			}
		})
	}
}

// A source that changed is noticed, whatever the way and the moment.
func TestSourceChanged(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "streamed": 2 << 20, "in parts": 17 << 20} {
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
		obj := object(t, src, "k", storagetest.Bytes(1, 12<<20))
		changing := &onRead{Store: src, do: func() { put(t, src, "k", storagetest.Bytes(2, 12<<20)) }}
		out, err := carry(t, newTransfer(changing, dst, obj))
		// The open file is still the old one: it may be copied, if whole.
		if err == nil {
			if got := content(t, dst, "k"); string(got) != string(storagetest.Bytes(1, 12<<20)) {
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
	sizes := map[string]int{"small": 1000, "streamed": 2 << 20, "in parts": 33 << 20}
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
	for name, size := range map[string]int{"small": 1000, "streamed": 2 << 20} {
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

func TestThrottledStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	src := memstore.New()
	obj := object(t, src, "k", storagetest.Bytes(1, 1000))
	var tally storagetest.Tally
	dst := storagetest.Faulty(noCopy(memstore.New()), storagetest.Faults{Tally: &tally,
		Script: func(c storagetest.Call) storagetest.Kind { return storagetest.Throttled }})
	tr := newTransfer(src, dst, obj)
	_, err := carry(t, tr)
	if out := outcomeOf(err); out.Outcome != work.Retry || out.Fault != work.Throttled {
		t.Errorf("outcome %+v, want retry because throttled", out)
	}
	if n := tally.Calls("put"); n != throttleTries {
		t.Errorf("%d tries, want %d", n, throttleTries)
	}
	if tr.dst.gate.pause <= firstPause {
		t.Errorf("the pause is still %v", tr.dst.gate.pause)
	}
	if tr.src.gate.pause != 0 {
		t.Error("the source is left alone too")
	}
	for range 200 {
		tr.dst.gate.fine()
	}
	if tr.dst.gate.pause != 0 {
		t.Errorf("after 200 successes the pause is still %v", tr.dst.gate.pause)
	}
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
	for range 2 * copyRefusals {
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
