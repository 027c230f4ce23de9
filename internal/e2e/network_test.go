package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A network is a bridge of this machine, which is its hub, and sites behind it,
// each a network namespace with one way out.
type network struct {
	bridge string
	prefix string // of every address
}

// A site is a machine of its own as far as the network is concerned.
type site struct {
	*network
	namespace string
	link      string // the hub's end of its way out
	address   string
}

// wall lets no connection into a namespace from elsewhere. It knows no states,
// for not every kernel tracks connections: what begins one is dropped.
const wall = `table inet wall {
	chain input {
		type filter hook input priority 0
		iifname != "lo" tcp flags & (syn | ack) == syn drop
		iifname != "lo" meta l4proto udp drop
	}
}
`

// newNetwork makes a bridge with these addresses, of which only the last number
// is given, or skips the test.
func newNetwork(t testing.TB, hosts ...string) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs network namespaces: run as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs network namespaces: install iproute2")
	}
	n := rand.IntN(256)
	l := &network{bridge: fmt.Sprintf("tsb%d", n), prefix: fmt.Sprintf("198.18.%d.", n)} // RFC 2544: for tests
	if out, err := ip("link", "add", l.bridge, "type", "bridge"); err != nil {
		t.Skipf("needs network namespaces, which this machine does not let it have: %v: %s", err, out)
	}
	t.Cleanup(func() { _, _ = ip("link", "del", l.bridge) })
	mustIP(t, "link", "set", l.bridge, "up")
	for _, host := range hosts {
		mustIP(t, "addr", "add", l.prefix+host+"/24", "dev", l.bridge)
	}
	return l
}

// newSite makes a site, into which nobody can connect.
func (n *network) newSite(t testing.TB, name, host string) *site {
	t.Helper()
	s := &site{network: n, namespace: n.bridge + "-" + name, link: n.bridge + name, address: n.prefix + host}
	mustIP(t, "netns", "add", s.namespace)
	t.Cleanup(func() { _, _ = ip("netns", "del", s.namespace) }) // and its link
	mustIP(t, "link", "add", s.link, "type", "veth", "peer", "name", "eth0", "netns", s.namespace)
	mustIP(t, "link", "set", s.link, "master", n.bridge, "up")
	mustIP(t, "-n", s.namespace, "addr", "add", s.address+"/24", "dev", "eth0")
	mustIP(t, "-n", s.namespace, "link", "set", "eth0", "up")
	mustIP(t, "-n", s.namespace, "link", "set", "lo", "up")
	s.wall(t)
	return s
}

// wall closes the site to those who would connect to it, where there is nft.
// What is tried then is not even refused.
func (s *site) wall(t testing.TB) {
	t.Helper()
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Log("without nft there is no wall around the sites; that nobody listens there is looked at all the same")
		return
	}
	cmd := exec.Command("ip", s.within(nft, "-f", "-")[1:]...)
	cmd.Stdin = strings.NewReader(wall)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	conn, err := net.DialTimeout("tcp", s.address+":1", 300*time.Millisecond)
	if err == nil {
		conn.Close()
	}
	if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection into %s: %v, want silence", s.namespace, err)
	}
}

// within returns the command line that runs a program at the site.
func (s *site) within(argv ...string) []string {
	return append([]string{"ip", "netns", "exec", s.namespace}, argv...)
}

// must runs a command of the product at the site, which has to succeed.
func (s *site) must(t testing.TB, args ...string) {
	t.Helper()
	argv := s.within(append([]string{binary}, args...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = cleanEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q at %s: %v\n%s", args, s.namespace, err, out)
	}
}

// cut pulls the site's cable out, and mend puts it in again.
func (s *site) cut(t testing.TB)  { mustIP(t, "link", "set", s.link, "down") }
func (s *site) mend(t testing.TB) { mustIP(t, "link", "set", s.link, "up") }

// Sockets as the kernel lists them, with addresses as it writes them.
const (
	listening   = "0A"
	established = "01"
)

// A socket is one of TCP at a site.
type socket struct{ local, remote, state string }

func (s *site) sockets(t testing.TB) []socket {
	t.Helper()
	argv := s.within("cat", "/proc/net/tcp", "/proc/net/tcp6")
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []socket
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 3 && words[0] != "sl" {
			all = append(all, socket{words[1], words[2], words[3]})
		}
	}
	return all
}

func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustIP(t testing.TB, args ...string) {
	t.Helper()
	if out, err := ip(args...); err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
}
