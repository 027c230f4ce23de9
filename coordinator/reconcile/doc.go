// Package reconcile publishes again what the ledger believes to be on the queue
// and what has been lost from it.
//
// It promises that an item that is queued in the ledger and nowhere else is
// published before long. It needs nothing from the queue but the answer to
// publishing: an item that still is there, or in an agent's hands, is refused,
// which is also how its loss is found out.
//
//	queued ──Overdue──▶ published under the next epoch ──stored──▶ Requeued
//	   ▲                           └──────refused: it was not lost────┐
//	   └──────────────────────────────────────────────────────────────┘
//
// One race needs care: the result of an item may be on the queue already and
// its message therefore gone. So all results that were there at the beginning
// must be recorded before the ledger is asked. A result that comes later than
// that costs a repeat, which finds the objects at the target.
//
// A Reconciler belongs to one goroutine; any number of them, also in other
// processes, may share a ledger and a queue.
package reconcile
