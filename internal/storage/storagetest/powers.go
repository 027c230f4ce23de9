package storagetest

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

func testCopier(t *testing.T, h Harness) {
	dst, src := h.New(t), h.New(t)
	c, ok := dst.(storage.Copier)
	if !ok {
		t.Skip("the store is no Copier")
	}
	content := Bytes(1, 300_000)
	meta := storage.Meta{ContentType: "text/css", User: map[string]string{"a": "b"}}
	put(t, src, "from/here", content, storage.PutOptions{Meta: meta})
	in, err := src.Stat(t.Context(), "from/here")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.CopyFrom(t.Context(), "to/there", src, in, storage.PutOptions{Meta: in.Meta})
	if err != nil {
		t.Fatalf("CopyFrom a store of the same kind = %v", err)
	}
	wantTrueSums(t, dst, out, content)
	wantContent(t, dst, "to/there", content)
	st, err := dst.Stat(t.Context(), "to/there")
	if err != nil || st.ETag != out.ETag || st.Size != in.Size {
		t.Errorf("Stat of the copy = %+v, %v, want ETag %q", st, err, out.ETag)
	}
	if tr := dst.Traits().Meta; tr.Headers && st.Meta.ContentType != "text/css" || tr.User && !maps.Equal(st.Meta.User, meta.User) {
		t.Errorf("the copy has metadata %+v, want %+v", st.Meta, meta)
	}

	put(t, src, "from/here", Bytes(2, 300_000), storage.PutOptions{})
	_, err = c.CopyFrom(t.Context(), "to/there", src, in, storage.PutOptions{})
	wantFault(t, "CopyFrom of a version that is gone", err, work.SrcChanged)
	_, err = c.CopyFrom(t.Context(), "to/there", src, storage.Info{Key: "absent", ETag: in.ETag}, storage.PutOptions{})
	wantFault(t, "CopyFrom of nothing", err, work.NotFound, work.SrcChanged)
	_, err = c.CopyFrom(t.Context(), "to/there", Faulty(src, Faults{}), in, storage.PutOptions{})
	wantFault(t, "CopyFrom a store of another kind", err, work.Unsupported)
	wantContent(t, dst, "to/there", content)
}

// splits returns a size, a part size and a content that keep to the limits.
func splits(l storage.Limits) (part int64, content []byte) {
	part = max(l.MinPart, 100_000)
	return part, Bytes(7, int(2*part+part/2))
}

func testMultipart(t *testing.T, h Harness) {
	s := h.New(t)
	m, ok := s.(storage.Multipart)
	if !ok {
		t.Skip("the store takes no parts")
	}
	part, content := splits(m.Limits())
	meta := storage.Meta{ContentType: "video/mp4", User: map[string]string{"a": "b"}}
	opts := storage.PutOptions{Meta: meta}
	old := []byte("the old object")
	put(t, s, "big/object", old, storage.PutOptions{})
	u, err := m.Begin(t.Context(), "big/object", int64(len(content)), part, opts)
	if err != nil {
		t.Fatalf("Begin = %v", err)
	}
	u = storage.Upload{Key: u.Key, ID: u.ID, Size: u.Size, Part: u.Part} // as it comes back from the ledger
	chunks := slices.Collect(slices.Chunk(content, int(part)))
	if _, err := m.PutPart(t.Context(), u, 2, bytes.NewReader(Bytes(9, int(part))), part, storage.Sums{}); err != nil {
		t.Fatalf("PutPart = %v", err)
	}
	parts := make([]storage.Part, len(chunks))
	g, ctx := errgroup.WithContext(t.Context())
	for i := len(chunks) - 1; i >= 0; i-- { // in any order; part 2 again, with other bytes
		g.Go(func() (err error) {
			sums := storage.Sums{CRC32C: truth(chunks[i]).CRC32C}
			parts[i], err = m.PutPart(ctx, u, i+1, stream{bytes.NewReader(chunks[i])}, int64(len(chunks[i])), sums)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("PutPart = %v", err)
	}
	for i, p := range parts {
		if _, wrong := p.Sums.Compare(truth(chunks[i])); wrong != 0 || p.N != i+1 || p.Size != int64(len(chunks[i])) {
			t.Errorf("PutPart(%d) says %+v; wrong sums: %v", i+1, p, wrong)
		}
	}
	wantContent(t, s, "big/object", old)
	wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), []string{"big/object"})

	in, err := m.Commit(t.Context(), u, parts, opts)
	if err != nil {
		t.Fatalf("Commit = %v", err)
	}
	wantTrueSums(t, s, in, content)
	wantContent(t, s, "big/object", content)
	wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), []string{"big/object"})
	st, err := s.Stat(t.Context(), "big/object")
	if err != nil || st.ETag != in.ETag || st.Size != int64(len(content)) {
		t.Errorf("Stat = %+v, %v, want %+v", st, err, in)
	}
	wantTrueSums(t, s, st, content)
	if tr := s.Traits().Meta; tr.Headers && st.Meta.ContentType != meta.ContentType || tr.User && !maps.Equal(st.Meta.User, meta.User) {
		t.Errorf("the object has metadata %+v, want %+v", st.Meta, meta)
	}
	if err := m.Abort(t.Context(), u); err != nil {
		t.Errorf("Abort of a finished upload = %v, want none", err)
	}
	wantContent(t, s, "big/object", content)
}

