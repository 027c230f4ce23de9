// Package ledger records, in Postgres, every job, every item and every object
// the product has promised to move, and how far each one has come. It holds
// the only SQL of the product.
//
// The ledger is the only durable truth. A message on the queue is a copy of an
// item's row; it may be lost, repeated or late, and the row decides.
//
//	job
//	             ┌──pause──▶ paused ──┐
//	 create ──▶ running ◀────resume───┘   (both may be canceled)
//	             │  ▲
//	             │  └──retry── succeeded | incomplete | failed
//	             │                  ▲
//	             ├─ no open item ───┘  only if the counters are proved
//	             └──cancel──▶ canceled
//
//	item
//	 insert ──▶ ready ──claim──▶ queued ──result──▶ done
//	              ▲                │  │  └─given up─▶ dead (a scan, a part, an abort)
//	              ├─release, back──┘  └─page of a scan─▶ queued
//	              └───last part──── waiting (a finish)
//	 a dead scan ──retry──▶ done, and another lists what it left
//	 (waiting | ready | queued) ──cancel──▶ canceled
//
// A big object travels in parts, and each step is an item. The object itself
// is in the begin, then in the finish, and nowhere else:
//
//	begin ──copied, skipped──▶ done, as a copy
//	  └──upload opened──▶ done (begun); finish waits, one part item for each part
//	part ──stored──▶ done, one less is left; at 0 the finish is ready
//	  ├──passing fault──▶ done; the same part again, attempt + 1
//	  └──given up──▶ dead; the other parts canceled, the finish decided on
//	finish ──copied──▶ done
//	  ├──passing fault──▶ done; another finish of the same upload, attempt + 1
//	  ├──upload gone, object corrupt or changed──▶ done; a begin, attempt + 1
//	  └──given up──▶ done (failed)
//
//	upload
//	 begin ──▶ open ──finish──▶ finished
//	             ├──given up──▶ abandoned ──┐
//	             └──its job ended───────────┴─Janitor─▶ aborting ──abort──▶ aborted
//	 a result that is late or not the only one ──▶ abandoned   └─given up─▶ orphaned
//
// The rules that make it hold:
//
//   - A success of any epoch closes an item that is open, because the bytes
//     are there. A failure counts only from the current epoch or a later one.
//     Everything else is a repeat and changes nothing.
//   - An object is in exactly one item that is not done with it. A done item
//     hands objects on (outcome retry, changed or begun) only together with the
//     insertion of the items that carry them; a constraint makes each closed
//     batch account for all of its objects.
//   - A part is there once: its result lies in its row, and what is left of its
//     upload changes under the lock of the job. So a finish is ready exactly
//     when all parts are there, whoever recorded them.
//   - Every upload that a result names has a row until it is known to be closed
//     at the target. Aborts are no part of their job: they are handed out
//     whatever its state and do not keep it from ending.
//   - A job's counters change in the transaction that changes what they count.
//     A job ends only if they add up and equal what its items say.
//   - An event is written in the transaction of the change that it tells of.
//   - That there was a notice of something is written with its deliveries, and a
//     delivery waits until its receiver has answered (see Notices).
//   - An id of a job or an item is never given out twice, also by a ledger that
//     was set back (see Skip and Expect).
//   - Of what lets callers in (tokens, sessions, sign-in codes) there is a hash,
//     never the secret. A session is opened under a lock on its token, so that
//     none outlives the token's revocation.
//   - An item that goes on from another names it, and what went wrong stays with
//     each: so every attempt at an object can be read (see Attempts).
//
// Transactions take their locks in one order: jobs by id, then items by id,
// then uploads by id.
// Claiming skips locked items instead, so it waits for nobody. Recording locks
// the job first: what is canceled at that moment stays canceled.
//
// Objects live in batches: an item's row carries them as one array and their
// outcomes as another. The view objects shows them one by one:
//
//	psql "$TRANSHIP_DATABASE_URL" -c "SELECT * FROM tranship.objects WHERE job_id = 7 AND outcome = 'failed'"
//
// In psql, SET search_path = tranship saves the prefix; the ledger's own
// connections have it set.
//
// Keys are bytes: bytea in columns, and in JSON text under "key" or base64
// under "key64". Times are the database's: no lease depends on another clock.
//
// Every call has a deadline even if the database falls silent: each read from
// the network has one (see dialer), which the driver itself does not promise.
//
// A Ledger is safe for concurrent use, and any number of coordinators may work
// on one database at once.
//
// A Memory keeps the same rules without a database, for simulators. Tests do to
// one whatever they do to a Ledger (see twin_test.go), so that neither strays
// from the other.
package ledger
