package agent

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

func TestReadBack(t *testing.T) {
	t.Parallel()
	const small, medium, big = 3 << 10, 50 << 10, 100 << 10
	mem := func() storage.Store { return noCopy(memstore.New()) }
	whole := func() storage.Store { return memstore.New() }
	quiet := func() storage.Store { return silent(memstore.New()) }
	etag := func() storage.Store { return tagged(memstore.New()) }
	tests := []struct {
		name     string
		src, dst func() storage.Store
		size     int
		again    bool
		proof    string
		reads    int // of the target
		sources  int // of the source; negative: one for each part
	}{
		{"nothing", mem, mem, 0, false, "crc32c", 1, 1},
		{"small", mem, mem, small, false, "crc32c", 1, 1},
		{"streamed", mem, mem, medium, false, "crc32c", 1, 1},
		{"in parts", mem, mem, big, false, "crc32c", 1, -1},
		{"by the server", whole, whole, big, false, "crc32c", 1, 0},
		{"target vouches for nothing", etag, quiet, medium, false, "md5", 1, 1},
		{"source vouches for nothing", quiet, mem, medium, false, "crc32c/target", 1, 1},
		{"nobody vouches", quiet, quiet, big, false, "crc32c/target", 1, 1},
		{"found present", mem, mem, small, true, "crc32c", 1, 0},
		{"found present, target vouches for nothing", etag, quiet, small, true, "md5", 1, 0},
		{"found present, source vouches for nothing", quiet, mem, small, true, "crc32c/target", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src, dst := tt.src(), tt.dst()
			want := storagetest.Bytes(1, tt.size)
			obj := object(t, src, "k", want)
			if tt.again {
				put(t, dst, "k", want)
			}
			var theirs, ours storagetest.Tally
			tr := newTransfer(storagetest.Faulty(src, storagetest.Faults{Tally: &ours}), storagetest.Faulty(dst, storagetest.Faults{Tally: &theirs}), obj)
			tr.options.Verify, tr.again = work.VerifyReadback, tt.again
			out, err := carry(t, tr)
			if err != nil || out.Outcome != work.Copied || out.Proof != tt.proof || work.Weak(out.Proof) {
				t.Errorf("%+v, %v, want it copied with proof %s", out, err, tt.proof)
			}
			if n := theirs.Calls("get"); n != tt.reads {
				t.Errorf("the target was read %d times, want %d", n, tt.reads)
			}
			if n := ours.Calls("get"); n != tt.sources && tt.sources >= 0 || n == 0 && tt.sources < 0 {
				t.Errorf("the source was read %d times, want %d", n, tt.sources)
			}
			if n := tr.flight.bytes.Load(); n != int64(tt.size) && !tt.again || tt.again && n != 0 {
				t.Errorf("%d bytes were counted as moved", n)
			}
		})
	}
}

// A copy by a server whose source vouches for nothing is compared with what the
// source holds.
func TestServerCopyIsReadBackAgainstTheSource(t *testing.T) {
	t.Parallel()
	src, dst := silent(memstore.New()), &copyist{Store: silent(memstore.New())}
	want := storagetest.Bytes(1, 1000)
	tr := newTransfer(src, dst, object(t, src, "k", want))
	tr.options.Verify, tr.options.Compare = work.VerifyReadback, work.CompareNone
	if out, err := carry(t, tr); err != nil || out.Proof != "crc32c/target" || out.Checksum != crcOf(want) {
		t.Errorf("%+v, %v, want it copied and compared", out, err)
	}
	dst.spoil, tr.again = true, false
	if out, err := carry(t, tr); !storage.Is(err, work.Corrupt) {
		t.Errorf("%+v, %v, want %s", out, err, work.Corrupt)
	}
	if content(t, dst, "k") != nil {
		t.Error("the wrong object still stands at the target")
	}
}

// A copyist copies from any store, and perhaps wrongly.
type copyist struct {
	storage.Store
	spoil bool
}

func (c *copyist) CopyFrom(ctx context.Context, key string, src storage.Store, in storage.Info, opts storage.PutOptions) (storage.Info, error) {
	body, _, err := src.Get(ctx, in.Key, in.ETag, 0, -1)
	if err != nil {
		return storage.Info{}, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return storage.Info{}, err
	}
	if c.spoil {
		b[0] ^= 1
	}
	return c.Put(ctx, key, bytes.NewReader(b), in.Size, storage.PutOptions{Meta: opts.Meta})
}

// What was written wrongly by a target that vouches for nothing is found out by
// reading it back alone.
func TestReadBackFindsWrongBytes(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "streamed": 20 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := memstore.New(), &liar{Store: silent(memstore.New())}
			tr := newTransfer(src, dst, object(t, src, "k", storagetest.Bytes(1, size)))
			tr.options.Compare = work.CompareNone
			if out, err := carry(t, tr); err != nil || !work.Weak(out.Proof) {
				t.Errorf("%+v, %v without reading back, want a weak proof", out, err)
			}
			tr.options.Verify, tr.again = work.VerifyReadback, false
			if out, err := carry(t, tr); !storage.Is(err, work.Corrupt) {
				t.Errorf("%+v, %v, want %s", out, err, work.Corrupt)
			}
			if content(t, dst, "k") != nil {
				t.Error("the wrong object still stands at the target")
			}
			put(t, dst.Store, "k", storagetest.Bytes(2, size)) // as large and wrong, from an earlier attempt
			tr.again = true
			if out, err := carry(t, tr); !storage.Is(err, work.Corrupt) {
				t.Errorf("%+v, %v of another object that is present, want it copied anew and that found %s", out, err, work.Corrupt)
			}
		})
	}
}

// A target that somebody else changes between writing and reading back is not
// called verified, and what they wrote stays.
func TestReadBackOfWhatSomebodyElseChanged(t *testing.T) {
	t.Parallel()
	other := storagetest.Bytes(2, 5000)
	tests := []struct {
		name string
		do   func(t *testing.T, s storage.Store)
		left []byte
	}{
		{"overwritten", func(t *testing.T, s storage.Store) { put(t, s, "k", other) }, other},
		{"deleted", func(t *testing.T, s storage.Store) {
			if err := s.Delete(t.Context(), "k"); err != nil {
				t.Error(err)
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src, inner := memstore.New(), memstore.New()
			dst := &afterPut{Store: inner, do: func() { tt.do(t, inner) }}
			tr := newTransfer(src, dst, object(t, src, "k", storagetest.Bytes(1, 5000)))
			tr.options.Verify = work.VerifyReadback
			out, err := carry(t, tr)
			if !storage.Is(err, work.Transient) || !strings.Contains(err.Error(), "somebody else") {
				t.Errorf("%+v, %v, want it told", out, err)
			}
			if got := content(t, inner, "k"); !bytes.Equal(got, tt.left) {
				t.Errorf("%d other bytes stand at the target", len(got))
			}
		})
	}
}

// afterPut does something when an object was stored.
type afterPut struct {
	storage.Store
	do func()
}

func (s *afterPut) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	in, err := s.Store.Put(ctx, key, body, size, opts)
	s.do()
	return in, err
}
