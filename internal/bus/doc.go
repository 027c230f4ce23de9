// Package bus is the queue between coordinators and agents. It alone knows
// NATS.
//
// # What it promises
//
// An item that Publish stored is handed to one agent of its site after
// another until it is acked, purged or lost. A result that Report returned
// from is handed to coordinators until it is acked, or lost. Lost means: by an
// operator, by a power cut within the last second, by a broken disk. The
// queue is a window over the ledger, and everything in it may be lost,
// repeated, late or out of order; the ledger alone makes that harmless.
//
// The rule that makes any doubt about the queue harmless too: every item has
// a subject of its own and a stream keeps one message per subject. Publishing
// an item that still is on the queue, or in an agent's hands, is refused by
// the server and reported as success. So whoever is in doubt publishes again.
//
// # Names
//
// Operators meet these with the nats program:
//
//	TRANSHIP_WORK_<site>   work queue     tranship.work.<site>.<class>.<job>.<item>
//	    hi norm lo         consumers      agents take here, urgent first
//	TRANSHIP_RESULTS       work queue     tranship.result.<site>.<agent>.<job>.<item>
//	    ledger             consumer       coordinators take here
//	TRANSHIP_DEAD          30 days        tranship.dead.>: unreadable messages and why
//	TRANSHIP_EVENTS        7 days         tranship.event.<what>.<job>
//	TRANSHIP_AGENTS        bucket, 45 s   <site>.<agent>: agents that are alive
//	TRANSHIP_JOBS          bucket         <job>: state of open jobs
//	TRANSHIP_LEDGER        bucket         mark: the last ids of the ledger that is published here
//
// and these travel without a stream:
//
//	tranship.beat.<site>.<agent>             an agent is alive
//	tranship.ctl.<site>.<agent>.drain        an agent is asked to finish and go
//	tranship.ctl.<site>.<agent>.status       what it does now
//	tranship.ctl.<site>.<agent>.examine      whether it can use a store
//
// # Ways
//
//	coordinator                                          agent
//	Publish ──▶ TRANSHIP_WORK_<site> ──▶ Take ──▶ Delivery: InProgress, then
//	                    ▲                             Report and Ack, or Nak
//	                    └── not acked in time, Nak ────────┘
//	Results ◀── TRANSHIP_RESULTS ◀────────────────────── Report
//	SetJob  ──▶ TRANSHIP_JOBS ─────────────────────────▶ WatchJobs
//	Mark   ◀──▶ TRANSHIP_LEDGER
//	Beats   ◀─────────────────────────────────────────── Beat
//	Drain, ExamineStore ───────────────────────────────▶ Serve
//
// The AckWait of the coordinators is that of the consumers they set up. Each item
// tells the agents of it, in the header Tranship-Ack-Wait.
//
// A class has one consumer per site and a job has none: every ack asks every
// consumer of the stream. Fairness between jobs is the order of publishing;
// fairness between classes is Take's.
//
// # What cannot be read
//
// A message of a newer version goes back with a delay until a newer program
// takes it. Any other message that cannot be read, or is not that of its
// subject, is copied to TRANSHIP_DEAD with the reason and leaves its queue.
// Who reported is taken from the subject, which the server's permissions
// vouch for, never from the message.
//
// # When something is gone
//
// Coordinators, which called Setup, make anew what they find missing: a
// stream on Publish and Results, a consumer on AddSite, a bucket on writing to
// it. Agents only wait and try again, and need no right to make anything. The
// least an agent needs, with N its name, which is also its Options.Name:
//
//	publish    $JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_<site>.*
//	           $JS.ACK.TRANSHIP_WORK_<site>.>   $JS.ACK.*.*.TRANSHIP_WORK_<site>.>
//	           tranship.result.<site>.N.>   tranship.beat.<site>.N   tranship.dead.work.<site>.>
//	           $JS.API.STREAM.INFO.KV_TRANSHIP_JOBS   $JS.FC.>
//	           $JS.API.CONSUMER.CREATE.KV_TRANSHIP_JOBS.>   $JS.API.CONSUMER.DELETE.KV_TRANSHIP_JOBS.>
//	subscribe  _INBOX_N.>   tranship.ctl.<site>.N.>   $SRV.>
//	responses  allowed
//
// A lost connection is repaired for ever. Calls that can wait do so and say
// nothing; the others return an error and may be repeated.
//
// # Concurrency
//
// A Bus and a Delivery are safe for use by any number of goroutines, a Server
// too. WatchJobs, Beats and Serve block until their context ends; when they
// return, no call into the caller's functions is running. All methods leave no
// goroutine behind once Close and Shutdown have returned.
package bus
