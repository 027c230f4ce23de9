package work

import "errors"

// ErrSetBack means that the ledger knows less than this process has seen in
// it. What it gives out now was given out before, so nothing may be written
// until it is put right, which a coordinator does when it starts.
var ErrSetBack = errors.New("the ledger was set back to an earlier state; start the coordinator again, which puts that right")

// Issued is how far a ledger has come: the last ids that it has given out, and
// how often its clock has ticked. All of it only grows, so a ledger that has
// not come as far as it once had was set back: a dump was restored, or a
// standby took over that lacked the last moments.
type Issued struct {
	Job  JobID  `json:"job"`
	Item ItemID `json:"item"`
	// Tick grows every few seconds, also while no ids are given out. Zero in
	// what programs write that do not know it.
	Tick int64 `json:"tick,omitempty"`
}

// Beyond reports whether i has come further than o in anything.
func (i Issued) Beyond(o Issued) bool { return i.Job > o.Job || i.Item > o.Item || i.Tick > o.Tick }

// And returns the further of i and o, in each.
func (i Issued) And(o Issued) Issued {
	return Issued{Job: max(i.Job, o.Job), Item: max(i.Item, o.Item), Tick: max(i.Tick, o.Tick)}
}

// A Mark is what the queue remembers of the ledger that filled it.
type Mark struct {
	// Issued covers every id that was ever published. Its Tick was committed
	// before it was written here.
	Issued Issued `json:"issued"`
	// SetBack is what a ledger had given out that was found to be set back and
	// is not put right yet; nil: all is well.
	SetBack *Issued `json:"set_back,omitempty"`
}
