package work

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Limits of one copy item: whichever is reached first ends the batch. They
// keep a message readable and far below the queue's payload limit of 1 MiB.
const (
	MaxItemObjects = 256
	MaxItemBytes   = 256 << 20 // of the objects
	MaxItemJSON    = 256 << 10 // of the message
)

// ItemVersion is the version of Item's wire form.
//
//	1  first release
const ItemVersion = 1

// ErrVersion means that a message was written by a newer version than this
// program understands. The message must be left for a newer reader.
var ErrVersion = errors.New("message of a newer version")

// An Item is a unit of work as an agent receives it. It says everything the
// agent needs but secrets.
type Item struct {
	V       int          `json:"v"`
	Job     JobID        `json:"job"`
	ID      ItemID       `json:"item"`
	Kind    Kind         `json:"kind"`
	Class   Class        `json:"class"`
	Site    string       `json:"site"`
	Epoch   int          `json:"epoch"`   // 1 when first handed out
	Attempt int          `json:"attempt"` // of its objects; 1 at first
	Source  string       `json:"source"`  // store URL
	Target  string       `json:"target"`  // store URL
	Options Options      `json:"options"`
	Range   *Range       `json:"range,omitempty"`   // kind scan
	Objects []Object     `json:"objects,omitempty"` // kind copy; of begin, part, finish and abort the one it is about
	Upload  *Upload      `json:"upload,omitempty"`  // kinds part, finish and abort
	N       int          `json:"n,omitempty"`       // kind part: which one, from 1
	Parts   []StoredPart `json:"parts,omitempty"`   // kind finish: all, in order

	// Suspect says that agents may have died of it: it was handed out again and
	// again, and nobody said what became of it.
	Suspect bool `json:"suspect,omitempty"`

	// Limited says that a limit bounds it: an agent that has no share of it yet
	// must wait for one.
	Limited bool `json:"limited,omitempty"`
}

// Options are the choices of a job that its items carry.
type Options struct {
	Verify      Verify  `json:"verify"`
	Compare     Compare `json:"compare"`
	MaxAttempts int     `json:"max_attempts"` // tries per object, and per part, before it is failed; at least 1

	Split int64     `json:"split,omitempty"` // bytes from which an object is big; 0: SplitSize
	Class ClassRule `json:"class,omitempty"`
	Carry Carry     `json:"carry,omitempty"`
}

// DefaultOptions returns what a job uses when its user chose nothing.
func DefaultOptions() Options {
	return Options{Verify: VerifyChecksum, Compare: CompareContent, MaxAttempts: 5}
}

// Encode returns the wire form of the item in the current version.
func (it Item) Encode() ([]byte, error) {
	it.V = ItemVersion
	b, err := json.Marshal(it)
	if err != nil {
		return nil, fmt.Errorf("encode item %d: %w", it.ID, err)
	}
	return b, nil
}

// DecodeItem reads the wire form of an item. An error that is ErrVersion asks
// for a newer program; any other means that the message is damaged.
func DecodeItem(b []byte) (Item, error) {
	var it Item
	if err := json.Unmarshal(b, &it); err != nil {
		return Item{}, fmt.Errorf("decode item: %w", err)
	}
	if err := it.check(); err != nil {
		return Item{}, fmt.Errorf("decode item %d of job %d: %w", it.ID, it.Job, err)
	}
	return it, nil
}

func (it Item) check() error {
	switch {
	case it.V > ItemVersion:
		return fmt.Errorf("%w: %d, this program reads up to %d", ErrVersion, it.V, ItemVersion)
	case it.V < 1:
		return errors.New("no version")
	case it.Job <= 0 || it.ID <= 0:
		return errors.New("no job or item id")
	case it.Epoch < 1 || it.Attempt < 1:
		return errors.New("no epoch or attempt")
	}
	return it.checkKind()
}

func (it Item) checkKind() error {
	switch it.Kind {
	case Scan:
		if it.Range == nil {
			return errors.New("a scan without a range")
		}
		return nil
	case Copy:
		if len(it.Objects) == 0 {
			return errors.New("a copy without objects")
		}
		return nil
	case Begin, Part, Finish, Abort:
	default:
		return fmt.Errorf("%w: unknown kind %q", ErrVersion, it.Kind)
	}
	if len(it.Objects) != 1 {
		return fmt.Errorf("a %s of %d objects", it.Kind, len(it.Objects))
	}
	size := it.Objects[0].Size
	switch {
	case it.Kind == Begin:
		return nil
	case it.Upload == nil || it.Upload.ID == "" || it.Upload.Part < 1:
		return fmt.Errorf("a %s without an upload", it.Kind)
	case it.Kind == Part && (it.N < 1 || it.N > it.Upload.Parts(size)):
		return fmt.Errorf("part %d of %d", it.N, it.Upload.Parts(size))
	case it.Kind == Finish && len(it.Parts) != it.Upload.Parts(size):
		return fmt.Errorf("a finish with %d parts of %d", len(it.Parts), it.Upload.Parts(size))
	}
	return nil
}
