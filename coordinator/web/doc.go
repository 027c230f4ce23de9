// Package web serves the HTTP API and the status page of a coordinator.
//
// It promises that whatever a client sends, the answer is well formed, says
// what to do next, and shows no secret, SQL or stack; and that nothing is
// changed by a request that only reads, nor by a page of another origin.
//
// What makes that hold: one table names every route and the scope that a caller
// needs there (routes.go); every request passes the same guard (guard.go) before
// it, and whoever asks is known before a handler runs (auth.go): by a token, or by
// the session that a browser opened with one. One place turns every error
// into an answer (problem.go); what a client sends is checked field by field
// before the ledger sees it (request.go). The tests check each answer against
// api/openapi.yaml.
//
//	request ─▶ guard ─▶ route ─▶ asked ─▶ handler ─▶ Ledger, Commander
//	             │        │        │         │ error
//	             └────────┴────────┴─────────┴──▶ problem ─▶ problem+json, or a page
//
// Of a token the ledger has the hash alone, and so has the memory of this package.
// The ledger's word for a caller counts for three seconds, live streams ask for it
// again while they last, so a token that is revoked is of no use anywhere after
// five. Whoever shows secrets that are none gets slower answers, by address;
// whoever was let in lately is not among those.
//
// The status page is HTML made on the server and works without scripts. With
// scripts it listens to the live stream and, when that says that something
// changed, fetches itself again and puts the new parts in place: there is one
// way in which things are shown, and it is the templates'.
//
// Everything is safe for concurrent use. What several viewers ask for at once
// is read once (recent.go), and the number of live streams is bounded, so that
// watching a fleet does not slow it down.
package web
