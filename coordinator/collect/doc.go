// Package collect carries results from the queue to the ledger.
//
// It promises that a result is acknowledged only after the transaction that
// recorded it was committed. So a result may be recorded twice, which changes
// nothing, but none is lost on its way:
//
//	queue ──fetch──▶ batch ──Record──▶ committed ──▶ acknowledged
//	  ▲                └──not recorded──┐
//	  └───────comes again after a while─┘
//
// Pages of a listing count only in their order, and several coordinators
// share one queue of results. A page whose predecessor another coordinator
// still holds is kept a few seconds and recorded again, before it is given up
// for the scan to be repeated.
//
// One goroutine fetches the next batch while another records the last, so the
// queue and Postgres work at the same time. Turn does the same one after the
// other. One Run or one caller of Turn per Collector; any number of collectors, also in other processes, may share a queue and a ledger.
package collect
