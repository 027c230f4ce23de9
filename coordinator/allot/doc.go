// Package allot leases the limits of the fleet to its agents.
//
// A limit says how fast all agents together may go. Every agent keeps to a share
// of it by itself, so that no byte waits for a message; the shares together are
// never more than the limit, and each counts for a few seconds only:
//
//	ledger ──Allot──▶ grants ──request──▶ agent ──answer──▶ Answered ──▶ ledger
//	   ▲  what agents may believe                 what they do believe    │
//	   └──────────────────────────────────────────────────────────────────┘
//
// What makes the sum hold, whatever is lost, late or repeated:
//
//   - The ledger notes a grant before the agent is told of it, and keeps the most
//     of all that the agent may believe until it has answered, or its time is over.
//   - More is granted only of what nobody may believe to have. So what is taken
//     from one agent reaches another a round later.
//   - The time of an allotment begins with an answer that the agent gave before,
//     which it knows by a stamp. So it does not matter how long a message is under
//     way, and only one clock, the ledger's, says when a share is free again.
//   - An agent that hears nothing stops what its shares bound when their time is
//     over: the limits fall closed.
//
// The division goes by what agents say they have used: who needs more gets more,
// up to an even part if all do, and who uses nothing keeps little. A store's limit
// is known to all agents, of a share of nothing at least, so that one which is
// asked to use it for the first time waits for its share.
//
// Agents of the version before do not answer and are not bounded.
//
// An Allotter is safe for concurrent use but for Round, which its owner's loop
// calls. Any number of coordinators may have one: one of them at a time divides.
package allot