func testMultipartErrors(t *testing.T, h Harness) {
	s := h.New(t)
	m, ok := s.(storage.Multipart)
	if !ok {
		t.Skip("the store takes no parts")
	}
	part, content := splits(m.Limits())
	u, err := m.Begin(t.Context(), "big", int64(len(content)), part, storage.PutOptions{})
	if err != nil {
		t.Fatalf("Begin = %v", err)
	}
	chunks := slices.Collect(slices.Chunk(content, int(part)))
	var parts []storage.Part
	for i, c := range chunks {
		p, err := m.PutPart(t.Context(), u, i+1, bytes.NewReader(c), int64(len(c)), storage.Sums{})
		if err != nil {
			t.Fatalf("PutPart(%d) = %v", i+1, err)
		}
		parts = append(parts, p)
	}
	short := stream{bytes.NewReader(chunks[0][:len(chunks[0])-1])}
	_, err = m.PutPart(t.Context(), u, 1, short, part, storage.Sums{})
	wantFault(t, "PutPart of a short body", err, work.Corrupt, work.Transient)
	if h.Checks&storage.CRC32C != 0 {
		wrong := storage.Sums{CRC32C: truth(chunks[1]).CRC32C}
		_, err = m.PutPart(t.Context(), u, 1, stream{bytes.NewReader(chunks[0])}, part, wrong)
		wantFault(t, "PutPart with a wrong CRC32C", err, work.Corrupt)
	}
	if parts[0], err = m.PutPart(t.Context(), u, 1, bytes.NewReader(chunks[0]), part, storage.Sums{}); err != nil {
		t.Fatalf("PutPart(1) again = %v", err)
	}
	swapped := []storage.Part{parts[1], parts[0], parts[2]}
	swapped[0].N, swapped[1].N = 1, 2
	stale := slices.Clone(parts)
	stale[1].Tag = parts[2].Tag
	for name, list := range map[string][]storage.Part{
		"a missing part": parts[:2], "swapped parts": swapped, "a part of another upload": stale,
	} {
		_, err = m.Commit(t.Context(), u, list, storage.PutOptions{})
		wantFault(t, "Commit with "+name, err, work.Corrupt, work.Invalid, work.NotFound)
		_, err = s.Stat(t.Context(), "big")
		wantFault(t, "Stat after Commit with "+name, err, work.NotFound)
	}

	for range 2 {
		if err := m.Abort(t.Context(), u); err != nil {
			t.Errorf("Abort = %v, want none also when it is gone", err)
		}
	}
	_, err = m.Commit(t.Context(), u, parts, storage.PutOptions{})
	wantFault(t, "Commit of an aborted upload", err, work.NotFound)
	_, err = m.PutPart(t.Context(), u, 1, bytes.NewReader(chunks[0]), part, storage.Sums{})
	wantFault(t, "PutPart of an aborted upload", err, work.NotFound)
	wantKeys(t, work.Range{}, keysOf(listAll(t, s, work.Range{})), nil)
}

// testPending loses the answers of Begin.
func testPending(t *testing.T, h Harness) {
	s := h.New(t)
	m, ok := s.(storage.Multipart)
	if !ok {
		t.Skip("the store takes no parts")
	}
	part, content := splits(m.Limits())
	begin := func(key string) storage.Upload {
		t.Helper()
		u, err := m.Begin(t.Context(), key, int64(len(content)), part, storage.PutOptions{})
		if err != nil {
			t.Fatalf("Begin(%q) = %v", key, err)
		}
		return u
	}
	pending := func(key string, want ...storage.Upload) []storage.Upload {
		t.Helper()
		got, err := m.Pending(t.Context(), key)
		if err != nil {
			t.Fatalf("Pending(%q) = %v", key, err)
		}
		var ids, wanted []string
		for _, u := range got {
			if u.Key != key {
				t.Errorf("Pending(%q) names key %q", key, u.Key)
			}
			ids = append(ids, u.ID)
		}
		for _, u := range want {
			wanted = append(wanted, u.ID)
		}
		slices.Sort(ids)
		slices.Sort(wanted)
		if !slices.Equal(ids, wanted) {
			t.Errorf("Pending(%q) names uploads %q, want %q", key, ids, wanted)
		}
		return got
	}
	pending("big/object")
	lost := begin("big/object")
	if got, err := m.Pending(t.Context(), "big/object"); err == nil && len(got) == 0 {
		if err := m.Abort(t.Context(), lost); err != nil {
			t.Errorf("Abort = %v", err)
		}
		t.Skip("an upload takes no room before its first part")
	}
	again := begin("big/object")
	for _, key := range []string{"big/objec", "big/object2", "big/object-x", "big", "other/object"} {
		pending(key)
	}
	longer := begin("big/object2")
	pending("big/object", lost, again)
	pending("big/object2", longer)

	stored, err := m.PutPart(t.Context(), again, 2, bytes.NewReader(content[part:2*part]), part, storage.Sums{})
	if err != nil || stored.N != 2 {
		t.Fatalf("PutPart = %+v, %v", stored, err)
	}
	for _, u := range pending("big/object", lost) {
		if err := m.Abort(t.Context(), u); err != nil { // with no more than Pending gave
			t.Errorf("Abort of a pending upload = %v", err)
		}
	}
	pending("big/object")
	pending("big/object2", longer)
	if _, err := m.PutPart(t.Context(), again, 1, bytes.NewReader(content[:part]), part, storage.Sums{}); err != nil {
		t.Errorf("PutPart of the upload with parts = %v, want it alive", err)
	}
	for _, u := range []storage.Upload{again, longer} {
		if err := m.Abort(t.Context(), u); err != nil {
			t.Errorf("Abort = %v", err)
		}
	}
	pending("big/object2")
}
