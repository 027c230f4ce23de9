package work

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An Object is one object of a copy item, as the source listed it.
//
// Its JSON has the key under "key" when it is text, and base64-coded under
// "key64" when it holds a NUL or is not UTF-8.
type Object struct {
	Key     string    // relative to the store's prefix; any bytes
	Size    int64     // bytes
	ETag    string    // the version that was listed; reads are pinned to it. Empty: look first
	ModTime time.Time // as listed; zero if unknown
	Check   bool      // the target may hold something under this key: look at it first
}

// WireSize bounds the bytes of the object in a message from above, without
// encoding it.
func (o Object) WireSize() int {
	const names = 112 // field names, two numbers, a bool and a comma
	key := (len(o.Key) + 2) / 3 * 4
	if IsText(o.Key) {
		key = wireSize(o.Key)
	}
	return names + key + wireSize(o.ETag)
}

// wireSize bounds the bytes of a string in JSON from above.
func wireSize(s string) int {
	const longest = 6 // \u001f
	if !utf8.ValidString(s) {
		return longest * len(s)
	}
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			n += longest - 1
		case c == 0xE2: // may begin U+2028, which is escaped
			n += longest - 3
		}
	}
	return n
}

// A Range is the keys k with After < k <= Upto, compared as bytes. An empty
// Upto means to the end.
//
// Its JSON codes keys as Object does: "after" or "after64", "upto" or "upto64".
type Range struct {
	After string
	Upto  string
}

// Contains reports whether key lies in the range.
func (r Range) Contains(key string) bool {
	return key > r.After && (r.Upto == "" || key <= r.Upto)
}

// IsText reports whether a key can stand in JSON, and in Postgres text, as it is.
func IsText(key string) bool {
	return utf8.ValidString(key) && strings.IndexByte(key, 0) < 0
}

// text splits a key into the two fields of which exactly one is used.
func text(key string) (plain string, coded []byte) {
	if IsText(key) {
		return key, nil
	}
	return "", []byte(key)
}

func joined(plain string, coded []byte) string {
	if coded != nil {
		return string(coded)
	}
	return plain
}

type objectJSON struct {
	Key     string `json:"key,omitempty"`
	Key64   []byte `json:"key64,omitempty"`
	Size    int64  `json:"size"`
	ETag    string `json:"etag,omitempty"`
	ModTime int64  `json:"mtime,omitempty"` // nanoseconds since 1970
	Check   bool   `json:"check,omitempty"`
}

func (o Object) wire() objectJSON {
	w := objectJSON{Size: o.Size, ETag: o.ETag, Check: o.Check}
	w.Key, w.Key64 = text(o.Key)
	if !o.ModTime.IsZero() {
		w.ModTime = o.ModTime.UnixNano()
	}
	return w
}

func (w objectJSON) object() Object {
	o := Object{Key: joined(w.Key, w.Key64), Size: w.Size, ETag: w.ETag, Check: w.Check}
	if w.ModTime != 0 {
		o.ModTime = time.Unix(0, w.ModTime).UTC()
	}
	return o
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return json.Marshal(o.wire()) }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object) UnmarshalJSON(b []byte) error {
	var w objectJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*o = w.object()
	return nil
}

type rangeJSON struct {
	After   string `json:"after,omitempty"`
	After64 []byte `json:"after64,omitempty"`
	Upto    string `json:"upto,omitempty"`
	Upto64  []byte `json:"upto64,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Range) MarshalJSON() ([]byte, error) {
	var w rangeJSON
	w.After, w.After64 = text(r.After)
	w.Upto, w.Upto64 = text(r.Upto)
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Range) UnmarshalJSON(b []byte) error {
	var w rangeJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Range{After: joined(w.After, w.After64), Upto: joined(w.Upto, w.Upto64)}
	return nil
}

// Quote returns a key as people may see it: unchanged if it is plain
// printable text, else in Go's quoted form, so that no key can forge a line of
// a log or move a terminal's cursor.
func Quote(key string) string {
	if key == "" {
		return `""`
	}
	for _, r := range key {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return strconv.QuoteToASCII(key)
		}
	}
	return key
}
