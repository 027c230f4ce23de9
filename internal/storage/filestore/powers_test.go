package filestore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestProbeLeavesNothing probes a folder and one that is still to be made.
func TestProbeLeavesNothing(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, way := range []string{"", "not/yet"} {
		facts, err := open(t, filepath.Join(base, way), "").Probe(t.Context(), true)
		must(t, err)
		for name, words := range map[string]string{
			"metadata": "kept", "versions": "told apart", "names": "byte for byte", "unfinished files": "whole", "times": "kept",
		} {
			if got := fact(facts, name); !strings.Contains(got, words) {
				t.Errorf("Probe says of %s %q, want %q in it", name, got, words)
			}
		}
		left, err := os.ReadDir(base)
		must(t, err)
		if len(left) > 0 {
			t.Errorf("Probe left %v", left)
		}
	}
	poor := open(t, base, "")
	poor.xattrs, poor.nameless, poor.inodes = false, false, false
	facts, err := poor.Probe(t.Context(), true)
	must(t, err)
	for name, words := range map[string]string{"metadata": "not kept", "versions": "number files anew", "unfinished files": "named"} {
		if got := fact(facts, name); !strings.Contains(got, words) {
			t.Errorf("Probe of a poor file system says of %s %q, want %q in it", name, got, words)
		}
	}
	_, err = open(t, filepath.Join(base, "not/yet"), "").Probe(t.Context(), false)
	wantFault(t, "Probe of a source that is not there", err, work.NotFound, "does not exist", "mounted")
}

// TestSparseGiant looks at a file far larger than any disk here, which must not
// take longer than a small one.
func TestSparseGiant(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	const size = 5 << 40
	f, err := os.Create(filepath.Join(folder, "giant"))
	must(t, err)
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Skipf("the file system of the temporary folder holds no file of 5 TiB: %v", err)
	}
	_, err = f.WriteAt([]byte("the end"), size-7)
	must(t, err)
	s := open(t, folder, "")
	err = s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		if len(page) != 1 || page[0].Size != size {
			t.Errorf("List gave %+v, want one object of %d bytes", page, int64(size))
		}
		return nil
	})
	must(t, err)
	in, err := s.Stat(t.Context(), "giant")
	if err != nil || in.Size != size {
		t.Fatalf("Stat = %+v, %v", in, err)
	}
	for _, r := range []struct {
		off, n int64
		want   string
	}{
		{0, 3, "\x00\x00\x00"}, {size / 2, 2, "\x00\x00"}, {size - 8, -1, "\x00the end"}, {size - 3, 3, "end"},
	} {
		body, _, err := s.Get(t.Context(), "giant", in.ETag, r.off, r.n)
		must(t, err)
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || string(got) != r.want {
			t.Errorf("Get(off %d, n %d) = %q, %v, want %q", r.off, r.n, got, err, r.want)
		}
	}
}

// TestFieldsOfRefusals looks that a refusal names what cannot be held.
func TestFieldsOfRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	for _, key := range []string{"a//b", "../a", strings.Repeat("n", 256), "a\x00", ".tranship-x.tmp"} {
		wantUnkept(t, "Keeps", s.Keeps(t.Context(), key))
		_, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, storage.PutOptions{})
		wantUnkept(t, "Put", err)
	}
	put(t, s, "d/x", "x", storage.PutOptions{})
	_, err := s.Begin(t.Context(), "d", 1, 1, storage.PutOptions{})
	wantUnkept(t, "Begin of a key that is a folder", err, "a folder stands at d")
	_, err = s.Begin(t.Context(), "d/x/y", 1, 1, storage.PutOptions{})
	wantUnkept(t, "Begin below a file", err, "a file stands at x")

	must(t, unix.Mkfifo(s.path([]string{"fifo"}), 0o644))
	err = s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil })
	if e, ok := err.(*storage.Error); !ok || e.Field != "" {
		t.Errorf("List = %#v, want no field: no object is at fault", err)
	}
	if !s.xattrs {
		return
	}
	meta := storage.Meta{User: map[string]string{"big": strings.Repeat("x", 100_000)}}
	_, err = s.Put(t.Context(), "a", strings.NewReader("x"), 1, storage.PutOptions{Meta: meta})
	if e, ok := err.(*storage.Error); !ok || e.Fault != work.Unsupported || e.Field != work.FieldMetadata {
		t.Errorf("Put of too much metadata = %#v, want field %q", err, work.FieldMetadata)
	}
}

