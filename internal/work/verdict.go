package work

import "time"

// A Verdict is what the coordinator makes of one result: pure data, decided
// without looking at anything but the item's row and the result, and applied
// by the ledger in the transaction that records the result.
type Verdict struct {
	// State is what the item becomes: Done, Dead, or Queued when it goes on
	// (a scan with pages to come). Empty: the result changes nothing.
	State ItemState

	// Outcomes is kept with a copy item, one per object. Those that are not
	// final stand for objects handed on: Items must carry exactly these.
	Outcomes []ObjectOutcome

	// Cursor is the key up to which a scan item has been applied.
	Cursor string

	// Items are to be inserted.
	Items []NewItem

	// Fault and Error say why a Dead item was given up.
	Fault Fault
	Error string
}

// A NewItem is an item to insert. Its source, target, site and class are its
// job's.
type NewItem struct {
	Kind    Kind
	Attempt int
	Delay   time.Duration // not to be handed out before this has passed
	Range   *Range        // kind scan
	Objects []Object      // kind copy

	// Outcomes, if set, makes the item Done at birth: a scan found that these
	// objects need no copy.
	Outcomes []ObjectOutcome
}

// A Receipt says what became of an item that was published.
type Receipt struct {
	Stored bool  // the queue took the message: it was not there before
	Err    error // the item is not known to be on the queue; nil with Stored false: it still was
}
