package work

import "errors"

// ErrSetBack means that the ledger knows less than this process has seen in
// it. What it gives out now was given out before, so nothing may be written
// until it is put right, which a coordinator does when it starts.
var ErrSetBack = errors.New("the ledger was set back to an earlier state; start the coordinator again, which puts that right")

// Issued are the last ids that a ledger has given out. They only grow, so a
// ledger that has given out less than it once had was set back: a dump was
// restored, or a standby took over that lacked the last moments.
type Issued struct {
	Job  JobID  `json:"job"`
	Item ItemID `json:"item"`
}

// Beyond reports whether i has an id that o has not.
func (i Issued) Beyond(o Issued) bool { return i.Job > o.Job || i.Item > o.Item }

// A Mark is what the queue remembers of the ledger that filled it.
type Mark struct {
	// Issued covers every id that was ever published.
	Issued Issued `json:"issued"`
	// SetBack is what a ledger had given out that was found to be set back and
	// is not put right yet; nil: all is well.
	SetBack *Issued `json:"set_back,omitempty"`
}
