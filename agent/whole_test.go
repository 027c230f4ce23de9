package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// A source that vouches only for an MD5 has the target read through in the end.
func TestPartsOfSourceWithMD5(t *testing.T) {
	t.Parallel()
	want := storagetest.Bytes(1, bigSize)
	setup := func(t *testing.T) (*rig, *targetOf, *storagetest.Tally, uploading) {
		r := newRig(t)
		target, tally := &targetOf{Store: memstore.New(), quiet: true}, &storagetest.Tally{}
		obj := object(t, r.src, "k", want)
		r.src, r.dst = tagged(r.src), storagetest.Faulty(target, storagetest.Faults{Tally: tally})
		r.start()
		u := r.begin(1, obj)
		return r, target, tally, u
	}
	t.Run("right", func(t *testing.T) {
		t.Parallel()
		r, _, tally, u := setup(t)
		r.fill(2, &u)
		out := outcome(t, r.result(u.finish(20)))
		if out.Outcome != work.Copied || out.Proof != "md5" || out.Checksum != crcOf(want) {
			t.Errorf("outcome %+v", out)
		}
		if n := tally.Calls("get"); n != 1 {
			t.Errorf("the target was read %d times, want once", n)
		}
		again := u.finish(21)
		again.Epoch = 2
		if out = outcome(t, r.result(again)); out.Outcome != work.Copied || out.Reason != "present" || out.Proof != "md5" {
			t.Errorf("and again: %+v", out)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		t.Parallel()
		r, target, _, u := setup(t)
		target.spoil = true
		r.fill(2, &u)
		failed(t, r.result(u.finish(20)), work.Corrupt, false)
		if content(t, target, "k") != nil {
			t.Error("the wrong object still stands at the target")
		}
	})
	t.Run("by size", func(t *testing.T) {
		t.Parallel()
		r, _, tally, u := setup(t)
		r.fill(2, &u)
		it := u.finish(20)
		it.Options.Verify = work.VerifySize
		if out := outcome(t, r.result(it)); out.Outcome != work.Copied || out.Proof != work.ProofOfSize {
			t.Errorf("outcome %+v", out)
		}
		if n := tally.Calls("get"); n != 0 {
			t.Errorf("the target was read %d times", n)
		}
	})
	t.Run("replaced meanwhile", func(t *testing.T) {
		t.Parallel()
		r, target, _, u := setup(t)
		r.fill(2, &u)
		target.committed = func() { put(t, target.Store, "k", storagetest.Bytes(2, bigSize)) }
		failed(t, r.result(u.finish(20)), work.Transient, false)
		if string(content(t, target, "k")) != string(storagetest.Bytes(2, bigSize)) {
			t.Error("what somebody else wrote was removed")
		}
	})
}

// A copy item moves an object whole if only that way its MD5 can be compared,
// unless the target takes it only in parts: then it reads the target through.
func TestCopyOfBigObjectWithMD5(t *testing.T) {
	t.Parallel()
	want := storagetest.Bytes(1, bigSize)
	for name, most := range map[string]int64{"whole": 0, "in parts": bigSize - 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := tagged(memstore.New())
			target := &targetOf{Store: memstore.New(), quiet: true}
			var tally storagetest.Tally
			dst := storagetest.Faulty(maxPut{target, target, most}, storagetest.Faults{Tally: &tally})
			tr := newTransfer(src, dst, object(t, src, "k", want))
			tr.options.Split = splitSize
			out, err := carry(t, tr)
			if err != nil || out.Outcome != work.Copied || out.Checksum != crcOf(want) {
				t.Fatalf("%+v, %v", out, err)
			}
			whole := most == 0
			if (tally.Calls("put") == 1) != whole || (tally.Calls("commit") == 0) != whole || (tally.Calls("get") == 0) != whole {
				t.Errorf("%v", &tally)
			}
			if !whole && out.Proof != "md5" {
				t.Errorf("proof %q, want md5", out.Proof)
			}
		})
	}
}

