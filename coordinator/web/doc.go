// Package web serves the HTTP API and the status page of a coordinator.
//
// It promises that whatever a client sends, the answer is well formed, says
// what to do next, and shows no secret, SQL or stack; and that nothing is
// changed by a request that only reads, nor by a page of another origin.
//
// What makes that hold: one table names every route (routes.go); every request
// passes the same guard (guard.go) before it and one place turns every error
// into an answer (problem.go); what a client sends is checked field by field
// before the ledger sees it (request.go). The tests check each answer against
// api/openapi.yaml.
//
//	request ─▶ guard ─▶ route ─▶ handler ─▶ Ledger, Commander
//	             │        │         │ error
//	             └────────┴─────────┴──▶ problem ─▶ problem+json, or a page
//
// The status page is HTML made on the server and works without scripts. With
// scripts it listens to the live stream and, when that says that something
// changed, fetches itself again and puts the new parts in place: there is one
// way in which things are shown, and it is the templates'.
//
// Charts are drawn twice: by the server as SVG, and over that by uPlot
// (charts.js) for who has scripts, from the same samples. What scripts and
// styles may do is bounded by one policy (guard.go); nothing comes from
// elsewhere.
//
// Everything is safe for concurrent use. What several viewers ask for at once
// is read once (recent.go), and the number of live streams is bounded, so that
// watching a fleet does not slow it down.
package web
