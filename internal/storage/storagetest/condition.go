package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// keepsConditions reports what the store says of its server, and whether that
// keeps conditions.
func keepsConditions(t *testing.T, s storage.Store) (kept bool, text string) {
	t.Helper()
	p, ok := s.(storage.Prober)
	if !ok {
		return false, "the store is no Prober"
	}
	facts, err := p.Probe(t.Context(), true)
	if err != nil {
		t.Fatalf("Probe = %v", err)
	}
	i := slices.IndexFunc(facts, func(f work.Fact) bool { return f.Name == storage.ConditionsFact })
	if i < 0 {
		t.Fatalf("Probe says nothing of %s", storage.ConditionsFact)
	}
	return strings.HasPrefix(facts[i].Text, storage.ConditionsKept), facts[i].Text
}

// A writer stores content under a key, in one of the ways that a store has.
type writer struct {
	name string
	size int
	do   func(t *testing.T, key string, content []byte, c storage.Condition) (storage.Info, error)
}

// writers returns the ways to store an object in s.
func writers(t *testing.T, h Harness, s storage.Store) []writer {
	put := func(body func([]byte) io.Reader) func(*testing.T, string, []byte, storage.Condition) (storage.Info, error) {
		return func(t *testing.T, key string, content []byte, c storage.Condition) (storage.Info, error) {
			return s.Put(t.Context(), key, body(content), int64(len(content)), storage.PutOptions{If: c})
		}
	}
	ways := []writer{
		{"Put", 1000, put(func(b []byte) io.Reader { return bytes.NewReader(b) })},
		{"Put of a stream", 2 << 20, put(func(b []byte) io.Reader { return stream{bytes.NewReader(b)} })},
	}
	if c, ok := s.(storage.Copier); ok {
		src := h.New(t)
		ways = append(ways, writer{"CopyFrom", 1000, func(t *testing.T, key string, content []byte, on storage.Condition) (storage.Info, error) {
			in := putKnown(t, src, "from", content)
			return c.CopyFrom(t.Context(), key, src, in, storage.PutOptions{If: on})
		}})
	}
	if m, ok := s.(storage.Multipart); ok {
		ways = append(ways, writer{"Commit", 1000, func(t *testing.T, key string, content []byte, c storage.Condition) (storage.Info, error) {
			return commit(t, m, key, content, c)
		}})
	}
	return ways
}

