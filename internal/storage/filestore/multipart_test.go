package filestore

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// TestLateWriter has a writer of a part stall while others go on: what it
// writes late must not reach an object that was committed without it.
func TestLateWriter(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, other := open(t, folder, ""), open(t, folder, "") // as in two agents
	content := string(storagetest.Bytes(1, 250))
	u, err := s.Begin(t.Context(), "big", 250, 100, storage.PutOptions{})
	must(t, err)
	var parts []storage.Part
	for n := 1; n <= 3; n++ {
		off, size := extent(u, n)
		p, err := s.PutPart(t.Context(), u, n, strings.NewReader(content[off:off+size]), size, storage.Sums{})
		must(t, err)
		parts = append(parts, p)
	}

	r, w := io.Pipe()
	late := make(chan error)
	go func() {
		_, err := other.PutPart(t.Context(), u, 2, r, 100, storage.Sums{})
		late <- err
	}()
	_, err = w.Write([]byte("stale bytes")) // now it holds its part
	must(t, err)
	_, err = s.PutPart(t.Context(), u, 2, strings.NewReader(content[100:200]), 100, storage.Sums{})
	wantFault(t, "PutPart beside another writer", err, work.Transient, "another writer")
	_, err = s.Commit(t.Context(), u, parts, storage.PutOptions{})
	wantFault(t, "Commit beside a writer", err, work.Transient, "another writer")
	must(t, w.CloseWithError(io.ErrClosedPipe))
	if err := <-late; err == nil {
		t.Error("PutPart of a body that broke off succeeded")
	}

	_, err = s.Commit(t.Context(), u, parts, storage.PutOptions{})
	wantFault(t, "Commit of a part that got other bytes", err, work.NotFound, "part 2 is not there any more")
	parts[1], err = s.PutPart(t.Context(), u, 2, strings.NewReader(content[100:200]), 100, storage.Sums{})
	must(t, err)
	_, err = s.Commit(t.Context(), u, parts, storage.PutOptions{})
	must(t, err)
	_, err = other.PutPart(t.Context(), u, 2, strings.NewReader(content[:100]), 100, storage.Sums{})
	wantFault(t, "PutPart after Commit", err, work.NotFound)
	if b, err := os.ReadFile(filepath.Join(folder, "big")); string(b) != content || err != nil {
		t.Errorf("the object has %d bytes that differ from what was sent, %v", len(b), err)
	}
}

// TestPartAgain sends a part again that was recorded: the same, which breaks off,
// and another.
func TestPartAgain(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	content := string(storagetest.Bytes(1, 700_000))
	u, err := s.Begin(t.Context(), "big", 700_000, 400_000, storage.PutOptions{})
	must(t, err)
	send := func(n int, body io.Reader) (storage.Part, error) {
		_, size := extent(u, n)
		return s.PutPart(t.Context(), u, n, body, size, storage.Sums{})
	}
	one, err := send(1, strings.NewReader(content[:400_000]))
	must(t, err)
	other, err := send(2, strings.NewReader(strings.Repeat("x", 300_000)))
	must(t, err)
	if _, err := send(1, strings.NewReader(content[:300_000])); err == nil {
		t.Error("PutPart of a body that broke off succeeded")
	}
	again, err := send(1, strings.NewReader(content[:400_000]))
	must(t, err)
	if again.Tag != one.Tag {
		t.Errorf("the same part has tag %q, then %q", one.Tag, again.Tag)
	}
	if _, err := send(1, strings.NewReader(content[:100])); err == nil {
		t.Error("PutPart of a body that broke off succeeded")
	}
	two, err := send(2, strings.NewReader(content[400_000:]))
	must(t, err)
	_, err = s.Commit(t.Context(), u, []storage.Part{one, other}, storage.PutOptions{})
	wantFault(t, "Commit of a part that another took the place of", err, work.Corrupt, "part 2")
	_, err = s.Commit(t.Context(), u, []storage.Part{one, two}, storage.PutOptions{})
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(folder, "big")); string(b) != content || err != nil {
		t.Errorf("the object has %d bytes that differ from what was sent, %v", len(b), err)
	}
}

func TestCommitChecksWhole(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	u, err := s.Begin(t.Context(), "d/big", 6, 4, storage.PutOptions{})
	must(t, err)
	var parts []storage.Part
	for n, text := range []string{"1234", "56"} {
		p, err := s.PutPart(t.Context(), u, n+1, strings.NewReader(text), int64(len(text)), storage.Sums{})
		must(t, err)
		parts = append(parts, p)
	}
	_, err = s.Commit(t.Context(), u, parts, storage.PutOptions{Sums: storage.Sums{CRC32C: []byte{1, 2, 3, 4}}})
	wantFault(t, "Commit with a wrong CRC32C", err, work.Corrupt)
	d := storage.NewDigest(storage.CRC32C)
	d.Write([]byte("123456"))
	in, err := s.Commit(t.Context(), u, parts, storage.PutOptions{Sums: d.Sums()})
	must(t, err)
	if _, differ := in.Sums.Compare(d.Sums()); differ != 0 {
		t.Errorf("Commit vouches for a wrong %v", differ)
	}
}

