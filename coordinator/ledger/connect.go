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
		return nil, err
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
	return c.Conn.Read(b)
}

func (c impatientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
