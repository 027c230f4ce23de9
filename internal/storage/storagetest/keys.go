package storagetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// OddKeys returns keys that stores tend to get wrong. None of them needs
// another to be a file and a folder at once.
func OddKeys() []string {
	keys := []string{
		"a b", " lead", "trail ", "a+b", "100%", "a%2Fb", "%41", "a%00b", "a?b", "a#b", "a&b=c", "a;b", "a:b", "a*b",
		`a\b`, `a"b'c`, "<a>", "a|b", "{a}", "[a]", "^`~", "=1+1", "@a", "-a", "CON", "nul.txt", "C:x", "~",
		"caf\u00e9", "cafe\u0301", "\u00fcml\u00e4ut/x", "日本語/キー", "😀", "👩‍👩‍👧", "\u202eabc", "\ufeffbom", "\u2028line",
		"UPPER", "upper", "a.attrs", ".hidden", "...", "a./b", "..a", "a..",
		"__0x41__", "x__0x2f__y", "a__0x", "%5F", "a\tb", "a\nb", "a\rb", "a\x01b", "a\x1bb[31m", "a\x7fb", "a\x00b",
		"\xff\xfe", "a\xc3", "\xed\xa0\x80", "a\xffb/c",
		"dir/", "dir/child", "deep/er/est/leaf", "//", "a//b", "/lead", "end//", ".", "..", "./a", "../a", "a/./b", "a/../b", "a/.", "a/..",
		strings.Repeat("n", 255), strings.Repeat("n", 256),
		strings.Repeat("d/", 400) + "x",
	}
	long := strings.Repeat("long-key/", 1024/9)
	return append(keys, long+strings.Repeat("x", 1024-len(long)), strings.Repeat("€", 341)+"x")
}

// contentOf returns what is stored under an odd key.
func contentOf(key string) []byte {
	if strings.HasSuffix(key, "/") {
		return nil
	}
	return []byte("content of " + key)
}

func testKeys(t *testing.T, h Harness) {
	s := h.New(t)
	kept := map[string]storage.Info{}
	for _, key := range h.oddKeys() {
		content := contentOf(key)
		in, err := s.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), storage.PutOptions{})
		if err == nil {
			kept[key] = in
			continue
		}
		wantFault(t, "Put("+work.Quote(key)+")", err, work.Unsupported, work.Invalid)
		if slices.Contains(h.Keys, key) {
			t.Errorf("Put(%q) = %v, want it kept", key, err)
		}
		if _, err := s.Stat(t.Context(), key); err == nil {
			t.Errorf("Stat(%q) found an object under a key that was refused", key)
		}
	}
	_, err := s.Put(t.Context(), "", strings.NewReader("x"), 1, storage.PutOptions{})
	wantFault(t, "Put of an empty key", err, work.Unsupported, work.Invalid)

	listed := map[string]storage.Info{}
	for _, in := range listAll(t, s, work.Range{}) {
		listed[in.Key] = in
		if _, ok := kept[in.Key]; !ok {
			t.Errorf("List gave %q, which nobody put there", in.Key)
		}
	}
	for key, in := range kept {
		if l, ok := listed[key]; !ok || l.Size != in.Size || l.ETag != in.ETag {
			t.Errorf("List gave %+v for %q, want size %d and ETag %q", l, key, in.Size, in.ETag)
		}
		st, err := s.Stat(t.Context(), key)
		if err != nil || st.Key != key || st.ETag != in.ETag {
			t.Errorf("Stat(%q) = %q %q, %v; want ETag %q", key, st.Key, st.ETag, err, in.ETag)
		}
		wantContent(t, s, key, contentOf(key))
	}
	for key := range kept {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q) = %v", key, err)
		}
	}
	if left := listAll(t, s, work.Range{}); len(left) > 0 {
		t.Errorf("after all was deleted List gave %d objects, the first %q", len(left), left[0].Key)
	}
}