// putKnown stores an object and returns what Stat says of it.
func putKnown(t *testing.T, s storage.Store, key string, content []byte) storage.Info {
	t.Helper()
	put(t, s, key, content, storage.PutOptions{})
	in, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// commit stores an object as an upload of one part, which it gives up if that
// fails.
func commit(t *testing.T, m storage.Multipart, key string, content []byte, c storage.Condition) (storage.Info, error) {
	t.Helper()
	size := int64(len(content))
	u, err := m.Begin(t.Context(), key, size, max(size, m.Limits().MinPart), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.PutPart(t.Context(), u, 1, bytes.NewReader(content), size, storage.Sums{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{If: c})
	if err != nil {
		if left := m.Abort(t.Context(), u); left != nil {
			t.Errorf("Abort = %v", left)
		}
	}
	return in, err
}

// testConditions stores objects on conditions, in every way that the store has.
func testConditions(t *testing.T, h Harness) {
	s := h.New(t)
	kept, text := keepsConditions(t, s)
	t.Logf("%s: %s", storage.ConditionsFact, text)
	for _, w := range writers(t, h, s) {
		t.Run(w.name, func(t *testing.T) {
			if why, ok := h.Unconditional[w.name]; ok {
				t.Skip(why)
			}
			key := strings.ReplaceAll(w.name, " ", "-")
			first, second, other := Bytes(1, w.size), Bytes(2, w.size), Bytes(3, w.size)
			in, err := w.do(t, key, first, storage.Condition{Absent: true})
			if err != nil {
				t.Fatalf("absent over nothing: %v", err)
			}
			wantContent(t, s, key, first)
			if !kept {
				if _, err := w.do(t, key, second, storage.Condition{Absent: true}); err != nil {
					t.Errorf("a store that knows no conditions must do without: %v", err)
				}
				t.Skipf("the server keeps no conditions: %s", text)
			}
			wantClash := func(what, key string, c storage.Condition, stands []byte) {
				t.Helper()
				_, err := w.do(t, key, other, c)
				wantFault(t, what, err, work.Transient)
				if !storage.Clashed(err) {
					t.Errorf("%s = %v, want a clash", what, err)
				}
				if stands != nil {
					wantContent(t, s, key, stands)
				} else if _, err := s.Stat(t.Context(), key); !storage.Is(err, work.NotFound) {
					t.Errorf("%s: now there is something, %v", what, err)
				}
			}
			wantClash("absent over something", key, storage.Condition{Absent: true}, first)
			wantClash("another ETag", key, storage.Condition{ETag: otherTag(in.ETag)}, first)
			wantClash("an ETag over nothing", key+"-none", storage.Condition{ETag: in.ETag}, nil)
			st, err := s.Stat(t.Context(), key)
			if err != nil || st.ETag != in.ETag {
				t.Errorf("Stat says ETag %q, %v; want that of the answer, %q", st.ETag, err, in.ETag)
			}
			if _, err := w.do(t, key, second, storage.Condition{ETag: st.ETag}); err != nil {
				t.Fatalf("the right ETag: %v", err)
			}
			wantContent(t, s, key, second)
			wantClash("a stale ETag", key, storage.Condition{ETag: st.ETag}, second)
		})
	}
	t.Run("a body that fails", func(t *testing.T) {
		cause := &storage.Error{Op: "read", Store: "source", Fault: work.SrcChanged, Err: errors.New("changed under the copy")}
		_, err := s.Put(t.Context(), "failing", iotest.ErrReader(cause), 1000, storage.PutOptions{If: storage.Condition{Absent: true}})
		wantFault(t, "Put", err, work.SrcChanged)
		if storage.Clashed(err) {
			t.Errorf("Put = %v, which is no clash", err)
		}
		if _, err := s.Put(t.Context(), "failing", strings.NewReader("x"), 1, storage.PutOptions{If: storage.Condition{Absent: true}}); err != nil {
			t.Errorf("and again: %v", err)
		}
	})
	t.Run("at once", func(t *testing.T) {
		if !kept {
			t.Skipf("the server keeps no conditions: %s", text)
		}
		if why, ok := h.Unconditional["at once"]; ok {
			t.Skip(why)
		}
		for round := range 10 {
			race(t, s, fmt.Sprintf("contended-%d", round))
		}
	})
}

// otherTag returns another tag of a form that the store may have made.
func otherTag(etag string) string {
	if etag == "" {
		return "x"
	}
	first := byte('1')
	if etag[0] == first {
		first = '2'
	}
	return string(first) + etag[1:]
}

// race has several writers store something where there is nothing. One must
// win; the others must be told.
func race(t *testing.T, s storage.Store, key string) {
	t.Helper()
	const runners = 8
	var all sync.WaitGroup
	errs := make([]error, runners)
	start := make(chan struct{})
	for i := range runners {
		all.Go(func() {
			<-start
			content := Bytes(i, 5000)
			_, errs[i] = s.Put(context.WithoutCancel(t.Context()), key, bytes.NewReader(content), 5000, storage.PutOptions{If: storage.Condition{Absent: true}})
		})
	}
	close(start)
	all.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%s: both %d and %d stored it", key, winner, i)
		case err == nil:
			winner = i
		case !storage.Clashed(err):
			t.Errorf("%s: %d failed otherwise than by a clash: %v", key, i, err)
		}
	}
	if winner < 0 {
		t.Fatalf("%s: nobody stored it: %v", key, errs)
	}
	wantContent(t, s, key, Bytes(winner, 5000))
}
