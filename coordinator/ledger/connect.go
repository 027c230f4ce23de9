package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// margin is what the network may add to the time a statement is allowed.
func margin(limit time.Duration) time.Duration { return min(limit, 5*time.Second) }

// connect prepares a pool on which no statement takes longer than limit.
func connect(url, name string, limit time.Duration) (*sqlx.DB, error) {
	c, err := newConnector(url, name, limit)
	if err != nil {
		return nil, err
	}
	return sqlx.NewDb(sql.OpenDB(c), "postgres"), nil
}

func newConnector(url, name string, limit time.Duration) (driver.Connector, error) {
	cfg, err := pq.NewConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database address: %w", err)
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	runtime := map[string]string{
		"search_path":                         "tranship",
		"statement_timeout":                   ms(limit),
		"lock_timeout":                        ms(limit / 2),
		"idle_in_transaction_session_timeout": ms(limit), // a stopped coordinator must not hold rows
		"timezone":                            "UTC",
	}
	if cfg.Runtime == nil {
		cfg.Runtime = runtime
	}
	for k, v := range runtime {
		cfg.Runtime[k] = v
	}
	cfg.ApplicationName = name
	cfg.BinaryParameters = true // one round trip for a query instead of two
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = limit
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the database address: %w", err)
	}
	connector.Dialer(dialer{limit: limit + margin(limit)})
	return connector, nil
}

// A dialer makes connections on which every read and every write has a
// deadline. The driver has none of its own: on a server that fell silent it
// waits for ever, whatever the context says (lib/pq issue 620).
type dialer struct{ limit time.Duration }

// Dial implements pq.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements pq.Dialer.
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: d.limit}).DialContext(ctx, network, address)
	if err != nil {
		return nil, ours(err)
	}
	return impatientConn{c, d.limit}, nil
}

type impatientConn struct {
	net.Conn
	limit time.Duration
}

func (c impatientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	return n, ours(err)
}

func (c impatientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	return n, ours(err)
}

// A wireError is what went wrong on a connection to the database. It tells that
// from what goes wrong on other connections of this program.
type wireError struct{ error }

// Unwrap returns the error itself.
func (e wireError) Unwrap() error { return e.error }

// Timeout is what net.OpError asks for.
func (e wireError) Timeout() bool {
	t, ok := e.error.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// ours marks err as a wireError. It stays a *net.OpError, which is what the
// driver knows a broken connection by.
func ours(err error) error {
	op, ok := err.(*net.OpError)
	if !ok {
		return err
	}
	marked := *op
	marked.Err = wireError{op.Err}
	return &marked
}
