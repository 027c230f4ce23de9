package agent

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"reflect"
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
		carrier: &carrier{sizes: smallSizes, budget: newBudget(8 << 20), streams: semaphore.NewWeighted(4), lounge: &lounge{seats: 4}},
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
	s, err := filestore.Opener([]string{dir})(testContext(t), &url.URL{Scheme: "file", Path: dir}, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A modest store vouches for less than it could, and its ETags are opaque
// unless it vouches for the MD5.
type modest struct {
	storage.Store
	vouches storage.Algos
}

func silent(s storage.Store) storage.Store { return modest{s, 0} }
func tagged(s storage.Store) storage.Store { return modest{s, storage.MD5} }

func (m modest) Traits() storage.Traits {
	t := m.Store.Traits()
	t.ETagIsMD5 = t.ETagIsMD5 && m.vouches&storage.MD5 != 0
	return t
}

func (m modest) less(in storage.Info) storage.Info {
	in.Sums = only(in.Sums, m.vouches)
	return in
}

func (m modest) Stat(ctx context.Context, key string) (storage.Info, error) {
	in, err := m.Store.Stat(ctx, key)
	return m.less(in), err
}

func (m modest) Get(ctx context.Context, key, etag string, off, n int64) (io.ReadCloser, storage.Info, error) {
	body, in, err := m.Store.Get(ctx, key, etag, off, n)
	return body, m.less(in), err
}

func (m modest) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := m.Store.Put(ctx, key, body, size, opts)
	return m.less(in), err
}

func TestCopy(t *testing.T) {
	t.Parallel()
	mem := func(*testing.T) storage.Store { return streamOnly{memstore.New()} }
	file := func(t *testing.T) storage.Store { return streamOnly{fileStore(t)} }
	quiet := func(*testing.T) storage.Store { return silent(memstore.New()) }
	etag := func(*testing.T) storage.Store { return tagged(memstore.New()) }
	const small, medium = 3 << 10, 50 << 10
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
		{"nothing vouched for, to MD5", quiet, etag, small, work.VerifyChecksum, "md5/target"},
		{"nothing vouched for, to MD5, streamed", quiet, etag, medium, work.VerifyChecksum, "md5/target"},
		{"target vouches for nothing", mem, quiet, small, work.VerifyChecksum, "crc32c/source"},
		{"nobody vouches", quiet, quiet, medium, work.VerifyChecksum, "size"},
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
	for name, size := range map[string]int{"small": 10, "streamed": 20 << 10, "in parts": 100 << 10} {
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
	quiet := func(*testing.T) storage.Store { return silent(memstore.New()) }
	etag := func(*testing.T) storage.Store { return tagged(memstore.New()) }
	copied := work.ObjectOutcome{Outcome: work.Copied, Proof: "crc32c", Checksum: crcOf(now)}
	unvouched := copied
	unvouched.Proof = "crc32c/target"
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
		{"other content, nobody vouches", quiet, file, old, true, false, work.CompareContent, unvouched, true},
		{"other size", mem, mem, old[1:], true, false, work.CompareContent, copied, true},
		{"gone since it was listed", mem, mem, nil, true, false, work.CompareContent, copied, true},
		{"not asked to look", mem, mem, now, false, false, work.CompareNone, copied, true},
		{"there since it was listed", mem, mem, now, false, false, work.CompareContent,
			work.ObjectOutcome{Outcome: work.Copied, Reason: "present", Proof: "md5", Checksum: md5Hex(now)}, true},
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
