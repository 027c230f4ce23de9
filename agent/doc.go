// Package agent moves bytes: it takes items off the queue of its site, lists
// and copies what they name, and reports what became of every object.
//
// # What it promises
//
// An item is acknowledged only after the queue has stored its result. What an
// agent holds when it dies, drains too slowly or loses its connection is
// therefore handed out again, and doing an item twice does no harm: an object
// of an item that was handed out before is compared with the target first, and
// one that stands there already is copied, not moved again.
//
// An object is called copied only if its length, and whatever checksums the
// source vouches for and the target says it stored, agree with each other and
// with the bytes that passed (see prove). Where they do not, what was written
// is removed again and the object is to be tried anew.
//
// Every object has an outcome of its own: an error, a panic or a stall of one
// ends that one alone.
//
// # How it works
//
//	queue ──take──▶ ready ──feed──▶ tasks ──▶ stream 1 … n ──▶ settle ──▶ result, ack
//	          │      (one item, or as         one object or
//	          ▼       idle streams need)      one scan each
//	    paused, canceled: back
//
// take fetches an item when the one before is being fed; feed hands its
// objects to the streams one by one; the stream that finishes the last object
// of an item has it settled, which is done aside so that a slow queue costs
// latency and not throughput.
//
// What is not done goes back: the first time to the queue, and after that to the
// ledger, which hands it out anew. So the queue's count of an item's deliveries
// says how many agents ended without a word while they had it in hand.
//
// Between two buckets there is a lane, on which only so many streams may be at
// once. How many that are the agent finds out (see tuner): as many as move the
// most, for as long as no store throttles.
//
// Memory is bounded by two budgets: the number of streams, and the bytes that
// bodies are held in (see budget). A listing holds one page of the source and
// at most three of the target.
//
// # Items that end agents
//
// An item that was in hand of two agents which ended without a word may be what
// ended them. It is not touched: its result says so, and the ledger hands it out
// in halves, as suspects. A suspect is begun when nothing else is in hand, or
// when that takes too long, and nothing is taken beside it; while its stores are
// away it goes back at once. If it ends the agent it is halved again, until one
// object stands alone; that fails in the end with the reason. Whatever else was
// in hand costs no attempt.
//
// # Big objects
//
// A big object is several items, which any agents take:
//
//	begin ──▶ upload ──▶ part 1 … n ──▶ finish ──▶ copied
//	  └▶ copied or skipped: no upload     └──(gone, wrong, given up)──▶ abort
//
// A begin pins the version of the source that all parts read and decides how
// large they are. A part reports what the target calls it and the checksum of
// its bytes; the finish puts the checksums together, and has the target put the
// parts together only if that is what the source vouches for. Checksums that
// cannot be put together are compared in the end, by reading the target. One
// agent that moves a big object of a copy item goes the same way by itself.
//
// Every step may be done twice. An upload whose begin was not heard of is
// found and aborted by the next; a part that is sent again replaces itself; a
// finish that was done before finds what it made. A part or finish whose upload
// the target does not know any more says that it is gone, which no further
// attempt of the same can mend. Aborts are done whatever the state of the job.
//
// # Late agents
//
// An agent that was cut off, or stopped in the middle of something, and comes
// back must not replace a newer version. Two fences see to that.
//
// The first is the condition on which an object is stored. Every try goes in
// this order:
//
//  1. what stands at the target is looked at, or was listed by the scan
//  2. the source is read, pinned to the version that is to be copied
//  3. the object is stored on condition that 1 still stands there
//
// Whoever stores a newer version has read it from the source after it changed
// there, so after 2, when the source still had the old one, and so after 1. What
// was seen in 1 stands there no more then, and 3 clashes. After a clash nothing
// is stored in the same attempt: it is only looked whether what is in the way is
// the object itself. The next attempt begins with 1. For an upload of several
// agents 1 is its begin, 2 are its parts, and 3 is the finish.
//
// For that, what was seen in 1 must not come back. Nothing does not, unless
// somebody deletes; a version may, where ETags are made of the content. Besides,
// some stores know no conditions, and some jobs compare nothing. So the second
// fence is the lease: the queue leaves an item to an agent for AckWait after each
// sign of life. That is the coordinators' to set, and items tell agents of it. An
// agent that is not sure that its last sign was heard within that time takes the
// item for somebody else's and stores nothing more of it; a body on its way fails
// before its end. Only what a Put stores in the place of nothing, in a store that
// makes sure of that, may be late, and is reported.
//
// What remains is an agent that is stopped between its last look at the clock
// and the moment when the server stores what it was sent, without a condition.
//
// # Concurrency
//
// Two contexts are at work: taking ends when Run's does or at Drain, and then
// no further item is begun; moving outlives it by the grace time, so that
// what is in hand can finish. Each item in hand has such a pair of its own,
// which a paused or canceled job ends. Every goroutine has ended when Run
// returns.
package agent
