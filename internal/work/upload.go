package work

// Bounds of big objects, which travel in parts that any agent may move.
const (
	// SplitSize is the size from which an object is big, unless a job says
	// otherwise.
	SplitSize = 256 << 20
	// MaxParts is how many parts an object is cut into at most: what the
	// message of a finish can hold. It is below what the clouds allow.
	MaxParts = 8192
)

// An Upload is a big object on its way, as the target knows it: opened by a
// begin, filled by parts in any order, closed by a finish.
type Upload struct {
	ID   string `json:"id"`   // the target's own name for it
	Part int64  `json:"part"` // bytes of every part but the last

	// Dropped is what the target could not hold of the object's metadata when
	// the upload was opened, as in ObjectOutcome.
	Dropped string `json:"dropped,omitempty"`

	// Stood is what was seen under the object's key at the target before
	// anything of it was read: the ETag or StoodNothing. The finish replaces
	// nothing else. Empty: it is not known.
	Stood string `json:"stood,omitempty"`

	// Repeated says that its begin was handed out before: another upload that
	// nobody heard of may have been opened, which the finish removes.
	Repeated bool `json:"repeated,omitempty"`
}

// StoodNothing says that there was nothing.
const StoodNothing = "*"

// Parts returns how many parts an object of size bytes has.
func (u Upload) Parts(size int64) int {
	if size < 1 {
		return 0
	}
	return int((size-1)/u.Part) + 1 // no sum, which could overflow
}

// Extent returns where part n, from 1, of an object of size bytes lies.
func (u Upload) Extent(n int, size int64) (off, length int64) {
	off = int64(n-1) * u.Part
	return off, min(u.Part, size-off)
}

// A StoredPart is a part that stands at the target. Its JSON is short because a
// finish carries thousands of them.
type StoredPart struct {
	N   int    `json:"n"`
	Tag string `json:"t"` // the target's name for it

	// CRC32C and CRC64NVME are those of the bytes that passed; the second only
	// if the source vouches for the same of the whole.
	CRC32C    []byte `json:"c,omitempty"`
	CRC64NVME []byte `json:"x,omitempty"`

	// Named says that the target named the same CRC32C for the part.
	Named bool `json:"v,omitempty"`
}

// KindFor returns the kind of item that an object of size bytes travels in.
func (o Options) KindFor(size int64) Kind {
	split := o.Split
	if split == 0 {
		split = SplitSize
	}
	if size >= split {
		return Begin
	}
	return Copy
}
