package notify

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tranship/tranship/internal/work"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	const nobody, private, everybody = 0, 1, 2
	tests := map[string]int{
		"93.184.216.34": everybody, "1.1.1.1": everybody, "172.32.0.1": everybody, "2606:4700:4700::1111": everybody,
		"64:ff9b::101:101": everybody, "::ffff:1.1.1.1": everybody,

		"127.0.0.1": private, "127.255.0.1": private, "::1": private, "10.1.2.3": private, "172.16.0.1": private, "192.168.1.1": private,
		"100.64.0.1": private, "fd12::1": private, "::ffff:127.0.0.1": private, "::ffff:10.0.0.1": private, "198.18.0.1": private,
		"64:ff9b::a00:1": private, "64:ff9b:1::1": private, "2002:a00:1::": private, "2001::1": private, "2001:db8::1": private,
		"fec0::1": private, "::127.0.0.1": private,

		"0.0.0.0": nobody, "0.1.2.3": nobody, "::": nobody, "169.254.169.254": nobody, "::ffff:169.254.169.254": nobody,
		"::ffff:a9fe:a9fe": nobody, "64:ff9b::a9fe:a9fe": nobody, "2002:a9fe:a9fe::": nobody, "fe80::1%eth0": nobody, "fd00:ec2::254": nobody,
		"100.100.100.200": nobody, "168.63.129.16": nobody, "224.0.0.1": nobody, "ff02::1": nobody, "255.255.255.255": nobody, "240.0.0.1": nobody,
	}
	for text, reach := range tests {
		ip := netip.MustParseAddr(text)
		if got, want := (guard{}).allows(ip), reach == everybody; got != want {
			t.Errorf("a public receiver may be at %s: %v, want %v", text, got, want)
		}
		if got, want := (guard{private: true}).allows(ip), reach != nobody; got != want {
			t.Errorf("a private receiver may be at %s: %v, want %v", text, got, want)
		}
	}
}

// Whatever a URL makes of an inner address, nothing is sent there.
func TestNoPrivateAddressIsReached(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]", "[::]",
		"[::ffff:169.254.169.254]", "169.254.169.254", "[fe80::1%25lo]"} {
		h, err := newWebhook(Webhook{URL: "https://" + host + ":" + port + "/hook?token=hunter2", Secrets: []string{secretOne}}, "test")
		if err != nil {
			t.Fatalf("newWebhook for %s: %v", host, err)
		}
		_, _, err = h.send(t.Context(), work.Delivery{Notice: "n", Body: "{}"})
		var unknown *net.DNSError
		if !errors.Is(err, errAddress) && !errors.As(err, &unknown) { // odd spellings are no addresses, only names of nothing
			t.Errorf("%s: %v, want that it is not a public address", host, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the URL: %v", host, err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests reached a private address", n)
	}
}

// A name that was public a moment ago and leads inside now is not followed: what
// counts is the address of the connection itself.
func TestNameThatChangesItsAddress(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resolver, answers := resolverOf(t, "93.184.216.34", "127.0.0.1")
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "hooks.test.")
	if err != nil || len(first) != 1 || !(guard{}).allows(first[0]) {
		t.Fatalf("the first answer is %v, %v, want a public address", first, err)
	}
	client := newClient(guard{}, resolver)
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Get("http://hooks.test.:" + port)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, errAddress) || reached.Load() > 0 {
		t.Errorf("the request ended with %v and reached the server %d times, want it refused", err, reached.Load())
	}
	if answers.Load() < 2 {
		t.Error("the name was looked up once only: the test proves nothing")
	}
}

// resolverOf returns a resolver that answers the first query of an IPv4 address
// with the first address and all others with the second.
func resolverOf(t *testing.T, first, later string) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	answers := new(atomic.Int64)
	go func() {
		defer close(done)
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			address := later
			if isA(query[:n]) && answers.Add(1) == 1 {
				address = first
			}
			_, _ = server.WriteTo(answerTo(query[:n], netip.MustParseAddr(address)), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}, answers
}

// questionEnd returns where the question of a DNS query ends.
func questionEnd(query []byte) int {
	at := 12
	for query[at] != 0 {
		at += int(query[at]) + 1
	}
	return at + 5 // the root, type and class
}

func isA(query []byte) bool { return binary.BigEndian.Uint16(query[questionEnd(query)-4:]) == 1 }

// answerTo answers a DNS query with the address if it asks for one of IPv4, and
// else with none.
func answerTo(query []byte, ip netip.Addr) []byte {
	end := questionEnd(query)
	answer := append([]byte(nil), query[:end]...)
	binary.BigEndian.PutUint16(answer[2:], 0x8180) // an answer, without error
	clear(answer[6:12])
	if !isA(query) {
		return answer
	}
	answer[7] = 1
	answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the name asked for, A, IN, TTL 0, 4 bytes
	return append(answer, ip.AsSlice()...)
}
