// Package work is the vocabulary that the coordinator and the agents share:
// jobs, items, results, faults and the subjects they travel under.
//
// One word stands for one idea here and everywhere else (code, columns,
// metrics, log keys, API):
//
//	job      what a user asked for: copy this source to that target
//	store    one end of a job: a bucket or folder and a prefix, as a URL
//	object   one thing with a key in a store
//	item     a unit of work on the queue: a key range to list, or a batch of
//	         objects to copy
//	result   what an agent says of an item, object by object
//	outcome  what became of one object: copied, skipped, failed, changed, retry
//	fault    why an object failed; retry rules read it, never an error's text
//	epoch    how often an item was handed out
//	attempt  how often an object was tried
//	site     where an agent stands; items are routed to a site
//
// How an item travels:
//
//	ledger ──claim──▶ Item ──queue──▶ agent ──▶ Result ──queue──▶ ledger
//	                                                     Verdict ─▶ next items
//
// The messages are JSON so that people can read them where they lie. Each
// carries a version; a reader accepts every version up to its own and ignores
// fields it does not know, so agents and coordinators may be one version
// apart. The bytes of every released version are kept in testdata.
//
// Keys are byte strings. JSON cannot hold every byte string, so a key that is
// not plain text travels base64-coded under another field name (see Object).
//
// The package uses the standard library alone and its values are plain data:
// nothing here is safe for concurrent mutation, everything is safe to share
// once built.
package work
