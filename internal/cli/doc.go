// Package cli is the command line of the product: a file per command, and the
// wiring of everything below into the processes that the commands start.
//
// What every command keeps to: data goes to standard output, talk to standard
// error; a table on a terminal, tab-separated values in a pipe, JSON on
// request; an error says what was tried, why it failed and what to do next;
// the exit status says how it ended (see the Exit constants).
//
// Run never ends the process and never touches its signals, so that commands
// can be run in tests as they are. The context that it receives is the first
// signal: once it ends, commands put down what they hold and return.
//
//	demo ─┐
//	up ───┤             ┌ private Postgres or an URL ─ ledger ─┐
//	copy ─┼── hub ──────┤                                      ├─ coordinator ─ HTTP
//	coordinator ─┘      └ embedded NATS or an URL ──── bus ────┘
//	agent ──────────────── bus ─ agent          (demo, up and copy have agents too)
//	job, fleet, copy --server ── api.Client ──▶ HTTP
//
// Nothing here is safe for concurrent use but Run itself, which holds no state.
package cli