// TestCommitKilled finds an upload as a commit leaves it that was killed before
// it gave the file its name.
func TestCommitKilled(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	for name, left := range map[string]int64{"content alone": 6, "half a table": 6 + entrySize} {
		u, err := s.Begin(t.Context(), "big", 6, 4, storage.PutOptions{})
		must(t, err)
		var parts []storage.Part
		for n, text := range []string{"1234", "56"} {
			p, err := s.PutPart(t.Context(), u, n+1, strings.NewReader(text), int64(len(text)), storage.Sums{})
			must(t, err)
			parts = append(parts, p)
		}
		file := filepath.Join(folder, tempName(u))
		must(t, os.Truncate(file, left))
		_, err = s.Commit(t.Context(), u, parts, storage.PutOptions{})
		wantFault(t, "Commit with "+name, err, work.NotFound, "cut off")
		_, err = s.PutPart(t.Context(), u, 2, strings.NewReader("56"), 2, storage.Sums{})
		wantFault(t, "PutPart with "+name, err, work.NotFound, "cut off")
		if st, err := os.Stat(file); err != nil || st.Size() != left {
			t.Errorf("%s: the file is now %v, %v", name, st, err)
		}
		must(t, s.Abort(t.Context(), u))
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s: after Abort the file is there: %v", name, err)
		}
	}
}

// TestDamagedUpload takes uploads as they could come from a damaged ledger.
func TestDamagedUpload(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	for _, u := range []storage.Upload{
		{Key: "a", ID: "../x", Size: 1, Part: 1}, {Key: "a", ID: "x/y", Size: 1, Part: 1}, {Key: "a", ID: "", Size: 1, Part: 1},
		{Key: "../a", ID: "x", Size: 1, Part: 1}, {Key: "a", ID: "x", Size: 1}, {Key: "a", ID: "x", Part: 1},
	} {
		_, err := s.PutPart(t.Context(), u, 1, strings.NewReader("x"), 1, storage.Sums{})
		if f := storage.FaultOf(err); f != work.Invalid && f != work.Unsupported {
			t.Errorf("PutPart(%+v) = %v, want it refused", u, err)
		}
		_, err = s.Commit(t.Context(), u, nil, storage.PutOptions{})
		if f := storage.FaultOf(err); f != work.Invalid && f != work.Unsupported {
			t.Errorf("Commit(%+v) = %v, want it refused", u, err)
		}
	}
}

// TestOpenedBeforeCommit has a writer open the upload, and get its lock only
// when the upload has become an object.
func TestOpenedBeforeCommit(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	u, err := s.Begin(t.Context(), "big", 4, 4, storage.PutOptions{})
	must(t, err)
	p, err := s.PutPart(t.Context(), u, 1, strings.NewReader("1234"), 4, storage.Sums{})
	must(t, err)
	dir, err := s.readableDir(nil, false)
	must(t, err)
	defer dir.Close()
	f, err := openat(dir, tempName(u), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = s.Commit(t.Context(), u, []storage.Part{p}, storage.PutOptions{})
	must(t, err)
	err = s.fail("put part", "big", claim(f, dir, tempName(u), 0, 4))
	wantFault(t, "claim", err, work.NotFound, "finished or aborted")
}

func TestSweep(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	for _, name := range []string{".tranship-OLD.tmp", ".tranship-kept", "object"} {
		must(t, os.WriteFile(filepath.Join(folder, name), nil, 0o644))
	}
	must(t, os.Mkdir(filepath.Join(folder, ".tranship-PROBE.tmp"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, ".tranship-PROBE.tmp/Case"), nil, 0o644))
	long := time.Now().Add(-2 * abandoned)
	must(t, os.Chtimes(filepath.Join(folder, ".tranship-OLD.tmp"), long, long)) // as when it is about to be finished
	look := func(when string, want ...string) {
		t.Helper()
		entries, err := os.ReadDir(folder)
		must(t, err)
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the folder holds %q, want %q", when, got, want)
		}
	}
	u, err := s.Begin(t.Context(), "big", 6, 4, storage.PutOptions{})
	must(t, err)
	must(t, s.Abort(t.Context(), u))
	look("after Begin", ".tranship-OLD.tmp", ".tranship-PROBE.tmp", ".tranship-kept", "object")
	begin := func() storage.Upload {
		u, err := s.Begin(t.Context(), "big", 6, 4, storage.PutOptions{})
		must(t, err)
		return u
	}
	rests, cut := begin(), begin()
	must(t, os.Truncate(filepath.Join(folder, tempName(cut)), 6)) // as by a commit that was killed
	again := func(after time.Duration) {
		dir, err := s.readableDir(nil, false)
		must(t, err)
		defer dir.Close()
		sweep(dir, time.Now().Add(after))
	}
	again(abandoned + time.Hour)
	look("after a day", tempName(rests), ".tranship-kept", "object")
	again(forgotten - time.Hour)
	look("before the month is over", tempName(rests), ".tranship-kept", "object")
	again(forgotten + time.Hour)
	look("after a month", ".tranship-kept", "object")
}
