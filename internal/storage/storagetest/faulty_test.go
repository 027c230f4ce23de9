package storagetest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	. "github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// always makes one kind strike every call.
func always(k Kind) func(Call) Kind { return func(Call) Kind { return k } }

var content = Bytes(1, 10_000)

// setup returns a store with one object and the same store with one kind of fault.
func setup(t *testing.T, k Kind) (inner, broken storage.Store, tally *Tally) {
	t.Helper()
	inner, tally = memstore.New(), &Tally{}
	if _, err := inner.Put(t.Context(), "old", bytes.NewReader(content), int64(len(content)), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return inner, Faulty(inner, Faults{Script: always(k), Delay: time.Millisecond, Tally: tally}), tally
}

func get(t *testing.T, s storage.Store, key string) ([]byte, error) {
	t.Helper()
	body, _, err := s.Get(t.Context(), key, "", 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func put(t *testing.T, s storage.Store, key string, opts storage.PutOptions) error {
	t.Helper()
	_, err := s.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), opts)
	return err
}

func TestFaultyWithoutFaults(t *testing.T) {
	t.Parallel()
	tally := &Tally{}
	Run(t, Harness{
		New:    func(*testing.T) storage.Store { return Faulty(memstore.New(), Faults{Tally: tally}) },
		Keys:   OddKeys(),
		Checks: storage.CRC32C | storage.MD5,
		Class:  "COLD", SetsModTime: true,
		Skip: map[string]string{"Copier": "a faulty store is none of another kind to the store behind it"},
	})
}

func TestFaultyRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    Kind
		fault   work.Fault // of a Put
		stored  bool       // by the Put all the same
		deleted bool       // by a Delete all the same
	}{
		{Lost, work.Transient, false, false},
		{Applied, work.Transient, true, true},
		{Throttled, work.Throttled, false, false},
		{Denied, work.Denied, false, false},
		{Slow, "", true, true},
	} {
		inner, s, tally := setup(t, tt.kind)
		if err := put(t, s, "new", storage.PutOptions{}); storage.FaultOf(err) != tt.fault {
			t.Errorf("%s: Put = %v, want a fault %q", tt.kind, err, tt.fault)
		}
		if _, err := inner.Stat(t.Context(), "new"); (err == nil) != tt.stored {
			t.Errorf("%s: after Put, Stat of the store behind = %v, want stored %v", tt.kind, err, tt.stored)
		}
		if _, err := s.Stat(t.Context(), "old"); storage.FaultOf(err) != tt.fault {
			t.Errorf("%s: Stat = %v, want a fault %q", tt.kind, err, tt.fault)
		}
		if err := s.Delete(t.Context(), "old"); storage.FaultOf(err) != tt.fault {
			t.Errorf("%s: Delete = %v, want a fault %q", tt.kind, err, tt.fault)
		}
		if _, err := inner.Stat(t.Context(), "old"); (err != nil) != tt.deleted {
			t.Errorf("%s: after Delete, Stat of the store behind = %v, want deleted %v", tt.kind, err, tt.deleted)
		}
		if tally.Calls("put") != 1 || tally.Struck(tt.kind) != 3 || tally.Struck(tt.kind, "put", "stat") != 2 {
			t.Errorf("%s: the tally says %v", tt.kind, tally)
		}
	}
}

