package azurestore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// A stalledError means that nothing moved for longer than stall. The SDK does
// not repeat what ended in one: a stream would be held for many minutes.
type stalledError struct{ cause error }

func (e *stalledError) Error() string { return fmt.Sprintf("no byte moved for too long (%v)", stall) }
func (e *stalledError) Unwrap() error { return e.cause }

// NonRetriable implements the SDK's interface for such errors.
func (e *stalledError) NonRetriable() {}

func stalled(n int, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &stalledError{err}
	}
	return n, err
}

// Read implements io.Reader.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return stalled(c.Conn.Read(p))
}

// Write implements io.Writer.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return stalled(c.Conn.Write(p))
}