// maxPut is a store whose objects may be larger than a single Put.
type maxPut struct {
	storage.Store
	storage.Multipart
	most int64
}

func (m maxPut) Traits() storage.Traits {
	t := m.Store.Traits()
	t.MaxPut = m.most
	return t
}

// The checksum that source and parts have in common is found.
func TestPartAlgos(t *testing.T) {
	t.Parallel()
	const md5, c32, c32c, c64 = storage.MD5, storage.CRC32, storage.CRC32C, storage.CRC64NVME
	tests := []struct {
		level      work.Verify
		have, want storage.Algos
	}{
		{work.VerifyChecksum, 0, c32c},
		{work.VerifyChecksum, md5, c32c},
		{work.VerifyChecksum, c32c | c64, c32c},
		{work.VerifyChecksum, c64, c32c | c64},
		{work.VerifyChecksum, c64 | c32, c32c | c64},
		{work.VerifyReadback, c64, c32c | c64},
		{work.VerifySize, c64, c32c},
	}
	for _, tt := range tests {
		if got := partAlgos(tt.level, tt.have); got != tt.want {
			t.Errorf("partAlgos(%s, %v) = %v, want %v", tt.level, tt.have, got, tt.want)
		}
	}
}

// What parts add up to is what the whole is, and only as far as every part says.
func TestCombine(t *testing.T) {
	t.Parallel()
	const size, part = 1000, 300
	b := storagetest.Bytes(1, size)
	d := &division{upload: storage.Upload{Size: size, Part: part}}
	for n := 1; (n-1)*part < size; n++ {
		off, length := d.extent(n)
		h := storage.NewDigest(combinable)
		h.Write(b[off : off+length])
		d.stored = append(d.stored, work.StoredPart{N: n, CRC32C: h.Sums().CRC32C, CRC64NVME: h.Sums().CRC64NVME, Named: true})
	}
	h := storage.NewDigest(combinable)
	h.Write(b)
	if both, differ := d.combine().Compare(h.Sums()); both != combinable || differ != 0 || d.named() != storage.CRC32C {
		t.Errorf("combined %v, %v of them wrong, named %v", both, differ, d.named())
	}
	d.stored[2].CRC64NVME, d.stored[3].Named = nil, false
	if both, differ := d.combine().Compare(h.Sums()); both != storage.CRC32C || differ != 0 || d.named() != 0 {
		t.Errorf("combined %v, %v of them wrong, named %v, want CRC32C alone", both, differ, d.named())
	}
}

// A classless target keeps no storage class, which only its server knows.
type classless struct{ *targetOf }

func (c classless) Traits() storage.Traits {
	t := c.targetOf.Traits()
	t.Meta.Class = true
	return t
}

func (c classless) Begin(ctx context.Context, key string, size, part int64, opts storage.PutOptions) (storage.Upload, error) {
	if opts.Meta.Class != "" {
		return storage.Upload{}, &storage.Error{Op: "begin", Key: key, Fault: work.Unsupported, Field: work.FieldClass, Err: errors.New("injected: no such class")}
	}
	return c.targetOf.Begin(ctx, key, size, part, opts)
}

// What was dropped when the upload was opened is told by its finish, which
// another agent may do.
func TestDroppedAtTheBegin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	src := r.src
	r.dst = classless{&targetOf{Store: memstore.New()}}
	in := put(t, src, "k", storagetest.Bytes(1, bigSize), storage.Meta{Class: "COLD"})
	r.start()
	u := r.begin(1, work.Object{Key: "k", Size: in.Size, ETag: in.ETag}, func(it *work.Item) { it.Options.Class = "keep" })
	if u.upload.Dropped != "class" {
		t.Errorf("the begin dropped %q, want class", u.upload.Dropped)
	}
	r.fill(2, &u)
	if out := outcome(t, r.result(u.finish(100))); out.Outcome != work.Copied || out.Dropped != "class" {
		t.Errorf("outcome %+v, want copied without its class", out)
	}
}
