package azurestore

import (
	"context"
	"net"
	"time"
)

type dial = func(ctx context.Context, network, address string) (net.Conn, error)

// watched returns a dial whose connections break when nothing moves on them
// for longer than stall. A read waits from when it began or from the last byte
// written, whichever is later, so a slow body does not count as a slow answer.
func watched(d dial) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := d(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{c}, nil
	}
}

type conn struct{ net.Conn }

// Read implements io.Reader.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements io.Writer.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
