package notify

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/tranship/tranship/internal/netguard"
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
	ip, err := netguard.Address(address)
	if err != nil {
		return err
	}
	if !g.allows(ip) {
		return errAddress
	}
	return nil
}

// allows reports whether a connection to the address may be made.
func (g guard) allows(ip netip.Addr) bool {
	if netguard.Never(ip) {
		return false
	}
	ip = netguard.Plain(ip)
	switch {
	case g.private:
		return true
	case ip.Is4():
		return !netguard.Within(ip, notPublic)
	}
	// Of IPv6 all that is public so far lies here.
	return netip.MustParsePrefix("2000::/3").Contains(ip) && !netguard.Within(ip, notPublic)
}

// notPublic are addresses, beside those of netguard.Never, that are not on the Internet.
var notPublic = netguard.Prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private
	"127.0.0.0/8",                                                                                          // this machine
	"100.64.0.0/10",                                                                                        // behind a provider's NAT
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", // special, tests, documentation
	"2001::/23", "2001:db8::/32", "3fff::/20", // the same of IPv6, tunnels among them
)
