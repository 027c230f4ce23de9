// Package e2e runs the built binary against real servers and judges it by an
// oracle that shares no code with it: the oracle lists and hashes both ends
// with the standard library and the AWS client, and reads the ledger by psql.
//
// The quick tests run with every go test. The long ones (thousands of
// objects, two S3 servers, processes killed at random) run when TRANSHIP_LONG
// is set, as CI does, and say so when they are skipped. Everything random
// prints its seed; TRANSHIP_SEED repeats it.
package e2e
