// Package netguard keeps connections away from addresses where nobody may be
// meant to be, above all from the services by which clouds hand credentials to
// whoever asks from inside. Who names a receiver or a store's endpoint would
// otherwise have us ask them.
//
// A guard is asked when a connection is made and for the address that it is made
// to, so neither a name that changes its address nor an odd spelling of one gets
// past it. It does not see what a proxy connects to: that is the proxy's to say.
//
// Everything here may be used by many at once.
package netguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrRefused is why Control let no connection be made; ask with errors.Is. The
// address is left out: what a name leads to inside is nobody's business.
var ErrRefused = errors.New("the name leads to an address that is never connected to: link-local, a cloud's metadata service, multicast or none")

// Control is that of a net.Dialer: it refuses what Never reports, and nothing
// else.
func Control(_, address string, _ syscall.RawConn) error {
	ip, err := Address(address)
	if err == nil && Never(ip) {
		err = ErrRefused
	}
	return err
}

// Address reads what a net.Dialer tells its Control: an address and a port.
func Address(text string) (netip.Addr, error) {
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("check the address: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("check the address: %w", err)
	}
	return ip, nil
}

// Never reports whether nothing can be meant to be at an address, on private
// networks or not, however it is written.
func Never(ip netip.Addr) bool { return Within(Plain(ip), never) }

// Plain returns the IPv4 address in an IPv6 address that stands for one, and
// any other as it is, without its zone.
func Plain(ip netip.Addr) netip.Addr {
	ip = ip.WithZone("").Unmap()
	if ip.Is4() {
		return ip
	}
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip), netip.MustParsePrefix("::/96").Contains(ip) && ip != netip.IPv6Loopback():
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

// Within reports whether one of the networks holds an address.
func Within(ip netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// never are addresses that mean no machine, many of them, or the services by
// which clouds hand credentials to whoever asks from inside.
var never = Prefixes(
	"0.0.0.0/8", "::/128", // this network
	"169.254.0.0/16", "fe80::/10", // link-local, metadata services among them
	"fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", // metadata services elsewhere
	"224.0.0.0/4", "ff00::/8", // multicast
	"240.0.0.0/4", // reserved, broadcast
)

// Prefixes returns the networks that texts name; it panics on one that names
// none.
func Prefixes(texts ...string) (networks []netip.Prefix) {
	for _, t := range texts {
		networks = append(networks, netip.MustParsePrefix(t))
	}
	return networks
}
