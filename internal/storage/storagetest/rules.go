package storagetest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// testKeeper asks beforehand what Put then has to confirm.
func testKeeper(t *testing.T, h Harness) {
	s := h.New(t)
	k, ok := s.(storage.Keeper)
	if !ok {
		t.Skip("the store is no Keeper")
	}
	kept := map[string][]byte{}
	for _, key := range append(h.oddKeys(), "") {
		content := contentOf(key)
		_, putErr := s.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), storage.PutOptions{})
		switch err := k.Keeps(t.Context(), key); {
		case err == nil && putErr == nil:
			kept[key] = content
		case err == nil:
			t.Errorf("Keeps(%q) = nil, but Put = %v", key, putErr)
		default:
			wantField(t, "Keeps("+work.Quote(key)+")", err, work.FieldKeys)
			if slices.Contains(h.Keys, key) {
				t.Errorf("Keeps(%q) = %v, want it kept", key, err)
			}
			if putErr == nil {
				t.Errorf("Keeps(%q) = %v, but Put succeeded", key, err)
			} else if key != "" {
				wantField(t, "Put("+work.Quote(key)+")", putErr, work.FieldKeys)
			}
		}
	}
	for _, in := range listAll(t, s, work.Range{}) {
		if content, ok := kept[in.Key]; ok {
			wantContent(t, s, in.Key, content)
			delete(kept, in.Key)
		} else {
			t.Errorf("List gave %q, which nobody put there", in.Key)
		}
	}
	for key := range kept {
		t.Errorf("List left out %q, which the store keeps", key)
	}
}

// wantField fails the test unless err is Unsupported because of a field.
func wantField(t *testing.T, what string, err error, field work.Field) {
	t.Helper()
	wantFault(t, what, err, work.Unsupported)
	var e *storage.Error
	if errors.As(err, &e) && e.Field != field {
		t.Errorf("%s names field %q, want %q: %v", what, e.Field, field, err)
	}
}

// testNested stores keys of which one would be a folder of the other. A store
// may refuse the second, but lose neither.
func testNested(t *testing.T, h Harness) {
	for _, keys := range [][]string{{"k", "k/child"}, {"k/child", "k"}, {"k/a/b", "k/a"}, {"k", "k/a/b"}} {
		s := h.New(t)
		put(t, s, keys[0], []byte("first"), storage.PutOptions{})
		want := keys[:1]
		_, err := s.Put(t.Context(), keys[1], strings.NewReader("second"), 6, storage.PutOptions{})
		if err == nil {
			wantContent(t, s, keys[1], []byte("second"))
			want = slices.Sorted(slices.Values(keys))
		} else if _, ok := s.(storage.Keeper); ok {
			wantField(t, "Put("+keys[1]+") beside "+keys[0], err, work.FieldKeys)
		} else {
			wantFault(t, "Put("+keys[1]+") beside "+keys[0], err, work.Unsupported, work.Invalid, work.Transient)
		}
		wantContent(t, s, keys[0], []byte("first"))
		wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), want)
	}
}

// testEmpty stores objects without bytes, markers of folders among them.
func testEmpty(t *testing.T, h Harness) {
	s := h.New(t)
	put(t, s, "empty", nil, storage.PutOptions{})
	want := []string{"empty"}
	for _, key := range []string{"a/", "b/c/"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader(""), 0, storage.PutOptions{}); err != nil {
			wantFault(t, "Put("+key+")", err, work.Unsupported, work.Invalid)
		} else {
			want = append(want, key)
		}
	}
	for _, key := range []string{"a/x", "b/c/x"} {
		put(t, s, key, []byte(key), storage.PutOptions{})
		want = append(want, key)
	}
	slices.Sort(want)
	look := func(when string) {
		t.Helper()
		listed := listAll(t, s, work.Range{})
		wantKeys(t, work.Range{}, keysOf(listed), want)
		for _, in := range listed {
			content := []byte(in.Key)
			if in.Key == "empty" || strings.HasSuffix(in.Key, "/") {
				content = nil
			}
			wantContent(t, s, in.Key, content)
			if st, err := s.Stat(t.Context(), in.Key); err != nil || st.Size != int64(len(content)) || in.Size != st.Size {
				t.Errorf("%s: Stat(%q) = %d bytes, %v, List says %d, want %d", when, in.Key, st.Size, err, in.Size, len(content))
			}
		}
	}
	look("all there")
	for _, key := range []string{"a/", "b/c/x"} { // one beneath which something stays, and the other way round
		if !slices.Contains(want, key) {
			continue
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q) = %v", key, err)
		}
		want = slices.DeleteFunc(want, func(k string) bool { return k == key })
	}
	look("after deleting")

	_, err := s.Put(t.Context(), "d/", strings.NewReader("bytes"), 5, storage.PutOptions{})
	if err == nil {
		wantContent(t, s, "d/", []byte("bytes"))
	} else {
		wantFault(t, "Put of a marker with bytes", err, work.Unsupported, work.Invalid)
		_, err = s.Stat(t.Context(), "d/")
		wantFault(t, "Stat of a marker that was refused", err, work.NotFound, work.Unsupported)
	}
}

// testProber asks what the store finds out, which must leave it as it was.
func testProber(t *testing.T, h Harness) {
	s := h.New(t)
	p, ok := s.(storage.Prober)
	if !ok {
		t.Skip("the store is no Prober")
	}
	put(t, s, "there", []byte("x"), storage.PutOptions{})
	for _, write := range []bool{false, true, true} {
		facts, err := p.Probe(t.Context(), write)
		if err != nil {
			t.Fatalf("Probe(write %v) = %v", write, err)
		}
		if len(facts) == 0 {
			t.Errorf("Probe(write %v) found out nothing", write)
		}
		seen := map[string]bool{}
		for _, f := range facts {
			if f.Name == "" || f.Text == "" || seen[f.Name] {
				t.Errorf("Probe(write %v) says %+v, want a name of its own and a text", write, f)
			}
			seen[f.Name] = true
		}
		wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), []string{"there"})
		if m, ok := s.(storage.Multipart); ok {
			if left, err := m.Pending(t.Context(), "there"); err != nil || len(left) > 0 {
				t.Errorf("Probe(write %v) left uploads %v, %v", write, left, err)
			}
		}
	}
	if h.Missing == nil {
		return
	}
	missing := h.Missing(t)
	if facts, err := missing.(storage.Prober).Probe(t.Context(), false); err == nil {
		t.Errorf("Probe of a store that is not there says %v", facts)
	} else {
		wantFault(t, "Probe of a store that is not there", err, work.NotFound, work.Denied)
	}
}
