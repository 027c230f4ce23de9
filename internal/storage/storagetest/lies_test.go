package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/memstore"
	. "github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// only makes one kind strike one operation.
func only(op string, k Kind) func(Call) Kind {
	return func(c Call) Kind {
		if c.Op == op {
			return k
		}
		return ""
	}
}

func TestFaultyRefusals(t *testing.T) {
	t.Parallel()
	for k, want := range map[Kind]storage.Error{
		RetryAfter: {Fault: work.Throttled, After: 7 * time.Second},
		Expired:    {Fault: work.Denied, Expired: true},
	} {
		var tally Tally
		s := Faulty(memstore.New(), Faults{Script: always(k), After: 7 * time.Second, Tally: &tally})
		_, err := s.Stat(t.Context(), "k")
		var got *storage.Error
		if !errors.As(err, &got) || got.Fault != want.Fault || got.After != want.After || got.Expired != want.Expired {
			t.Errorf("%s: Stat = %+v, want fault %q, after %v, expired %v", k, got, want.Fault, want.After, want.Expired)
		}
		if err := put(t, s, "k", storage.PutOptions{}); storage.FaultOf(err) != want.Fault {
			t.Errorf("%s: Put = %v, want a fault %q", k, err, want.Fault)
		}
		if tally.Struck(k, "stat") != 1 || tally.Struck(k, "put") != 1 {
			t.Errorf("%s: the tally says %v", k, &tally)
		}
	}
}

// TestFaultyCommits puts five parts together wrongly and looks what each lie
// leaves for others to notice.
func TestFaultyCommits(t *testing.T) {
	t.Parallel()
	d := storage.NewDigest(storage.CRC32C)
	d.Write(content)
	meta := storage.Meta{ContentType: "text/css", Tags: map[string]string{"a": "b"}}
	for _, tt := range []struct {
		kind  Kind
		size  int // of what is stored
		wrong int // of the five parts are not in their place
	}{
		{Swapped, len(content), 2},
		{Doubled, len(content), 1},
		{Truncated, len(content) - 2000, -1},
	} {
		commit := func(seed uint64) (storage.Store, storage.Info, *Tally) {
			inner, tally := memstore.New(), &Tally{}
			s := Faulty(inner, Faults{Seed: seed, Script: only("commit", tt.kind), Tally: tally})
			in, err := putParts(t, s, "big", 2000, storage.PutOptions{Meta: meta, Sums: d.Sums()})
			if err != nil {
				t.Fatalf("%s: Commit = %v, want success", tt.kind, err)
			}
			return inner, in, tally
		}
		inner, in, tally := commit(1)
		got, err := get(t, inner, "big")
		if err != nil || len(got) != tt.size || bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes are stored, %v, want %d that differ from what was sent", tt.kind, len(got), err, tt.size)
		}
		if in.Size != int64(len(content)) || tally.Struck(tt.kind, "commit") != 1 {
			t.Errorf("%s: the answer says %d bytes, want %d; the tally says %v", tt.kind, in.Size, len(content), tally)
		}
		if both, differ := in.Sums.Compare(d.Sums()); tt.wrong > 0 && differ != storage.CRC32C || tt.wrong < 0 && both != 0 {
			t.Errorf("%s: the answer vouches for %v", tt.kind, in.Sums.Algos())
		}
		wrong := 0
		for i := 0; i+2000 <= len(got); i += 2000 {
			if !bytes.Equal(got[i:i+2000], content[i:i+2000]) {
				wrong++
			}
		}
		if tt.wrong > 0 && wrong != tt.wrong {
			t.Errorf("%s: %d parts are wrong, want %d", tt.kind, wrong, tt.wrong)
		}
		st, err := inner.Stat(t.Context(), "big")
		if err != nil || st.Meta.ContentType != meta.ContentType || st.TagCount != 1 {
			t.Errorf("%s: Stat = %+v, %v, want the metadata kept", tt.kind, st, err)
		}
		if again, _, _ := commit(1); !bytes.Equal(mustGet(t, again, "big"), got) {
			t.Errorf("%s: the same seed did other damage", tt.kind)
		}
		small := Faulty(memstore.New(), Faults{Script: only("commit", tt.kind), Tally: tally})
		if _, err := putParts(t, small, "small", int64(len(content)), storage.PutOptions{}); err != nil || tally.Struck(tt.kind) != 1 {
			t.Errorf("%s: an upload of one part = %v, want it left alone: %v", tt.kind, err, tally)
		}
	}
}

