package cli

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tranship/tranship/internal/work"
)

const (
	maxExamples = 3
	maxFindings = 50 // of one field; what is found beyond is counted together
)

// Fields of findings for which there is no policy: such objects fail.
const (
	fieldSize work.Field = "size" // larger than the target takes
	fieldRead work.Field = "read" // the source does not show the object
)

// A finding is something about single objects that does not fit.
type finding struct {
	Field    work.Field   `json:"field"`
	Name     string       `json:"name,omitempty"` // within the field, such as one of the metadata's
	Policy   work.Policy  `json:"policy"`
	Objects  int64        `json:"objects"`
	Bytes    int64        `json:"bytes"`
	Sampled  bool         `json:"sampled"` // counted among the inspected objects only
	Why      string       `json:"why"`
	Examples []exampleKey `json:"examples"`
}

// An exampleKey is a key; its JSON is that of an object's key in the API.
type exampleKey string

// MarshalJSON implements json.Marshaler.
func (k exampleKey) MarshalJSON() ([]byte, error) {
	if work.IsText(string(k)) {
		return json.Marshal(map[string]string{"key": string(k)})
	}
	return json.Marshal(map[string][]byte{"key64": []byte(k)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *exampleKey) UnmarshalJSON(b []byte) error {
	var w struct {
		Key   string
		Key64 []byte
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*k = exampleKey(w.Key + string(w.Key64))
	return nil
}

// about is the field and the name within it.
func (f finding) about() string {
	if f.Name == "" {
		return string(f.Field)
	}
	return string(f.Field) + ":" + f.Name
}

// examples returns the examples as people read them.
func (f finding) examples() string {
	quoted := make([]string, len(f.Examples))
	for i, k := range f.Examples {
		quoted[i] = work.Quote(string(k))
	}
	return strings.Join(quoted, ", ")
}

// findings gather what is alike. Their memory is bounded.
type findings struct {
	carry work.Carry
	list  []*finding
	alike map[alike]*finding
	kinds map[work.Field]int
}

// alike is what makes two findings one.
type alike struct {
	field     work.Field
	name, why string
	sampled   bool
}

func newFindings(carry work.Carry) *findings {
	return &findings{carry: carry, alike: map[alike]*finding{}, kinds: map[work.Field]int{}}
}

// add counts an object under what was found about it.
func (s *findings) add(what alike, why, key string, size int64) {
	f := s.alike[what]
	if f == nil && s.kinds[what.field] >= maxFindings {
		what.name, what.why, why = "", "", "further reasons"
		f = s.alike[what]
	}
	if f == nil {
		f = &finding{Field: what.field, Name: what.name, Policy: s.policy(what.field), Sampled: what.sampled, Why: why}
		s.alike[what], s.list = f, append(s.list, f)
		s.kinds[what.field]++
	}
	f.Objects++
	f.Bytes += size
	if len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, exampleKey(key))
	}
}

// sorted returns the findings, those first that let objects fail, then those
// about most objects.
func (s *findings) sorted() []*finding {
	sorted := append([]*finding{}, s.list...)
	worst := func(f *finding) int {
		if f.Policy == work.PolicyFail {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(sorted, func(a, b *finding) int {
		return cmp.Or(worst(a)-worst(b), cmp.Compare(b.Objects, a.Objects), strings.Compare(a.about(), b.about()), strings.Compare(a.Why, b.Why))
	})
	return sorted
}

func (s *findings) policy(field work.Field) work.Policy {
	if field == fieldSize || field == fieldRead {
		return work.PolicyFail
	}
	return s.carry.For(field)
}
