package work

import (
	"fmt"
	"slices"
	"strings"
)

// A Field is a part of an object that not every store can hold.
type Field string

// The fields.
const (
	FieldHeaders  Field = "headers"  // content type, encoding, language, disposition, cache control
	FieldMetadata Field = "metadata" // the user's own names and values
	FieldTags     Field = "tags"
	FieldClass    Field = "class"    // the storage class that Options.Class asks for
	FieldMTime    Field = "mtime"    // the time of the last modification
	FieldKeys     Field = "keys"     // the key itself, byte for byte
	FieldArchived Field = "archived" // the content, which must be restored before it can be read
)

// Fields lists all fields.
func Fields() []Field {
	return []Field{FieldHeaders, FieldMetadata, FieldTags, FieldClass, FieldMTime, FieldKeys, FieldArchived}
}

// A Policy says what becomes of an object with a field that the target cannot
// hold, or that cannot be read.
type Policy string

// The policies.
const (
	PolicyFail Policy = "fail" // the object fails; if no object can have the field, so does the job, at its start
	PolicySkip Policy = "skip" // the object is skipped, and counted under the field's name
	PolicyDrop Policy = "drop" // the object is copied without it, and counted
)

// Carry says which policy holds for which field, as a list such as
// "mtime=drop,tags=fail"; fields that it leaves out follow the default.
type Carry string

// For returns the policy of a field. An object must not be lost in silence,
// so keys and archived objects fail by default; other fields are dropped and
// reported.
func (c Carry) For(f Field) Policy {
	for pair := range strings.SplitSeq(string(c), ",") {
		if field, policy, _ := strings.Cut(pair, "="); field == string(f) {
			return Policy(policy)
		}
	}
	if f == FieldKeys || f == FieldArchived {
		return PolicyFail
	}
	return PolicyDrop
}

// ParseCarry reads a list such as "tags=fail, mtime=drop" and returns it in
// order, so that equal choices are equal texts.
func ParseCarry(s string) (Carry, error) {
	var pairs []string
	for pair := range strings.SplitSeq(s, ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		name, word, ok := strings.Cut(pair, "=")
		f, p := Field(name), Policy(word)
		switch {
		case !ok:
			return "", fmt.Errorf("%q is not of the form field=policy, such as tags=fail", pair)
		case !slices.Contains(Fields(), f):
			return "", fmt.Errorf("unknown field %q: use %s", name, join(Fields()))
		case p != PolicyFail && p != PolicySkip && p != PolicyDrop:
			return "", fmt.Errorf("unknown policy %q for %s: use fail, skip or drop", word, f)
		case p == PolicyDrop && (f == FieldKeys || f == FieldArchived):
			return "", fmt.Errorf("nothing can be dropped from %s: use fail or skip", f)
		}
		pairs = append(pairs, pair)
	}
	slices.Sort(pairs)
	for i := 1; i < len(pairs); i++ {
		if a, _, _ := strings.Cut(pairs[i-1], "="); strings.HasPrefix(pairs[i], a+"=") {
			return "", fmt.Errorf("two policies for %s", a)
		}
	}
	return Carry(strings.Join(pairs, ",")), nil
}

// A ClassRule says which storage class an object gets at the target. Empty:
// the target's default. "keep": the one it has at the source. Otherwise a list
// such as "STANDARD_IA=NEARLINE,*=STANDARD"; a class that no pair names gets
// the target's default.
type ClassRule string

// ParseClassRule reads a rule.
func ParseClassRule(s string) (ClassRule, error) {
	if s == "" || s == "keep" {
		return ClassRule(s), nil
	}
	for pair := range strings.SplitSeq(s, ",") {
		from, to, ok := strings.Cut(pair, "=")
		if !ok || from == "" || to == "" {
			return "", fmt.Errorf("storage class rule %q: write keep, or FROM=TO pairs such as STANDARD_IA=NEARLINE,*=STANDARD", s)
		}
	}
	return ClassRule(s), nil
}

// Map returns the class at the target of an object that has class at the
// source; empty means the target's default.
func (r ClassRule) Map(class string) string {
	switch r {
	case "":
		return ""
	case "keep":
		return class
	}
	other := ""
	for pair := range strings.SplitSeq(string(r), ",") {
		from, to, _ := strings.Cut(pair, "=")
		switch from {
		case class:
			return to
		case "*":
			other = to
		}
	}
	return other
}

// A Report says what an agent found out about a job's stores before it listed
// the source.
type Report struct {
	Source StoreReport `json:"source"`
	Target StoreReport `json:"target"`
	Losses []Loss      `json:"losses,omitempty"` // what no object of the pair can keep
	Agent  string      `json:"agent,omitempty"`  // who looked; set by the receiver
}

// A StoreReport is what is known of a store.
type StoreReport struct {
	Driver string `json:"driver"` // s3, gs, azblob, file, mem
	Facts  []Fact `json:"facts,omitempty"`
}

// A Fact is something about a store that decides how it is used, in words for
// people.
type Fact struct {
	Name string `json:"name"` // such as "checksums"
	Text string `json:"text"` // such as "CRC32C behind the body, checked by the server"
}

// A Loss is a field that a pair of stores cannot carry.
type Loss struct {
	Field  Field  `json:"field"`
	Policy Policy `json:"policy"`
	Why    string `json:"why"`
}

// About says what a count of objects is about.
type About string

// The things that objects are counted by, besides their outcome and fault.
const (
	AboutSkipped About = "skipped" // why they were skipped
	AboutDropped About = "dropped" // what they had to leave behind: a field, or field:name
	AboutProof   About = "proof"   // how it is known that they are the same
)

// Proofs. An algorithm alone, such as crc32c, means that both ends vouch for
// the same checksum.
const (
	// ProofOfTarget follows an algorithm: what the target says it stored equals
	// what was read; the source vouches for nothing.
	ProofOfTarget = "/target"
	// ProofOfSource follows an algorithm: what was read equals what the source
	// vouches for; of what was stored only the size is known. Weak.
	ProofOfSource = "/source"
	// ProofOfSize is the weakest: as many bytes.
	ProofOfSize = "size"
)

// Weak reports whether a proof leaves a doubt about the bytes at the target. An
// object with a weak proof is not called verified.
func Weak(proof string) bool {
	return proof == "" || proof == ProofOfSize || strings.HasSuffix(proof, ProofOfSource)
}

func join[T ~string](words []T) string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = string(w)
	}
	return strings.Join(s, ", ")
}
