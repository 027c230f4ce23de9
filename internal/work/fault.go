package work

// A Fault is why an object or an item failed. It crosses the wire, is stored,
// counted and grouped by; whether to try again is decided by it alone.
type Fault string

// The faults.
const (
	Transient   Fault = "transient"   // network, timeout, server error: try again
	Throttled   Fault = "throttled"   // the store asked to slow down
	NotFound    Fault = "not_found"   // bucket or object is not there
	Denied      Fault = "denied"      // credentials missing, wrong or too weak
	SrcChanged  Fault = "changed"     // the source is not the version that was listed
	Corrupt     Fault = "corrupt"     // the bytes did not match their checksum or length
	Unsupported Fault = "unsupported" // the store cannot do what was asked, such as hold this key
	Invalid     Fault = "invalid"     // the request itself is wrong, such as a bad URL
	Internal    Fault = "internal"    // a defect of ours
)

// Faults lists every fault.
func Faults() []Fault {
	return []Fault{Transient, Throttled, NotFound, Denied, SrcChanged, Corrupt, Unsupported, Invalid, Internal}
}

// Retryable reports whether another attempt may succeed without anyone
// changing anything.
func (f Fault) Retryable() bool {
	switch f {
	case Transient, Throttled, SrcChanged, Corrupt, Internal:
		return true
	}
	return false
}
