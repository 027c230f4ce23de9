// Package coordinator plans jobs, hands out their items and remembers what
// became of them. It opens no bucket and holds no storage credential.
//
// It promises that a job that was accepted comes to an end that is true,
// whatever dies on the way. The rule that makes it hold: the ledger alone is
// the truth, what is on the queue may be lost, repeated or late, and every
// step below may be repeated without harm.
//
//	           ┌────────────────────────── Coordinator ─────────────────────────┐
//	web ──────▶│ jobs ─▶ ledger                                                 │
//	           │           │ ▲                                                  │
//	           │           │ └────── plan ◀── collect ◀───── results ───────────│◀─┐
//	           │           ├─Claim──▶ dispatch ─────────────▶ work, by site ────│──┼─▶ agents
//	           │           ├─Overdue▶ reconcile ──publish again─▶ │             │  │
//	           │           ├─Janitor▶ tidy                                      │
//	           │           ├─FinishJobs▶ finish                                 │  │
//	           │           ├─OpenControls▶ controls ─────────▶ state of jobs ───│──┘
//	           │           ◀─Beat── fleet ◀────────────────── signs of life ────│◀─
//	           │           ◀─Sample sample                                      │
//	           │           ◀─Stalled stall                                      │
//	           │           ├─Events▶ crier ──────────────────────▶ events       │
//	           │           ◀─Notices notices ────────────────────▶ events       │
//	           │           ├─ClaimDeliveries▶ notify ───────────────────────────│──▶ webhooks, mail
//	           └────────────────────────────────────────────────────────────────┘
//
// Each arrow is a loop of its own under one errgroup in Run. A loop that
// fails logs once, waits longer each time and goes on; only the end of the
// context ends it. The loops meet in the ledger and share nothing else but
// a few wake-up calls: recorded results wake dispatch and finish, new notices
// wake notify.
//
// The truth itself may be set back: a dump is restored, or a standby takes over
// that lacks the last moments. The queue remembers the last ids that were
// published, so a coordinator notices: before its loops begin, and later
// whenever a connection to the ledger is made (see recognise). Ids are never
// given out twice, whatever was lost.
//
// Any number of coordinators may run on one ledger and one queue, all active;
// none leads. Handler may be called, and its handler used, before and after
// Run; only what needs the loops then waits.
package coordinator