func TestFaultyBodies(t *testing.T) {
	t.Parallel()
	_, s, _ := setup(t, Broken)
	got, err := get(t, s, "old")
	if !storage.Is(err, work.Transient) || !bytes.HasPrefix(content, got) || len(got) == len(content) {
		t.Errorf("broken: %d bytes, %v, want a part and a fault", len(got), err)
	}
	if err := s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil }); !storage.Is(err, work.Transient) {
		t.Errorf("broken: List = %v, want a fault", err)
	}
	_, s, _ = setup(t, Short)
	got, err = get(t, s, "old")
	if err != nil || !bytes.HasPrefix(content, got) || len(got) == len(content) {
		t.Errorf("short: %d bytes, %v, want a part and no error", len(got), err)
	}
	_, s, _ = setup(t, Long)
	got, err = get(t, s, "old")
	if err != nil || !bytes.HasPrefix(got, content) || len(got) == len(content) {
		t.Errorf("long: %d bytes, %v, want more than all and no error", len(got), err)
	}
	_, s, _ = setup(t, Flipped)
	got, err = get(t, s, "old")
	if err != nil || bitsApart(got, content) != 1 {
		t.Errorf("flipped: %d bits wrong, %v, want one", bitsApart(got, content), err)
	}
	_, s, _ = setup(t, Slow)
	if got, err = get(t, s, "old"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("slow: %d bytes, %v, want them all", len(got), err)
	}

	inner, s, tally := setup(t, Garbled)
	if err := put(t, s, "new", storage.PutOptions{}); err != nil {
		t.Errorf("garbled: Put = %v, want success", err)
	}
	if got, err = get(t, inner, "new"); err != nil || bitsApart(got, content) != 1 {
		t.Errorf("garbled: the store behind has %d bits wrong, %v, want one", bitsApart(got, content), err)
	}
	d := storage.NewDigest(storage.CRC32C)
	d.Write(content)
	if err := put(t, s, "new", storage.PutOptions{Sums: d.Sums()}); !storage.Is(err, work.Corrupt) {
		t.Errorf("garbled: Put with a checksum = %v, want it refused", err)
	}
	if got, _ := get(t, s, "old"); !bytes.Equal(got, content) || tally.Struck(Garbled) != 2 {
		t.Errorf("garbled: reading is not left alone: %v", tally)
	}
}

func bitsApart(a, b []byte) int {
	if len(a) != len(b) {
		return -1
	}
	n := 0
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// TestFaultyRates asks from several goroutines at once and must hit the same
// calls each time.
func TestFaultyRates(t *testing.T) {
	t.Parallel()
	strike := func(seed uint64) map[string]bool {
		tally := &Tally{}
		s := Faulty(memstore.New(), Faults{Seed: seed, Rates: map[Kind]float64{Lost: 0.2, Throttled: 0.1}, Tally: tally})
		var mu sync.Mutex
		failed := map[string]bool{}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 500 {
					key := fmt.Sprint(g, "/", i)
					if _, err := s.Stat(context.Background(), key); !storage.Is(err, work.NotFound) {
						mu.Lock()
						failed[key+string(storage.FaultOf(err))] = true
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if lost, throttled := tally.Struck(Lost), tally.Struck(Throttled); lost < 300 || lost > 500 || throttled < 130 || throttled > 270 {
			t.Errorf("of 2000 calls %d were lost and %d throttled, want about 400 and 200", lost, throttled)
		}
		return failed
	}
	a, b, other := strike(1), strike(1), strike(2)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed struck other calls")
	}
	if fmt.Sprint(a) == fmt.Sprint(other) {
		t.Error("another seed struck the same calls")
	}
}

func TestFaultyCountsCalls(t *testing.T) {
	t.Parallel()
	s := Faulty(memstore.New(), Faults{Script: func(c Call) Kind {
		if c.Op == "put" && c.Key == "k" && c.N == 2 {
			return Lost
		}
		return ""
	}})
	for n, want := range []work.Fault{"", work.Transient, ""} {
		if err := put(t, s, "k", storage.PutOptions{}); storage.FaultOf(err) != want {
			t.Errorf("Put number %d = %v, want a fault %q", n+1, err, want)
		}
	}
}

func TestFaultyPowers(t *testing.T) {
	t.Parallel()
	inner, s, tally := setup(t, Applied)
	in, err := inner.Stat(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.(storage.Copier).CopyFrom(t.Context(), "copy", s, in, storage.PutOptions{})
	if !storage.Is(err, work.Transient) {
		t.Errorf("CopyFrom = %v, want a fault", err)
	}
	if got, err := get(t, inner, "copy"); !bytes.Equal(got, content) {
		t.Errorf("the copy has %d bytes, %v, want it done", len(got), err)
	}
	m := inner.(storage.Multipart)
	u, err := m.Begin(t.Context(), "big", 6, 3, storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.(storage.Multipart).PutPart(t.Context(), u, 1, bytes.NewReader([]byte("abc")), 3, storage.Sums{}); !storage.Is(err, work.Transient) {
		t.Errorf("PutPart = %v, want a fault", err)
	}
	if tally.Struck(Applied, "part") != 1 || tally.Struck(Applied, "copy") != 1 {
		t.Errorf("the tally says %v", tally)
	}

	if _, ok := Faulty(plain{inner}, Faults{}).(storage.Copier); ok {
		t.Error("a store without powers got one")
	}
}
