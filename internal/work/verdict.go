package work

import "time"

// A Verdict is what the coordinator makes of one result: pure data, decided
// without looking at anything but the item's row and the result, and applied
// by the ledger in the transaction that records the result.
type Verdict struct {
	// State is what the item becomes: Done, Dead, Queued when it goes on (a scan
	// with pages to come), or Ready when it is to be handed out again as it is,
	// after Delay. Empty: the result changes nothing.
	State ItemState
	Delay time.Duration

	// Outcomes is kept with a copy item, one per object. Those that are not
	// final stand for objects handed on: Items must carry exactly these.
	Outcomes []ObjectOutcome

	// Upload is what a begin opened. Items then hold its finish, which waits
	// for the parts, and all its parts; Object is the version that they read.
	Upload *Upload
	Object *Object

	// Part is kept with a part item that is done.
	Part *StoredPart

	// Abandon gives up the upload that the item belongs to: no more parts of it
	// are moved, and it is to be aborted. Without it a finish that is not the
	// end of its object keeps the upload for the finish in Items.
	Abandon bool

	// Report is kept with the job.
	Report *Report

	// Cursor is the key up to which a scan item has been applied.
	Cursor string

	// Items are to be inserted.
	Items []NewItem

	// Fault and Error say why a Dead item was given up, or why a scan, a part or
	// an abort has to be tried again. They are kept with the item.
	Fault Fault
	Error string
}

// A NewItem is an item to insert. Its source, target, site and class are its
// job's. A part or a finish belongs to the upload of the verdict, or else to
// that of the item that the verdict is about; in the first case a finish waits
// for the parts.
type NewItem struct {
	Kind    Kind
	Attempt int
	Delay   time.Duration // not to be handed out before this has passed
	Range   *Range        // kind scan
	Objects []Object      // kinds copy, begin and finish; of the last two exactly one
	N       int           // kind part: which one, from 1
	Suspect bool          // as in Item

	// Outcomes, if set, makes the item Done at birth: a scan found that these
	// objects need no copy, or cannot have one.
	Outcomes []ObjectOutcome
}

// A Receipt says what became of an item that was published.
type Receipt struct {
	Stored bool  // the queue took the message: it was not there before
	Err    error // the item is not known to be on the queue; nil with Stored false: it still was
}
