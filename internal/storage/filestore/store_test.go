package filestore

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/storagetest"
	"github.com/tranship/tranship/internal/work"
)

// open opens a folder as a store.
func open(t testing.TB, folder, query string) *Store {
	t.Helper()
	u := &url.URL{Scheme: "file", Path: folder, RawQuery: query}
	s, err := Opener([]string{"/"})(t.Context(), u, storage.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Store)
}

// pathKeys are the odd keys that a path can hold.
func pathKeys() []string {
	return slices.DeleteFunc(storagetest.OddKeys(), func(key string) bool {
		_, _, err := split(key)
		return err != nil
	})
}

const checks = storage.CRC32C | storage.CRC64NVME | storage.CRC32 | storage.MD5 | storage.SHA256

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New:     func(t *testing.T) storage.Store { return open(t, t.TempDir(), "") },
		Keys:    pathKeys(),
		Checks:  checks,
		Vouches: storage.CRC32C,
		Missing: func(t *testing.T) storage.Store { return open(t, filepath.Join(t.TempDir(), "not", "there"), "") },

		SetsModTime: true,
	})
}

// TestConformancePoor takes everything away that a file system may lack.
func TestConformancePoor(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, storagetest.Harness{
		New: func(t *testing.T) storage.Store {
			s := open(t, t.TempDir(), "")
			s.xattrs, s.inodes, s.nameless = false, false, false
			return s
		},
		Keys:   slices.DeleteFunc(pathKeys(), func(key string) bool { return strings.HasSuffix(key, "/") }),
		Checks: checks,

		SetsModTime: true,
	})
}

func put(t testing.TB, s storage.Store, key, content string, opts storage.PutOptions) storage.Info {
	t.Helper()
	in, err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content)), opts)
	if err != nil {
		t.Fatalf("Put(%q) = %v", key, err)
	}
	return in
}

func list(t *testing.T, s storage.Store) []string {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), work.Range{}, func(page []storage.Info) error {
		for _, in := range page {
			keys = append(keys, in.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func wantList(t *testing.T, s storage.Store, want ...string) {
	t.Helper()
	if got := list(t, s); !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
}

// wantFault fails the test unless err has the fault and names every word.
func wantFault(t *testing.T, what string, err error, fault work.Fault, words ...string) {
	t.Helper()
	if !storage.Is(err, fault) {
		t.Errorf("%s = %v, want a fault %q", what, err, fault)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s = %v, want %q in it", what, err, word)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenChecksURL(t *testing.T) {
	t.Parallel()
	for raw, word := range map[string]string{
		"file://data/folder":      "three slashes",
		"file:data":               "absolute",
		"file:///data?symlink=no": "symlinks",
		"file:///d?symlinks=no":   "fail or skip",
		"file:///d?special=1":     "fail or skip",
		"file:///d%00":            "absolute",
	} {
		_, err := storage.Drivers{"file": Opener([]string{"/"})}.Open(t.Context(), raw, storage.Credentials{})
		wantFault(t, raw, err, work.Invalid, word)
	}
}

func TestOpenKeepsToRoots(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, dir := range []string{"allowed/in", "allowed-not", "other"} {
		must(t, os.MkdirAll(filepath.Join(base, dir), 0o755))
	}
	must(t, os.Symlink("../other", filepath.Join(base, "allowed/out")))
	must(t, os.Symlink("in", filepath.Join(base, "allowed/alias")))
	must(t, os.Symlink(filepath.Join(base, "allowed"), filepath.Join(base, "root")))
	drivers := storage.Drivers{"file": Opener([]string{filepath.Join(base, "gone"), filepath.Join(base, "root")})}
	for _, good := range []string{"allowed", "allowed/in", "root/in/", "allowed/alias", "allowed/new/er", "root/./in"} {
		if _, err := drivers.Open(t.Context(), "file://"+base+"/"+good, storage.Credentials{}); err != nil {
			t.Errorf("Open(%s) = %v, want it allowed", good, err)
		}
	}
	for _, bad := range []string{"", "other", "allowed-not", "allowed/out", "allowed/out/new", "root/../other", "allowed/../other"} {
		_, err := drivers.Open(t.Context(), "file://"+base+"/"+bad, storage.Credentials{})
		wantFault(t, "Open("+bad+")", err, work.Denied, "roots")
	}
	_, err := storage.Drivers{"file": Opener(nil)}.Open(t.Context(), "file://"+base, storage.Credentials{})
	wantFault(t, "Open without roots", err, work.Denied)
}

// TestFolderSwappedForLink replaces the folder by a link after the store was
// opened, which must not lead it out of its root.
func TestFolderSwappedForLink(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(base, "secret"), 0o755))
	must(t, os.WriteFile(filepath.Join(base, "secret/key"), []byte("x"), 0o644))
	must(t, os.Mkdir(filepath.Join(base, "data"), 0o755))
	s := open(t, filepath.Join(base, "data"), "")
	must(t, os.Remove(filepath.Join(base, "data")))
	must(t, os.Symlink("secret", filepath.Join(base, "data")))
	_, err := s.Stat(t.Context(), "key")
	wantFault(t, "Stat", err, work.Unsupported, "symbolic link")
	err = s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil })
	wantFault(t, "List", err, work.Unsupported, "symbolic link")
}

func TestMissingFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "not/yet")
	s := open(t, folder, "")
	err := s.List(t.Context(), work.Range{}, func([]storage.Info) error { return nil })
	wantFault(t, "List", err, work.NotFound, "does not exist", "mounted")
	_, err = s.Stat(t.Context(), "a")
	wantFault(t, "Stat", err, work.NotFound)
	must(t, s.Delete(t.Context(), "a"))
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("looking created the folder: %v", err)
	}
	put(t, s, "a/b", "x", storage.PutOptions{})
	wantList(t, s, "a/b")
}

// TestCollisions stores keys that would need one name to be file and folder.
func TestCollisions(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	put(t, s, "k", "file", storage.PutOptions{})
	put(t, s, "d/x", "file", storage.PutOptions{})
	for _, key := range []string{"k/child", "k/", "k/a/b"} {
		_, err := s.Put(t.Context(), key, strings.NewReader(""), 0, storage.PutOptions{})
		wantFault(t, "Put("+key+") beside k", err, work.Unsupported, "a file stands at k", "both a file and a folder")
	}
	_, err := s.Put(t.Context(), "d", strings.NewReader(""), 0, storage.PutOptions{})
	wantFault(t, "Put(d) beside d/x", err, work.Unsupported, "a folder stands at d")
	wantList(t, s, "d/x", "k")
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, ".tranship-LEFTOVER.tmp"), []byte("half"), 0o644))
	s := open(t, folder, "")
	put(t, s, "a", "x", storage.PutOptions{})
	wantList(t, s, "a")
	for _, key := range []string{".tranship-LEFTOVER.tmp", "b/.tranship-.tmp", ".tranship-d.tmp/x"} {
		_, err := s.Put(t.Context(), key, strings.NewReader(""), 0, storage.PutOptions{})
		wantFault(t, "Put("+key+")", err, work.Unsupported, "reserved")
		_, err = s.Stat(t.Context(), key)
		wantFault(t, "Stat("+key+")", err, work.Unsupported, "reserved")
	}
	put(t, s, ".tranship-x", "x", storage.PutOptions{})
}

// TestFailedPutLeavesNothing looks into the folder itself.
func TestFailedPutLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, nameless := range []bool{true, false} {
		folder := t.TempDir()
		s := open(t, folder, "")
		s.nameless = s.nameless && nameless
		_, err := s.Put(t.Context(), "a", strings.NewReader("short"), 10, storage.PutOptions{})
		wantFault(t, "Put", err, work.Corrupt)
		put(t, s, "a", "x", storage.PutOptions{})
		put(t, s, "a", "y", storage.PutOptions{})
		entries, err := os.ReadDir(folder)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("with nameless files %v: the folder holds %v, want the object alone", nameless, entries)
		}
	}
}

// TestRecordOfAnotherContent changes a file behind the store's back: what was
// recorded of its old content must not be told of the new.
func TestRecordOfAnotherContent(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	if !s.xattrs {
		t.Skip("the file system of the temporary folder keeps no user attributes")
	}
	meta := storage.Meta{ContentType: "text/x-odd", User: map[string]string{"a": "b"}}
	old := put(t, s, "a.txt", "before", storage.PutOptions{Meta: meta})
	if old.Sums.CRC32C == nil || old.Meta.ContentType != "text/x-odd" {
		t.Fatalf("Put says %+v", old)
	}
	must(t, os.WriteFile(filepath.Join(folder, "a.txt"), []byte("behind"), 0o644))
	in, err := s.Stat(t.Context(), "a.txt")
	must(t, err)
	if in.Sums.Algos() != 0 || in.Meta.User != nil || !strings.HasPrefix(in.Meta.ContentType, "text/plain") {
		t.Errorf("Stat says %+v of content that others wrote", in)
	}
	if in.ETag == old.ETag {
		t.Errorf("the ETag is still %s", in.ETag)
	}
}

