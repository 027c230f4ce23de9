// Package e2e runs the built binary against real servers and judges it by an
// oracle that shares no code with it: the oracle lists and hashes both ends
// with the standard library and the AWS client, and reads the ledger by psql.
//
// The quick tests run with every go test. The long ones (thousands of
// objects, two S3 servers, every process killed and frozen at random) run when
// TRANSHIP_LONG is set, as CI does, and say so when they are skipped.
// Everything random prints its seed; TRANSHIP_SEED repeats it. What was
// measured under faults stands in lines that begin with "figures:".
// TRANSHIP_SOAK makes the storm of faults last so many minutes.
package e2e
