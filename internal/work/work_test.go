package work

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "rewrite the golden messages of the current version")

// odd are keys that text formats like to damage.
var odd = []string{
	"plain", "a b", "a+b", "100%", "%2F", "//", "dir/", "/lead", "ünï/日本/😀",
	"nul\x00byte", "\xff\xfe invalid", "\xed\xa0\x80 surrogate", "\ufffd", "line\nfeed", `back\slash"quote`,
	strings.Repeat("k", 1024), strings.Repeat("\x80", 1024),
}

func copyItem() Item {
	it := Item{
		Job: 7, ID: 42, Kind: Copy, Class: Norm, Site: "aws-eu-west-1", Epoch: 2, Attempt: 1,
		Source: "s3://src/pre/?region=eu-west-1", Target: "file:///dst", Options: DefaultOptions(),
	}
	for i, k := range odd {
		it.Objects = append(it.Objects, Object{Key: k, Size: int64(i), ETag: "e", Check: i%2 == 0,
			ModTime: time.Unix(1700000000, int64(i)).UTC()})
	}
	return it
}

func scanItem() Item {
	return Item{
		Job: 7, ID: 1, Kind: Scan, Class: Hi, Site: DefaultSite, Epoch: 1, Attempt: 1,
		Source: "file:///src", Target: "s3://dst", Options: DefaultOptions(),
		Range: &Range{After: "a\x00", Upto: "z"},
	}
}

func copyResult() Result {
	return Result{
		Job: 7, Item: 42, Kind: Copy, Epoch: 2, Agent: "one", Moved: 16384, TookMS: 12,
		At: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC),
		Outcomes: []ObjectOutcome{
			{Outcome: Copied, Proof: "md5", Checksum: "crc32c:00000000"},
			{Outcome: Skipped, Reason: "etag"},
			{Outcome: Failed, Fault: Denied, Error: "put a: access denied"},
		},
	}
}

// suspectItem is what a program that knows no suspects takes for any copy.
func suspectItem() Item {
	it := copyItem()
	it.Objects, it.Suspect = it.Objects[:1], true
	return it
}

// silentResult is what a program that knows no suspects takes for a failed
// attempt of all that the item holds.
func silentResult() Result {
	r := copyResult()
	r.Outcomes, r.Moved = nil, 0
	r.Fault, r.Error, r.Silent = Internal, "handed out 2 times without a word", 2
	return r
}

func pageResult() Result {
	r := Result{Job: 7, Item: 1, Kind: Scan, Epoch: 1, Agent: "one", At: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)}
	p := &Page{Range: Range{After: "", Upto: "\xff"}, Last: true, Rest: []Range{{After: "\xff", Upto: ""}}}
	for _, k := range odd {
		p.Found = append(p.Found, Found{Object: Object{Key: k, Size: 1}, Skip: "etag"})
	}
	r.Page = p
	return r
}

// TestGolden keeps every released wire version readable: the bytes of a
// version are written once and never change afterwards.
func TestGolden(t *testing.T) {
	type message struct {
		encode func() ([]byte, error)
		decode func([]byte) (any, error)
		want   any
	}
	item := func(it Item) message {
		it.V = ItemVersion
		return message{encode: it.Encode, decode: func(b []byte) (any, error) { return DecodeItem(b) }, want: it}
	}
	result := func(r Result) message {
		r.V = ResultVersion
		return message{encode: r.Encode, decode: func(b []byte) (any, error) { return DecodeResult(b) }, want: r}
	}
	messages := map[string]message{
		"item_copy_v1.json": item(copyItem()), "item_scan_v1.json": item(scanItem()),
		"result_copy_v1.json": result(copyResult()), "result_scan_v1.json": result(pageResult()),
		"item_suspect_v1.json": item(suspectItem()), "result_silent_v1.json": result(silentResult()),
	}
	for _, it := range bigItems() {
		messages["item_"+string(it.Kind)+"_v1.json"] = item(it)
	}
	for _, r := range bigResults() {
		messages["result_"+string(r.Kind)+"_v1.json"] = result(r)
	}
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			now, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(path, now, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(now, old) {
				t.Errorf("the wire form changed; if that is meant, number a new version:\n%s\nwas\n%s", now, old)
			}
			got, err := m.decode(old)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, m.want) {
				t.Errorf("decoded %+v, want %+v", got, m.want)
			}
		})
	}
}

func TestDecodeItemRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		newer    bool // a newer program may understand it
	}{
		{"nothing", ``, false},
		{"no JSON", `{"v":1,`, false},
		{"no version", `{"job":1,"item":1,"epoch":1,"attempt":1,"kind":"scan","range":{}}`, false},
		{"newer version", `{"v":99,"job":1,"item":1,"epoch":1,"attempt":1,"kind":"scan","range":{}}`, true},
		{"unknown kind", `{"v":1,"job":1,"item":1,"epoch":1,"attempt":1,"kind":"teleport"}`, true},
		{"scan without range", `{"v":1,"job":1,"item":1,"epoch":1,"attempt":1,"kind":"scan"}`, false},
		{"copy of nothing", `{"v":1,"job":1,"item":1,"epoch":1,"attempt":1,"kind":"copy"}`, false},
		{"no epoch", `{"v":1,"job":1,"item":1,"attempt":1,"kind":"scan","range":{}}`, false},
		{"no ids", `{"v":1,"epoch":1,"attempt":1,"kind":"scan","range":{}}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeItem([]byte(tt.in))
			if err == nil || errors.Is(err, ErrVersion) != tt.newer {
				t.Errorf("DecodeItem(%s) = %v, want an error, ErrVersion: %v", tt.in, err, tt.newer)
			}
		})
	}
}

func FuzzItem(f *testing.F) {
	for _, it := range []Item{copyItem(), scanItem()} {
		b, err := it.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := DecodeItem(b)
		if err != nil {
			return
		}
		again, err := it.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeItem(again)
		if err != nil {
			t.Fatalf("our own form is refused: %v\n%s", err, again)
		}
		for i := range it.Objects {
			if back.Objects[i].Key != it.Objects[i].Key {
				t.Fatalf("key %q came back as %q", it.Objects[i].Key, back.Objects[i].Key)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	for _, k := range odd {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		o := Object{Key: key, Size: 1}
		b, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Object
		if err := back.UnmarshalJSON(b); err != nil {
			t.Fatal(err)
		}
		if back.Key != key {
			t.Errorf("key %q came back as %q by way of %s", key, back.Key, b)
		}
		if q := Quote(key); !utf8.ValidString(q) || strings.ContainsAny(q, "\n\r\x1b\x00\u202e") {
			t.Errorf("Quote(%q) = %q, want nothing that moves a cursor", key, q)
		}
	})
}

func TestSubjects(t *testing.T) {
	it := copyItem()
	if got, want := it.Subject(), "tranship.work.aws-eu-west-1.norm.7.42"; got != want {
		t.Errorf("Subject() = %q, want %q", got, want)
	}
	site, agent, job, item, err := SplitResultSubject(ResultSubject("s", "a", 7, 42))
	if err != nil || site != "s" || agent != "a" || job != 7 || item != 42 {
		t.Errorf("SplitResultSubject = %v %v %v %v %v", site, agent, job, item, err)
	}
	for _, bad := range []string{"", "tranship.result.s.a.7", "tranship.result.s.a.x.1", "tranship.work.s.norm.7.42", "tranship.result.s.a.7.-1"} {
		if _, _, _, _, err := SplitResultSubject(bad); err == nil {
			t.Errorf("SplitResultSubject(%q) was accepted", bad)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "aws-eu-west-1", "A_1", strings.Repeat("x", 40)} {
		if err := CheckName("site", good); err != nil {
			t.Errorf("CheckName(%q) = %v, want nil", good, err)
		}
	}
	for _, bad := range []string{"", "a.b", "a b", "*", ">", "-a", strings.Repeat("x", 41), "ü", "a/b"} {
		if err := CheckName("site", bad); err == nil {
			t.Errorf("CheckName(%q) = nil, want an error", bad)
		}
	}
}

func TestParse(t *testing.T) {
	if v, err := ParseVerify(""); v != VerifyChecksum || err != nil {
		t.Errorf(`ParseVerify("") = %v, %v`, v, err)
	}
	if _, err := ParseVerify("md6"); err == nil {
		t.Error("an unknown level was accepted")
	}
	if c, err := ParseCompare(""); c != CompareContent || err != nil {
		t.Errorf(`ParseCompare("") = %v, %v`, c, err)
	}
	if _, err := ParseCompare("vibes"); err == nil {
		t.Error("an unknown comparison was accepted")
	}
}

func TestClip(t *testing.T) {
	if got := Clip("short"); got != "short" {
		t.Errorf("Clip changed a short text to %q", got)
	}
	got := Clip(strings.Repeat("日", 1000))
	if len(got) > MaxErrorText || !utf8.ValidString(got) {
		t.Errorf("Clip left %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

func TestRangeContains(t *testing.T) {
	tests := []struct {
		r    Range
		key  string
		want bool
	}{
		{Range{}, "a", true},
		{Range{After: "a"}, "a", false},
		{Range{After: "a"}, "a\x00", true},
		{Range{Upto: "b"}, "b", true},
		{Range{Upto: "b"}, "b\x00", false},
	}
	for _, tt := range tests {
		if got := tt.r.Contains(tt.key); got != tt.want {
			t.Errorf("%+v.Contains(%q) = %v, want %v", tt.r, tt.key, got, tt.want)
		}
	}
}

func TestFaults(t *testing.T) {
	var again []Fault
	for _, f := range Faults() {
		if f.Retryable() {
			again = append(again, f)
		}
	}
	want := []Fault{Transient, Throttled, SrcChanged, Corrupt, Internal}
	if !reflect.DeepEqual(again, want) {
		t.Errorf("retryable faults = %v, want %v", again, want)
	}
}

// TestWireSize checks that the bound holds for every odd key, so that a batch
// which keeps to it is never too large to publish.
func TestWireSize(t *testing.T) {
	for _, key := range append(odd, "\u2028\u2029", "\x01\x1f\x7f<>&", strings.Repeat("\"", 300)) {
		f := Found{Object: Object{Key: key, Size: math.MaxInt64, ETag: key, Check: true, ModTime: time.Unix(0, math.MaxInt64)}, Skip: key}
		if b, err := json.Marshal(f); err != nil || len(b)+1 > f.WireSize() {
			t.Errorf("%q takes %d bytes, %v; WireSize says at most %d", key, len(b)+1, err, f.WireSize())
		}
		if b, err := json.Marshal(f.Object); err != nil || len(b)+1 > f.Object.WireSize() {
			t.Errorf("%q takes %d bytes, %v; WireSize says at most %d", key, len(b)+1, err, f.Object.WireSize())
		}
	}
}
