// Package notify tells receivers what has happened: webhooks in the format of
// Standard Webhooks, and mail.
//
// It promises that each notice arrives at least once, in no particular order,
// at every receiver that takes it within two days; a receiver tells repeats by
// the notice's id. The rule that makes it hold: a delivery is a row of the
// ledger, written with the fact that it tells of, and leaves the state waiting
// only after the receiver has answered.
//
//	ledger ──claim, for a minute──▶ sender ──▶ receiver
//	   ▲                              │
//	   └── sent │ waiting, later │ given up
//
// A sender that dies in between leaves the delivery to whichever coordinator
// claims it when the minute is over. A receiver that fails is tried again, 5
// seconds later at first and 24 hours later in the end. One that answers 410
// Gone wants nothing more: it is left alone until the coordinator starts again,
// or a test of it succeeds.
//
// Requests go where the operator said, and nowhere else: redirects are not
// followed, proxies of the environment not used, and addresses that are not
// public not connected to unless the receiver is said to be private (see
// guard). Neither URLs nor secrets are part of an error, a log or an answer.
//
// A Sender is safe for concurrent use. Receivers do not wait for each other.
package notify
