// Package plan decides what follows from a result: which objects are
// finished, which are handed on to a further attempt, and which new items a
// page of a listing becomes.
//
// It promises that nothing is lost and nothing is planned twice. Two rules
// make it hold:
//
//   - A page of a scan counts only where it begins at or before the scan's
//     cursor and ends behind it; what lies at or before the cursor is cut off.
//     So repeats, disorder and overlaps do no harm, and a gap changes nothing.
//   - Every object of a copy item either gets a final outcome or is carried by
//     exactly one new item; every key of a scan's range is covered by a page
//     that was applied or by exactly one new scan item.
//
// What a scan becomes, page by page:
//
//	scan ──page──▶ copy items, a begin for each big object, born-done items of
//	               objects skipped or failed; cursor moves
//	     ──last──▶ the same, scan items for what it leaves over; done
//	     ──fault─▶ a scan item for the range that is left, attempt + 1; or dead
//
// What a copy becomes:
//
//	copy ──result─▶ done; per fault one item for the objects to try again
//
// What any of them becomes that agents may have died of (see work.Item.Suspect):
//
//	item    ──silent─▶ suspect halves; or the same again, suspect, if it is one
//	                   object, range or part
//	suspect ──silent─▶ suspect halves; or the same again, suspect, attempt + 1, so
//	                   that it ends as failed
//	        ──else───▶ as any other: what follows is no suspect
//	any     ──returned▶ ready: the same item is handed out again
//
// So an object that ends whatever agent takes it stands alone after two
// deliveries of its batch and at most seven more of its pieces, and has failed
// after as many again as a job allows attempts: each of them costs an agent and
// the time after which the queue takes it for dead (nats.ack_wait). Nothing else
// waits for that.
//
// What a big object becomes:
//
//	begin  ──upload──▶ its finish, which waits, and a part item for each part
//	       ──else────▶ as a copy
//	part   ──stored──▶ done
//	       ──fault───▶ the part again, attempt + 1; or dead
//	finish ──result──▶ done, or failed and the upload abandoned
//	       ──passing─▶ the finish again, attempt + 1; the upload is kept
//	       ──changed, corrupt, upload gone──▶ a begin, attempt + 1; abandoned
//	       ──a part is dead──▶ the same, or failed; abandoned
//	abort  ──result──▶ done; the abort again, attempt + 1; or dead
//
// Whether to try again is read off the fault alone. The package is pure: it
// has no clock, no state and no randomness but the Jitter it is given, and it
// is safe for concurrent use if that is.
package plan