// TestRecordIsSmall keeps the usual record within an ext4 inode.
func TestRecordIsSmall(t *testing.T) {
	t.Parallel()
	r := record{Sums: storage.Sums{CRC32C: []byte{1, 2, 3, 4}}, Meta: storage.Meta{ContentType: "image/jpeg"}}
	q := r.encode("photo.jpg")
	q.Set(fieldBound, "ffffffff.69200000.3b9ac9ff")
	if text := q.Encode(); len(text) > 64 {
		t.Errorf("the record %q has %d bytes, want at most 64", text, len(text))
	}
}

func TestTooMuchMetadata(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	if !s.xattrs {
		t.Skip("the file system of the temporary folder keeps no user attributes")
	}
	meta := storage.Meta{User: map[string]string{"big": strings.Repeat("x", 100_000)}}
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, storage.PutOptions{Meta: meta})
	wantFault(t, "Put", err, work.Unsupported, "metadata")
	wantList(t, s)
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := open(t, folder, "")
	if !s.xattrs {
		t.Skip("the file system of the temporary folder keeps no user attributes")
	}
	_, err := s.Put(t.Context(), "d/", strings.NewReader("x"), 1, storage.PutOptions{})
	wantFault(t, "Put of a marker with content", err, work.Unsupported)
	must(t, os.MkdirAll(filepath.Join(folder, "empty/below"), 0o755))
	put(t, s, "d/", "", storage.PutOptions{Meta: storage.Meta{User: map[string]string{"a": "b"}}})
	put(t, s, "d-", "x", storage.PutOptions{})
	put(t, s, "d/x", "x", storage.PutOptions{})
	wantList(t, s, "d-", "d/", "d/x")
	in, err := s.Stat(t.Context(), "d/")
	if err != nil || in.Meta.User["a"] != "b" || in.Size != 0 {
		t.Errorf("Stat(d/) = %+v, %v", in, err)
	}
	_, err = s.Stat(t.Context(), "empty/")
	wantFault(t, "Stat of an unmarked folder", err, work.NotFound)

	all := open(t, folder, "empty_dirs=list")
	wantList(t, all, "d-", "d/", "d/x", "empty/below/")
	if in, err := all.Stat(t.Context(), "empty/below/"); err != nil || in.Size != 0 {
		t.Errorf("Stat of an empty folder = %+v, %v", in, err)
	}
	must(t, s.Delete(t.Context(), "d/"))
	wantList(t, s, "d-", "d/x")
	must(t, s.Delete(t.Context(), "d/x"))
	wantList(t, all, "d-", "d/", "empty/below/")
}

// TestLargeFolder lists with a window far smaller than the folder.
func TestLargeFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("%d", i*7919%1000)
		if i%5 == 0 {
			must(t, os.Mkdir(filepath.Join(folder, name), 0o755))
			name += "/x"
		}
		must(t, os.WriteFile(filepath.Join(folder, name), nil, 0o644))
		want = append(want, name)
	}
	slices.Sort(want)
	s := open(t, folder, "")
	for _, window := range []int{1, 7, 299, 300, 1000} {
		for _, r := range []work.Range{{}, {After: want[100]}, {After: want[100], Upto: want[250]}, {Upto: want[3]}} {
			var got []string
			l := &lister{ctx: t.Context(), store: s, Range: r, window: window, fn: func(page []storage.Info) error {
				for _, in := range page {
					got = append(got, in.Key)
				}
				return nil
			}}
			must(t, l.run())
			within := slices.DeleteFunc(slices.Clone(want), func(key string) bool { return !r.Contains(key) })
			if !slices.Equal(got, within) {
				t.Errorf("window %d, range %q: %d keys, want %d", window, r, len(got), len(within))
			}
		}
	}
}

// TestLongPath goes beyond the length that the system takes for one path.
func TestLongPath(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), "")
	key := strings.Repeat(strings.Repeat("d", 200)+"/", 30) + "x"
	put(t, s, key, "x", storage.PutOptions{})
	wantList(t, s, key)
	must(t, s.Delete(t.Context(), key))
}
