package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes the connections that come to an address on, each to the address
// that to returns for it; "" refuses it. It does so until the test ends.
func relay(t testing.TB, address string, to func() string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var passing sync.WaitGroup
	ended := make(chan struct{})
	passing.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			passing.Go(func() { pass(conn, to(), ended) })
		}
	})
	t.Cleanup(func() {
		close(ended)
		l.Close()
		passing.Wait()
	})
}

// pass copies both ways until either side ends, or all does.
func pass(from net.Conn, address string, ended <-chan struct{}) {
	defer from.Close()
	if address == "" {
		return
	}
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	over := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // it ends when a side has gone
			over <- struct{}{}
		}()
	}
	select {
	case <-over:
	case <-ended:
	}
}