// TestPendingOnPath looks for lost uploads where others have left things that
// look like ours.
func TestPendingOnPath(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	u, err := s.Begin(t.Context(), "d/big", 10, 4, storage.PutOptions{})
	must(t, err)
	d := filepath.Join(folder, "d")
	must(t, os.WriteFile(filepath.Join(d, ".tranship-SHORT.tmp"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(d, ".tranship-OTHER.tmp"), storagetest.Bytes(1, 1000), 0o644))
	must(t, os.WriteFile(filepath.Join(d, ".tranship-not an id.tmp"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(d, ".tranship-FOLDER.tmp"), 0o755))
	must(t, os.Symlink("nowhere", filepath.Join(d, ".tranship-LINK.tmp")))
	must(t, unix.Mkfifo(filepath.Join(d, ".tranship-FIFO.tmp"), 0o644))
	liar := newLabel(storage.Upload{Size: 1 << 60, Part: 1}, "big") // of sizes that its file has not
	must(t, os.WriteFile(filepath.Join(d, ".tranship-LIAR.tmp"), liar, 0o644))
	for _, s := range []*Store{s, open(t, folder, "")} {
		got, err := s.Pending(t.Context(), "d/big")
		must(t, err)
		if len(got) != 1 || got[0].ID != u.ID {
			t.Errorf("Pending = %+v, want %s alone", got, u.ID)
		}
	}
	if got, err := open(t, d, "").Pending(t.Context(), "big"); err != nil || len(got) != 1 {
		t.Errorf("Pending in the folder itself = %+v, %v, want the same upload", got, err)
	}
	for _, key := range []string{"big", "none/big", "d/big/x"} {
		if got, err := s.Pending(t.Context(), key); err != nil || len(got) > 0 {
			t.Errorf("Pending(%s) = %+v, %v, want none", key, got, err)
		}
	}
}

// TestCommitCanBeRepeated has a folder stand in the way of the first Commit:
// what was cut off for it must be there again for the second.
func TestCommitCanBeRepeated(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	content := storagetest.Bytes(1, 10)
	u, err := s.Begin(t.Context(), "big", 10, 6, storage.PutOptions{})
	must(t, err)
	before, err := os.Stat(filepath.Join(folder, tempName(u)))
	must(t, err)
	var list []storage.Part
	for n := 1; n <= 2; n++ {
		off, size := extent(u, n)
		p, err := s.PutPart(t.Context(), u, n, bytes.NewReader(content[off:off+size]), size, storage.Sums{})
		must(t, err)
		list = append(list, p)
	}
	must(t, os.Mkdir(filepath.Join(folder, "big"), 0o755))
	_, err = s.Commit(t.Context(), u, list, storage.PutOptions{})
	wantUnkept(t, "Commit", err, "a folder stands at big")
	after, err := os.Stat(filepath.Join(folder, tempName(u)))
	if err != nil || after.Size() != before.Size() {
		t.Errorf("after a Commit that failed the upload has %v bytes, %v, want %d", after, err, before.Size())
	}
	must(t, os.Remove(filepath.Join(folder, "big")))
	_, err = s.Commit(t.Context(), u, list, storage.PutOptions{})
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(folder, "big")); !bytes.Equal(b, content) || err != nil {
		t.Errorf("the object has %d bytes, %v, want the content", len(b), err)
	}
}

// TestUploadWithoutLabel goes on with an upload that an older version began.
func TestUploadWithoutLabel(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	u, err := s.Begin(t.Context(), "big", 10, 10, storage.PutOptions{})
	must(t, err)
	must(t, os.Truncate(filepath.Join(folder, tempName(u)), entryAt(u, 2)))
	if got, err := s.Pending(t.Context(), "big"); err != nil || len(got) > 0 {
		t.Errorf("Pending = %+v, %v, want none: the upload does not say whose it is", got, err)
	}
	p, err := s.PutPart(t.Context(), u, 1, strings.NewReader("0123456789"), 10, storage.Sums{})
	must(t, err)
	_, err = s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{})
	must(t, err)
	wantList(t, s, "big")
}
