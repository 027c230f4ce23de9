package storage

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/tranship/tranship/internal/netguard"
	"github.com/tranship/tranship/internal/work"
)

// NoAnswer reports whether err, of a request over the network, says that no
// connection to the service could be had: the name has no address, nobody
// listens there, the way is cut, the handshake does not come to an end, or who
// answers cannot prove to be the service. Drivers set Error.Unreachable by it.
//
// A connection that breaks later says nothing of the kind, and neither does
// any answer: it may be about the one request.
func NoAnswer(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var (
		op   *net.OpError
		name *net.DNSError
		cert *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, netguard.ErrRefused):
		return false
	case errors.As(err, &name), errors.As(err, &cert):
		return true
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return true
	}
	// Package net/http has no name for it.
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == "net/http: TLS handshake timeout" {
			return true
		}
	}
	return false
}

// NetworkFault is the fault of a request that failed with err on its way: it
// passes, unless no connection may be made to where it was to go.
func NetworkFault(err error) work.Fault {
	if errors.Is(err, netguard.ErrRefused) {
		return work.Invalid
	}
	return work.Transient
}

// UnreachableHint says what can be done where nobody answers.
const UnreachableHint = "check that the service is up and that the agent's machine reaches it"
