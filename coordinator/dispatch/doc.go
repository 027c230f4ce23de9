// Package dispatch keeps each site's window of the queue filled with items
// that are ready.
//
// It promises that an item is published only after the ledger knows that it
// is: an item is claimed in a committed transaction, then published, and
// released again if the queue did not take it. A crash in between leaves an
// item that the ledger believes queued; reconciling finds and publishes it.
//
//	ready ──Claim──▶ queued ──Publish──▶ on the queue
//	  ▲                └─────refused─────┐
//	  └──────────────Release─────────────┘
//
// Which items are claimed first, and so how jobs share a site, is the
// Claimer's choice: the order of publishing is the only fairness a queue has.
//
// One Run, or one caller of Round, per Dispatcher; any number of dispatchers,
// also in other processes, may share a ledger and a queue. Wake may be called
// from anywhere.
package dispatch
