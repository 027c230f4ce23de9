package notify

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// A guard says which addresses a receiver may be at. It is asked when the
// connection is made and for the address that it is made to, so neither a name
// that changes its address nor an odd spelling of one gets past it.
type guard struct {
	private bool // addresses of private networks and this machine are fine
}

// errAddress is why no connection was made. The address is left out: what a
// name leads to inside is nobody's business.
var errAddress = errors.New("the URL does not lead to a public address; set private: true for this receiver if that is meant to be")

// control is that of a net.Dialer.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("check the address: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("check the address: %w", err)
	}
	if !g.allows(ip) {
		return errAddress
	}
	return nil
}

// allows reports whether a connection to the address may be made.
func (g guard) allows(ip netip.Addr) bool {
	ip = plainOf(ip)
	switch {
	case within(ip, never):
		return false
	case g.private:
		return true
	case ip.Is4():
		return !within(ip, notPublic)
	}
	// Of IPv6 all that is public so far lies here.
	return netip.MustParsePrefix("2000::/3").Contains(ip) && !within(ip, notPublic)
}

// plainOf returns the IPv4 address in an IPv6 address that stands for one, and
// any other as it is, without its zone.
func plainOf(ip netip.Addr) netip.Addr {
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

func within(ip netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// never are addresses where no receiver can be meant to be, private or not:
// those that mean no machine, many of them, or the services by which clouds
// hand credentials to whoever asks from inside.
var never = prefixes(
	"0.0.0.0/8", "::/128", // this network
	"169.254.0.0/16", "fe80::/10", // link-local, metadata services among them
	"fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", // metadata services elsewhere
	"224.0.0.0/4", "ff00::/8", // multicast
	"240.0.0.0/4", // reserved, broadcast
)

// notPublic are the other addresses that are not on the Internet.
var notPublic = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private
	"127.0.0.0/8",                                                                                          // this machine
	"100.64.0.0/10",                                                                                        // behind a provider's NAT
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", // special, tests, documentation
	"2001::/23", "2001:db8::/32", "3fff::/20", // the same of IPv6, tunnels among them
)

func prefixes(texts ...string) (networks []netip.Prefix) {
	for _, t := range texts {
		networks = append(networks, netip.MustParsePrefix(t))
	}
	return networks
}