func mustGet(t *testing.T, s storage.Store, key string) []byte {
	t.Helper()
	b, err := get(t, s, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// putParts stores content in parts.
func putParts(t *testing.T, s storage.Store, key string, part int64, opts storage.PutOptions) (storage.Info, error) {
	t.Helper()
	m := s.(storage.Multipart)
	u, err := m.Begin(t.Context(), key, int64(len(content)), part, opts)
	if err != nil {
		t.Fatal(err)
	}
	var parts []storage.Part
	for off := int64(0); off < u.Size; off += part {
		chunk := content[off:min(off+part, u.Size)]
		p, err := m.PutPart(t.Context(), u, len(parts)+1, bytes.NewReader(chunk), int64(len(chunk)), storage.Sums{})
		if err != nil {
			return storage.Info{}, err
		}
		parts = append(parts, p)
	}
	return m.Commit(t.Context(), u, parts, opts)
}

func TestFaultyStale(t *testing.T) {
	t.Parallel()
	var tally Tally
	s := Faulty(memstore.New(), Faults{Script: only("get", Stale), Remember: true, Tally: &tally})
	write := func(text string) storage.Info {
		t.Helper()
		in, err := s.Put(t.Context(), "k", strings.NewReader(text), int64(len(text)), storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	write("the first")
	if got := mustGet(t, s, "k"); string(got) != "the first" || tally.Struck(Stale) != 0 {
		t.Errorf("with nothing before it, Get = %q; the tally says %v", got, &tally)
	}
	in := write("another 1")
	body, said, err := s.Get(t.Context(), "k", in.ETag, 0, -1)
	if err != nil || said.ETag != in.ETag || said.Sums.CRC32C == nil {
		t.Fatalf("Get = %+v, %v, want the new version's ETag and sums", said, err)
	}
	body.Close()
	if got := mustGet(t, s, "k"); string(got) != "the first" || tally.Struck(Stale, "get") != 2 {
		t.Errorf("Get = %q, want what was there before; the tally says %v", got, &tally)
	}
	write("something longer")
	if got := mustGet(t, s, "k"); string(got) != "something longer" {
		t.Errorf("Get = %q, want the new content where the old one is too short for it", got)
	}
}

func TestFaultyLied(t *testing.T) {
	t.Parallel()
	inner, s, tally := setup(t, Lied)
	right, err := inner.Stat(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	wantLie := func(what string, in storage.Info, err error) {
		t.Helper()
		_, differ := in.Sums.Compare(right.Sums)
		if err != nil || in.ETag == right.ETag || len(in.ETag) != len(right.ETag) || differ != right.Sums.Algos() || in.Size != right.Size {
			t.Errorf("%s says %+v, %v, want another ETag and other checksums than %+v", what, in, err, right)
		}
	}
	in, err := s.Stat(t.Context(), "old")
	wantLie("Stat", in, err)
	body, in, err := s.Get(t.Context(), "old", right.ETag, 0, -1)
	wantLie("Get", in, err)
	body.Close()
	if got := mustGet(t, s, "old"); !bytes.Equal(got, content) {
		t.Error("Get gave other bytes, want only a false answer")
	}
	in, err = s.Put(t.Context(), "new", bytes.NewReader(content), right.Size, storage.PutOptions{})
	wantLie("Put", in, err)
	in, err = s.(storage.Copier).CopyFrom(t.Context(), "copy", s, right, storage.PutOptions{})
	wantLie("CopyFrom", in, err)
	if _, err := putParts(t, s, "big", 5000, storage.PutOptions{}); !storage.Is(err, work.Corrupt) {
		t.Errorf("Commit of parts with false tags = %v, want it refused", err)
	}
	for _, key := range []string{"new", "copy"} {
		if got := mustGet(t, inner, key); !bytes.Equal(got, content) {
			t.Errorf("%s is not stored as it was sent", key)
		}
	}
	in, err = putParts(t, Faulty(inner, Faults{Script: only("commit", Lied), Tally: tally}), "big", 5000, storage.PutOptions{})
	wantLie("Commit", in, err)
	if tally.Struck(Lied, "stat") != 1 || tally.Struck(Lied, "part") != 2 || tally.Struck(Lied, "commit") != 2 {
		t.Errorf("the tally says %v", tally)
	}
}

func TestFaultyMistagged(t *testing.T) {
	t.Parallel()
	inner, s, _ := setup(t, Mistagged)
	for what, ask := range map[string]func() (storage.Info, error){
		"Stat": func() (storage.Info, error) { return s.Stat(t.Context(), "old") },
		"Put": func() (storage.Info, error) {
			return s.Put(t.Context(), "new", bytes.NewReader(content), int64(len(content)), storage.PutOptions{})
		},
		"Commit": func() (storage.Info, error) { return putParts(t, s, "big", 5000, storage.PutOptions{}) },
	} {
		in, err := ask()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		right, err := inner.Stat(t.Context(), in.Key)
		if err != nil {
			t.Fatal(err)
		}
		if both, differ := in.Sums.Compare(right.Sums); in.ETag == right.ETag || both == 0 || differ != 0 {
			t.Errorf("%s says %+v, want another ETag alone than %+v", what, in, right)
		}
	}
}

func TestFaultyKept(t *testing.T) {
	t.Parallel()
	inner, s, tally := setup(t, Kept)
	other := bytes.ToUpper(content)
	write := func(key string) storage.Info {
		t.Helper()
		in, err := s.Put(t.Context(), key, bytes.NewReader(other), int64(len(other)), storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	before, err := inner.Stat(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	in := write("old")
	if _, differ := in.Sums.Compare(before.Sums); differ != 0 || in.ETag != before.ETag {
		t.Errorf("Put = %+v, want the answer to be what stood there", in)
	}
	if got := mustGet(t, inner, "old"); !bytes.Equal(got, content) {
		t.Error("Put stored what it was sent")
	}
	write("new")
	if got := mustGet(t, inner, "new"); !bytes.Equal(got, other) || tally.Struck(Kept) != 1 {
		t.Errorf("a Put of a new key is not left alone: %v", tally)
	}
}

func TestFaultyPerjured(t *testing.T) {
	t.Parallel()
	d := storage.NewDigest(storage.CRC32C)
	d.Write(content)
	opts := storage.PutOptions{Sums: d.Sums(), Meta: storage.Meta{ContentType: "text/css"}}
	inner := memstore.New()
	s := Faulty(inner, Faults{Script: always(Perjured)})
	for what, store := range map[string]func() (storage.Info, error){
		"Put": func() (storage.Info, error) {
			return s.Put(t.Context(), "k", bytes.NewReader(content), int64(len(content)), opts)
		},
		"Commit": func() (storage.Info, error) { return putParts(t, s, "k", 5000, opts) },
	} {
		in, err := store()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		there, err := inner.Stat(t.Context(), "k")
		if err != nil || there.ETag != in.ETag || there.Meta.ContentType != "text/css" {
			t.Errorf("%s: Stat = %+v, %v, want the ETag %q and the metadata kept", what, there, err, in.ETag)
		}
		if both, differ := in.Sums.Compare(d.Sums()); both == 0 || differ != 0 {
			t.Errorf("%s vouches for other bytes than it was sent", what)
		}
		if got := mustGet(t, inner, "k"); bitsApart(got, content) != 1 {
			t.Errorf("%s: %d bits are wrong, want one", what, bitsApart(got, content))
		}
	}
}

// plain hides the powers of a store, picky has some that memory stores lack.
type (
	plain struct{ storage.Store }
	picky struct {
		*memstore.Store
		refuses string // as a key, and as a name of metadata
	}
)

func (p picky) Keeps(ctx context.Context, key string) error {
	if key == p.refuses || key == "" {
		return &storage.Error{Op: "check", Store: "picky", Key: key, Fault: work.Unsupported, Field: work.FieldKeys, Err: errors.New("no")}
	}
	return nil
}

func (p picky) Put(ctx context.Context, key string, body io.Reader, size int64, opts storage.PutOptions) (storage.Info, error) {
	if err := p.Keeps(ctx, key); err != nil {
		return storage.Info{}, err
	}
	return p.Store.Put(ctx, key, body, size, opts)
}

func (p picky) Fit(m storage.Meta) (storage.Meta, []storage.Misfit) {
	if _, ok := m.User[p.refuses]; !ok {
		return m, nil
	}
	m.User = maps.Clone(m.User)
	delete(m.User, p.refuses)
	return m, []storage.Misfit{{Field: work.FieldMetadata, Name: p.refuses, Why: "it is refused"}}
}

func TestConformancePicky(t *testing.T) {
	t.Parallel()
	Run(t, Harness{
		New:    func(*testing.T) storage.Store { return picky{memstore.New(), "plain"} },
		Checks: storage.CRC32C | storage.MD5,
		Skip: map[string]string{
			"Copier": "a picky store is none of another kind to a memory store",
			"Meta":   "the metadata tried there is refused",
		},
		Unconditional: map[string]string{"CopyFrom": "a picky store is none of another kind to a memory store"},
	})
}

// TestFaultyPasses looks that a faulty store has the powers of the one behind
// it, no more, and that they fail as all else does.
func TestFaultyPasses(t *testing.T) {
	t.Parallel()
	type powers interface {
		storage.Tagger
		storage.Keeper
		storage.Fitter
		storage.Prober
	}
	meta := storage.Meta{User: map[string]string{"x": "1", "y": "2"}, Tags: map[string]string{"a": "b"}}
	inner := picky{memstore.New(), "x"}
	s := Faulty(inner, Faults{}).(powers)
	if err := put(t, inner, "k", storage.PutOptions{Meta: meta}); err != nil {
		t.Fatal(err)
	}
	if tags, err := s.Tags(t.Context(), "k"); err != nil || tags["a"] != "b" {
		t.Errorf("Tags = %q, %v", tags, err)
	}
	if err := s.Keeps(t.Context(), "x"); !storage.Is(err, work.Unsupported) {
		t.Errorf("Keeps = %v, want it refused", err)
	}
	if fit, lost := s.Fit(meta); len(lost) != 1 || lost[0].Name != "x" || len(fit.User) != 1 {
		t.Errorf("Fit = %+v, %+v", fit, lost)
	}
	if facts, err := s.Probe(t.Context(), true); err != nil || len(facts) == 0 {
		t.Errorf("Probe = %v, %v", facts, err)
	}

	s = Faulty(plain{inner}, Faults{}).(powers)
	tags, err := s.Tags(t.Context(), "k")
	if fit, lost := s.Fit(meta); tags != nil || err != nil || s.Keeps(t.Context(), "x") != nil || len(lost) > 0 || len(fit.User) != 2 {
		t.Errorf("a faulty store has powers that the one behind it lacks: %q, %v, %+v", tags, err, lost)
	}
	if facts, err := s.Probe(t.Context(), true); err != nil || len(facts) > 0 {
		t.Errorf("Probe = %v, %v, want nothing", facts, err)
	}
	if _, ok := s.(storage.Multipart); ok {
		t.Error("a store that takes no parts got the power to")
	}

	broken := Faulty(inner, Faults{Script: always(Denied)})
	s = broken.(powers)
	_, tagged := s.Tags(t.Context(), "k")
	_, probed := s.Probe(t.Context(), false)
	_, pending := broken.(storage.Multipart).Pending(t.Context(), "k")
	for what, err := range map[string]error{"Tags": tagged, "Probe": probed, "Keeps": s.Keeps(t.Context(), "k"), "Pending": pending} {
		if !storage.Is(err, work.Denied) {
			t.Errorf("%s = %v, want a fault", what, err)
		}
	}
}
