package netguard

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestNever(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1.1.1.1": false, "2606:4700:4700::1111": false, "127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false,
		"10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "fd12::1": false,

		"0.0.0.0": true, "0.1.2.3": true, "::": true, "169.254.0.1": true, "169.254.169.254": true, "169.254.170.2": true,
		"::ffff:169.254.169.254": true, "::169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::": true,
		"fe80::1": true, "fe80::1%eth0": true, "fd00:ec2::254": true, "fd20:ce::254": true, "100.100.100.200": true,
		"::ffff:100.100.100.200": true, "192.0.0.192": true, "168.63.129.16": true, "224.0.0.1": true, "ff02::1": true, "255.255.255.255": true,
	} {
		if got := Never(netip.MustParseAddr(text)); got != want {
			t.Errorf("Never(%s) = %v, want %v", text, got, want)
		}
	}
}

// A dialer asks about the address that it connects to, whatever it was called.
func TestControl(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d := &net.Dialer{Control: Control}
	for host, want := range map[string]error{"127.0.0.1": nil, "::ffff:127.0.0.1": nil, "0.0.0.0": ErrRefused, "::ffff:0.0.0.0": ErrRefused} {
		c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if !errors.Is(err, want) {
			t.Errorf("dial %s: %v, want %v", host, err, want)
		}
		if err == nil {
			c.Close()
		}
	}
	for _, address := range []string{"169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fe80::1%eth0]:443", "[fd00:ec2::254]:80"} {
		if err := Control("tcp", address, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("Control(%s) = %v, want it refused", address, err)
		}
	}
	for _, odd := range []string{"169.254.169.254", "host:80", ""} {
		if Control("tcp", odd, nil) == nil {
			t.Errorf("Control(%q) lets pass what is no address", odd)
		}
	}
}
