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
//	    hi norm lo         consumers      agents take here, urgent first; those of
//	                                      TRANSHIP_WORK_any, if it is there, at every site
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
// Agents and coordinators listen for what they asked of a consumer until it has
// answered, also when the call that asked is over. What comes late is the next
// call's. If there is none within a second it goes back to the queue; a suspect
// leaves the queue instead, for the ledger to hand out anew.
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
// it. Agents only wait and try again, and need no right to make anything.
//
// A lost connection is repaired for ever. Calls that can wait do so and say
// nothing; the others return an error and may be repeated.
//
// # Who may do what
//
// A server that is not open lets in who has a JWT, signed with keys of the
// fleet, and the key that the JWT is for. Agents make their keys themselves;
// an Authority signs for them. It signs with a key that the servers bind to a
// template of rights, so that no JWT of an agent can ask for more. The least an
// agent needs, with N its name, which is also its Options.Name, and S its site
// and also any:
//
//	publish    $JS.API.CONSUMER.MSG.NEXT.TRANSHIP_WORK_S.*
//	           $JS.ACK.TRANSHIP_WORK_S.>   $JS.ACK.*.*.TRANSHIP_WORK_S.>
//	           tranship.result.<site>.N.>   tranship.beat.<site>.N   tranship.dead.work.S.>
//	           $JS.API.STREAM.INFO.KV_TRANSHIP_JOBS
//	           $JS.API.CONSUMER.CREATE.KV_TRANSHIP_JOBS.>   $JS.API.CONSUMER.DELETE.KV_TRANSHIP_JOBS.>
//	           $JS.FC.KV_TRANSHIP_JOBS.>   $JS.FC.*.*.KV_TRANSHIP_JOBS.>
//	subscribe  _INBOX_N.>   tranship.ctl.<site>.N.>
//	           $SRV.V   $SRV.V.agent   $SRV.V.agent.*   with V each of PING, INFO, STATS
//	responses  allowed
//
// The leaf node of a site may publish what all agents of that site may, and what
// they answer (NewLeafCredentials); it hears everything. Who connects to it is
// its own affair, and revoking an agent does not shut it out there.
//
// An embedded server keeps its keys in the folder keys beside its streams, and
// writes admin.creds and viewer.creds for people at each start. Whom it shut
// out it forgets with its process: the ledger knows, see Authority.Restore.
// One that was open before kept its streams in another account. They stay on
// the disk as they are, serve nobody, and may be removed by hand: the folder
// jetstream/$G. The queue begins empty beside them and the ledger fills it.
//
// What the rights cannot keep an agent from: a server publishes an answer to
// whatever subject the request names, and a consumer's messages to whatever
// subject it is made for, with rights of its own. So an agent that has turned
// against us can aim answers, and items of its own site, at any subject: also
// at the server's API, by which it can delete or purge streams. It cannot say
// what stands in them. Hence nothing of ours acts on a message that is not of
// its subject or has nobody to answer to, and what is deleted so is made good
// like any other loss of the queue. The remedy is to revoke that agent.
//
// # Concurrency
//
// A Bus and a Delivery are safe for use by any number of goroutines, a Server
// too. WatchJobs, Beats and Serve block until their context ends; when they
// return, no call into the caller's functions is running. All methods leave no
// goroutine behind once Close and Shutdown have returned.
package bus
