package work

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ResultVersion is the version of Result's wire form.
//
//	1  first release
const ResultVersion = 1

// MaxErrorText bounds the text of an error in a result, in bytes, so that a
// batch of failures still fits a message.
const MaxErrorText = 600

// A Result is what an agent says of an item. A copy item has one result, with
// one outcome per object. A scan item has one result per page; only the last
// closes it. A begin says which upload it opened, or the outcome of an object
// that needs none; a part, what was stored; a finish, the outcome; an abort,
// nothing more. An item that could not be worked on at all has a Fault instead;
// Silent or Returned, then, say that the fault is not its own.
type Result struct {
	V        int             `json:"v"`
	Job      JobID           `json:"job"`
	Item     ItemID          `json:"item"`
	Kind     Kind            `json:"kind"`
	Epoch    int             `json:"epoch"` // of the item as the agent received it
	Agent    string          `json:"agent"` // set by the receiver from the subject
	Site     string          `json:"-"`     // where the agent stands, as the subject says, which the queue vouches for; empty: not known
	Outcomes []ObjectOutcome `json:"outcomes,omitempty"`
	Page     *Page           `json:"page,omitempty"`
	Report   *Report         `json:"report,omitempty"` // of a scan that begins at the first key: on its first page
	Object   *Object         `json:"object,omitempty"` // kind begin, with an upload: the version that is read
	Upload   *Upload         `json:"upload,omitempty"` // kind begin: that was opened
	Part     *StoredPart     `json:"part,omitempty"`   // kind part
	Gone     bool            `json:"gone,omitempty"`   // with a Fault of a part or a finish: the upload is no longer there, or of no use any more
	Fault    Fault           `json:"fault,omitempty"`
	Error    string          `json:"error,omitempty"`
	Silent   int             `json:"silent,omitempty"`   // with a Fault: the agent did not touch the item, because so many deliveries before this one ended without a word
	Returned bool            `json:"returned,omitempty"` // with Throttled: the agent gives the item back as it is
	Moved    int64           `json:"moved,omitempty"`    // payload bytes that crossed the agent or were copied by the server
	At       time.Time       `json:"at"`                 // when the agent finished
	TookMS   int64           `json:"took_ms"`
}

// An ObjectOutcome is what became of the object at the same place in the item.
type ObjectOutcome struct {
	Outcome  Outcome `json:"outcome"`
	Reason   string  `json:"reason,omitempty"`   // of skipped: etag, checksum or size; of copied: present when it stood there already
	Proof    string  `json:"proof,omitempty"`    // how it is known to be the same: see Weak
	Checksum string  `json:"checksum,omitempty"` // algorithm:hex of the bytes that arrived
	Dropped  string  `json:"dropped,omitempty"`  // what the target could not hold, such as tags,metadata:a
	Fault    Fault   `json:"fault,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// A Page is what a scan found in the keys After < k <= Upto.
//
// Its JSON codes keys as Object does.
type Page struct {
	Range
	Found []Found // ascending by key
	Last  bool    // the item is finished: the range up to Upto is all it covered
	Rest  []Range // of a last page: what the item leaves for new scan items
}

// A Found is an object that a scan met. Skip, if set, says why it is not copied
// (etag, size, keys or archived); Fail, why it cannot be.
type Found struct {
	Object
	Skip string
	Fail string
}

// WireSize bounds the bytes of the found object in a message from above.
func (f Found) WireSize() int {
	const names = 32 // two fields and their commas
	return f.Object.WireSize() + names + wireSize(f.Skip) + wireSize(f.Fail)
}

type foundJSON struct {
	objectJSON
	Skip string `json:"skip,omitempty"`
	Fail string `json:"fail,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (f Found) MarshalJSON() ([]byte, error) {
	return json.Marshal(foundJSON{f.wire(), f.Skip, f.Fail})
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Found) UnmarshalJSON(b []byte) error {
	var w foundJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*f = Found{Object: w.object(), Skip: w.Skip, Fail: w.Fail}
	return nil
}

type pageJSON struct {
	Range Range   `json:"range"`
	Found []Found `json:"found,omitempty"`
	Last  bool    `json:"last,omitempty"`
	Rest  []Range `json:"rest,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (p Page) MarshalJSON() ([]byte, error) {
	return json.Marshal(pageJSON{p.Range, p.Found, p.Last, p.Rest})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Page) UnmarshalJSON(b []byte) error {
	var w pageJSON
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*p = Page{Range: w.Range, Found: w.Found, Last: w.Last, Rest: w.Rest}
	return nil
}

// Encode returns the wire form of the result in the current version.
func (r Result) Encode() ([]byte, error) {
	r.V = ResultVersion
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode result of item %d: %w", r.Item, err)
	}
	return b, nil
}

// DecodeResult reads the wire form of a result; errors are as for DecodeItem.
func DecodeResult(b []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return Result{}, fmt.Errorf("decode result: %w", err)
	}
	if err := r.check(); err != nil {
		return Result{}, fmt.Errorf("decode result of item %d of job %d: %w", r.Item, r.Job, err)
	}
	return r, nil
}

func (r Result) check() error {
	switch {
	case r.V > ResultVersion:
		return fmt.Errorf("%w: %d, this program reads up to %d", ErrVersion, r.V, ResultVersion)
	case r.V < 1:
		return errors.New("no version")
	case r.Job <= 0 || r.Item <= 0 || r.Epoch < 1:
		return errors.New("no job, item or epoch")
	case r.Fault != "":
		return nil
	case r.Kind == Scan && r.Page == nil:
		return errors.New("a scan without a page")
	case r.Kind == Copy && len(r.Outcomes) == 0:
		return errors.New("a copy without outcomes")
	case r.Kind == Begin && r.Upload != nil:
		return r.checkUpload()
	case (r.Kind == Begin || r.Kind == Finish) && len(r.Outcomes) != 1:
		return fmt.Errorf("a %s with %d outcomes", r.Kind, len(r.Outcomes))
	case r.Kind == Part && (r.Part == nil || r.Part.Tag == "" || r.Part.N < 1):
		return errors.New("a part that is none")
	}
	switch r.Kind {
	case Scan, Copy, Begin, Part, Finish, Abort:
		return nil
	}
	return fmt.Errorf("%w: unknown kind %q", ErrVersion, r.Kind)
}

func (r Result) checkUpload() error {
	switch {
	case r.Object == nil || r.Object.Size < 1 || r.Upload.ID == "" || r.Upload.Part < 1:
		return errors.New("a begin that opened nothing")
	case r.Upload.Parts(r.Object.Size) > MaxParts:
		return fmt.Errorf("a begin with %d parts, more than %d", r.Upload.Parts(r.Object.Size), MaxParts)
	}
	return nil
}

// Clip shortens an error's text to what a result may carry, at a rune's edge.
func Clip(text string) string {
	if len(text) <= MaxErrorText {
		return text
	}
	cut := MaxErrorText - len("…")
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		cut--
	}
	return text[:cut] + "…"
}
