// Package storagetest holds what every storage.Store is tested with.
//
// Run checks the contract of storage.Store and of the optional powers against
// a store, part by part and in parallel. What a store may choose, such as
// which odd keys it refuses, the suite leaves open; what it must not do, such
// as change a key in silence, it looks for. A Harness narrows the choice.
//
// Faulty wraps a store in one that fails in the ways networks and clouds do,
// for the tests of those who use stores.
package storagetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// A Harness says how to test one kind of store.
type Harness struct {
	// New returns an empty store that nothing else uses, and closes it when
	// the test ends. Two stores of one test must be able to copy between each
	// other if the store is a storage.Copier at all.
	New func(t *testing.T) storage.Store
	// Keys must be kept, byte for byte; the suite's own odd keys may be
	// refused. If a key ends in "/", its object is empty.
	Keys []string
	// Avoid says which of the suite's own odd keys are not even tried. Nil: all
	// are.
	Avoid func(key string) bool
	// Checks are the checksums that Put must compare with the body.
	Checks storage.Algos
	// Vouches are the checksums that Stat must know after a Put.
	Vouches storage.Algos
	// Class is a storage class, not the default, that the store must keep.
	// Empty: none is tried.
	Class string
	// SetsModTime says that a time of modification in the metadata becomes the
	// object's own, as Info.ModTime and listings give it. Other stores keep it
	// beside that.
	SetsModTime bool
	// Missing returns a store whose bucket or folder is not there. Nil: this is
	// not tried.
	Missing func(t *testing.T) storage.Store
	// Unconditional names ways to store an object (Put, Put of a stream, CopyFrom,
	// Commit, at once) in which the server does not keep conditions although it
	// keeps them for Put, and says why.
	Unconditional map[string]string
	// Only names the parts of the suite to run. Empty: all of them.
	Only []string
	// Skip names parts of the suite that the store is known to fail for
	// reasons beyond our code, and says why.
	Skip map[string]string
}

// suite holds the parts of the suite, under the names that Harness knows them by.
var suite = []struct {
	name string
	run  func(t *testing.T, h Harness)
}{
	{"Keys", testKeys},
	{"List", testList},
	{"ListErrors", testListErrors},
	{"Sizes", testSizes},
	{"Ranges", testRanges},
	{"Pinned", testPinned},
	{"NotFound", testNotFound},
	{"Delete", testDelete},
	{"PutAtomic", testPutAtomic},
	{"PutChecks", testPutChecks},
	{"PutSeeker", testPutSeeker},
	{"Conditions", testConditions},
	{"Meta", testMeta},
	{"ModTime", testModTime},
	{"Class", testClass},
	{"Tags", testTags},
	{"Fitter", testFitter},
	{"Gzip", testGzip},
	{"Empty", testEmpty},
	{"Nested", testNested},
	{"Keeper", testKeeper},
	{"Prober", testProber},
	{"Concurrent", testConcurrent},
	{"Canceled", testCanceled},
	{"Copier", testCopier},
	{"Multipart", testMultipart},
	{"MultipartErrors", testMultipartErrors},
	{"Pending", testPending},
}

// Run tests the store that h makes.
func Run(t *testing.T, h Harness) {
	known := make(map[string]bool)
	for _, p := range suite {
		known[p.name] = true
	}
	for _, name := range slices.AppendSeq(slices.Clone(h.Only), maps.Keys(h.Skip)) {
		if !known[name] {
			t.Errorf("the suite has no part %q", name)
		}
	}
	for _, p := range suite {
		if len(h.Only) > 0 && !slices.Contains(h.Only, p.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if why, ok := h.Skip[p.name]; ok {
				t.Skip(why)
			}
			p.run(t, h)
		})
	}
}

// oddKeys are the keys that the store is tried with.
func (h Harness) oddKeys() []string {
	keys := append(OddKeys(), h.Keys...)
	slices.Sort(keys)
	return slices.DeleteFunc(slices.Compact(keys), func(key string) bool { return h.Avoid != nil && h.Avoid(key) })
}

// Bytes returns n bytes that follow from the seed and do not repeat.
func Bytes(seed, n int) []byte {
	b := make([]byte, n+7)
	rng := rand.NewPCG(uint64(seed), uint64(n))
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// stream hides everything of a reader but Read.
type stream struct{ io.Reader }

// put stores content and fails the test if that fails.
func put(t *testing.T, s storage.Store, key string, content []byte, opts storage.PutOptions) storage.Info {
	t.Helper()
	in, err := s.Put(t.Context(), key, stream{bytes.NewReader(content)}, int64(len(content)), opts)
	if err != nil {
		t.Fatalf("Put(%q, %d bytes) = %v", key, len(content), err)
	}
	if in.Key != key || in.Size != int64(len(content)) {
		t.Fatalf("Put(%q, %d bytes) says %q of %d bytes", key, len(content), in.Key, in.Size)
	}
	return in
}

// read gets a range of an object whole.
func read(ctx context.Context, s storage.Store, key, etag string, off, n int64) ([]byte, storage.Info, error) {
	body, in, err := s.Get(ctx, key, etag, off, n)
	if err != nil {
		return nil, in, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return b, in, err
}

// wantContent fails the test unless key holds content.
func wantContent(t *testing.T, s storage.Store, key string, content []byte) {
	t.Helper()
	got, in, err := read(t.Context(), s, key, "", 0, -1)
	if err != nil {
		t.Fatalf("Get(%q) = %v", key, err)
	}
	if in.Key != key || in.Size != int64(len(content)) {
		t.Errorf("Get(%q) says %q of %d bytes, want %d", key, in.Key, in.Size, len(content))
	}
	if !bytes.Equal(got, content) {
		t.Errorf("Get(%q) = %s, want %s", key, describe(got), describe(content))
	}
}

// wantFault fails the test unless err is an *Error with one of the faults.
func wantFault(t *testing.T, what string, err error, faults ...work.Fault) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded, want a fault %q", what, faults)
		return
	}
	var e *storage.Error
	if !errors.As(err, &e) {
		t.Errorf("%s = %T %v, want a *storage.Error", what, err, err)
		return
	}
	for _, f := range faults {
		if e.Fault == f {
			return
		}
	}
	t.Errorf("%s has fault %q, want one of %q: %v", what, e.Fault, faults, err)
}

// describe names content by its length and hash.
func describe(b []byte) string {
	sum := md5.Sum(b)
	return fmt.Sprintf("%d bytes, md5 %x", len(b), sum)
}

// truth returns every checksum of content.
func truth(content []byte) storage.Sums {
	d := storage.NewDigest(storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256)
	d.Write(content)
	return d.Sums()
}

// listAll lists a range and checks what must hold of any listing.
func listAll(t *testing.T, s storage.Store, r work.Range) []storage.Info {
	t.Helper()
	var all []storage.Info
	err := s.List(t.Context(), r, func(page []storage.Info) error {
		if len(page) == 0 || len(page) > 1000 {
			t.Errorf("List gave a page of %d objects, want 1 to 1000", len(page))
		}
		all = append(all, page...)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q) = %v", r, err)
	}
	for i, in := range all {
		if i > 0 && in.Key <= all[i-1].Key {
			t.Fatalf("List gave %q after %q, want ascending order of bytes", in.Key, all[i-1].Key)
		}
		if !r.Contains(in.Key) {
			t.Fatalf("List(%q) gave %q, which is outside", r, in.Key)
		}
	}
	return all
}
